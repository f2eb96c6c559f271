// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/scope"
	"github.com/tutti-go/tutti/internal/wire"
)

// requireAborted checks the error of a survivor.
func requireAborted(t *testing.T, err error, rank int, reason error, failed []int) {
	t.Helper()
	require.ErrorIs(t, err, ErrAborted, "rank %d", rank)
	require.ErrorIs(t, err, reason, "rank %d", rank)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, rank, e.Rank)
	require.Equal(t, failed, e.Failed, "rank %d: %v", rank, err)
}

// every operation in turn, for tests that break one of them.
func operations() map[string]func(context.Context, *Group) error {
	return map[string]func(context.Context, *Group) error{
		"tiny all-reduce": func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, make([]float32, 3), Sum) },
		"all-reduce":      func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, make([]float64, 40000), Avg) },
		"broadcast":       func(ctx context.Context, g *Group) error { return Broadcast(ctx, g, make([]int32, 200000), 1) },
		"barrier":         Barrier,
		"tiny reduce":     then(func(ctx context.Context, g *Group) error { return Reduce(ctx, g, make([]float64, 5), Sum, 1) }),
		"reduce":          then(func(ctx context.Context, g *Group) error { return Reduce(ctx, g, make([]float64, 40000), Sum, 1) }),
		"reduce-scatter": func(ctx context.Context, g *Group) error {
			return ReduceScatter(ctx, g, make([]float32, 2000*g.Size()), make([]float32, 2000), Avg)
		},
		"all-gather": func(ctx context.Context, g *Group) error {
			return AllGather(ctx, g, make([]int16, 3000), make([]int16, 3000*g.Size()))
		},
		"gather": then(func(ctx context.Context, g *Group) error {
			return Gather(ctx, g, make([]int64, 3000), make([]int64, 3000*g.Size()), 1)
		}),
		"scatter": then(func(ctx context.Context, g *Group) error {
			return Scatter(ctx, g, make([]int64, 3000*g.Size()), make([]int64, 3000), 1)
		}),
		"all-to-all": func(ctx context.Context, g *Group) error {
			return AllToAll(ctx, g, make([]bool, 3000*g.Size()), make([]bool, 3000*g.Size()))
		},
		"uneven all-gather": func(ctx context.Context, g *Group) error {
			counts := triangle(g.Size())
			return AllGatherV(ctx, g, make([]int8, counts[g.Rank()]), make([]int8, sumAll(counts)), counts)
		},
		"uneven gather": then(func(ctx context.Context, g *Group) error {
			counts := triangle(g.Size())
			return GatherV(ctx, g, make([]int8, counts[g.Rank()]), make([]int8, sumAll(counts)), counts, 1)
		}),
		"uneven scatter": then(func(ctx context.Context, g *Group) error {
			counts := triangle(g.Size())
			return ScatterV(ctx, g, make([]int8, sumAll(counts)), make([]int8, counts[g.Rank()]), counts, 1)
		}),
		"uneven all-to-all": func(ctx context.Context, g *Group) error {
			in, out := slices.Repeat([]int{1 + g.Rank()}, g.Size()), make([]int, g.Size()) // each gives its rank and 1 to all
			for s := range out {
				out[s] = 1 + s
			}
			return AllToAllV(ctx, g, make([]int16, sumAll(in)), in, make([]int16, sumAll(out)), out)
		},
		"send and receive": then(func(ctx context.Context, g *Group) error { // between neighbours
			buf := make([]int32, 2000)
			switch peer := g.Rank() ^ 1; {
			case peer >= g.Size():
				return nil
			case peer > g.Rank():
				return Send(ctx, g, buf, peer, 7)
			default:
				return Recv(ctx, g, buf, peer, 7)
			}
		}),
		"ring": then(func(ctx context.Context, g *Group) error {
			return SendRecv(ctx, g, make([]int32, 200000), (g.Rank()+1)%g.Size(), make([]int32, 200000), (g.Rank()+g.Size()-1)%g.Size(), 0)
		}),
	}
}

// oneMore is counts of which that of the next rank is larger by one.
func oneMore(g *Group, n int) []int {
	counts := slices.Repeat([]int{n}, g.Size())
	counts[(g.Rank()+1)%g.Size()]++
	return counts
}

// triangle is counts that grow with the rank.
func triangle(n int) []int {
	counts := make([]int, n)
	for r := range counts {
		counts[r] = 1000 * r
	}
	return counts
}

func sumAll(counts []int) int {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}

// then is for operations that some members finish without the others: these hear of a failure in the next.
func then(operate func(context.Context, *Group) error) func(context.Context, *Group) error {
	return func(ctx context.Context, g *Group) error {
		if err := operate(ctx, g); err != nil {
			return err
		}
		return Barrier(ctx, g)
	}
}

func TestALostNodeIsAnErrorForAllSurvivors(t *testing.T) {
	const n, victim = 12, 2
	for name, tr := range map[string]transport{"memory": inMemory, "sockets": overSockets} {
		for what, operate := range operations() {
			t.Run(name+"/"+what, func(t *testing.T) {
				c := newCluster(t, 5, tr)
				_, groups := c.group("g", n)
				var lost time.Time
				after := rand.N(20) // operations that the victim still takes part in; the node is lost amid the others' next
				errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
					for i := 0; ; i++ {
						if i == after && g.Rank() == 3 {
							lost = time.Now()
							c.lose(victim)
						}
						if err := operate(ctx, g); err != nil {
							return err
						}
					}
				})
				require.Less(t, time.Since(lost), DefaultTimeout/2, "nobody waits for the deadline")
				failed := groups[0].m.s.ranksOn(victim)
				require.Len(t, failed, 3)
				for rank, err := range errs {
					if groups[rank].m.s.hub.mesh.Self() != victim {
						requireAborted(t, err, rank, ErrMemberLost, failed)
					}
					require.ErrorIs(t, err, ErrAborted)
					later := operate(t.Context(), groups[rank])
					require.ErrorIs(t, later, ErrAborted, "a later call")
				}
			})
		}
	}
}

func TestAnActorThatEndsIsAnErrorForAllOthers(t *testing.T) {
	const n, victim = 9, 4
	for what, operate := range operations() {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t, 4, inMemory)
			_, groups := c.group("g", n)
			errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				for i := 0; ; i++ {
					if i == 5 && g.Rank() == victim {
						c.scope(g.m.actor).End()
						return nil
					}
					if err := operate(ctx, g); err != nil {
						return err
					}
				}
			})
			for rank, err := range errs {
				if rank != victim {
					requireAborted(t, err, rank, ErrMemberLost, []int{victim})
				}
			}
			_, err := FromContext(c.as(t.Context(), groups[victim].m.actor), "g")
			require.ErrorIs(t, err, ErrNoGroup)
		})
	}
}

func TestAMemberThatGivesUpAbortsTheGroup(t *testing.T) {
	const n, victim, silent = 7, 2, 1 // nobody can finish without the silent one, which is the root of the broadcast
	why := errors.New("lost patience")
	for what, operate := range operations() {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t, 4, inMemory)
			_, groups := c.group("g", n)
			errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				switch g.Rank() {
				case silent:
					<-g.m.s.ctx.Done()
				case victim:
					var cancel context.CancelCauseFunc
					ctx, cancel = context.WithCancelCause(ctx)
					defer time.AfterFunc(10*time.Millisecond, func() { cancel(why) }).Stop()
				}
				return operate(ctx, g)
			})
			for rank, err := range errs {
				requireAborted(t, err, rank, context.Canceled, []int{victim})
			}
			require.ErrorIs(t, errs[victim], why, "the cause is kept where it happened")
		})
	}
}

func TestACallUnderAnEndedContextAbortsTheGroup(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	requireAborted(t, Barrier(ctx, groups[0]), 0, context.Canceled, []int{0})
	requireAborted(t, Barrier(t.Context(), groups[1]), 1, context.Canceled, []int{0})
}

func TestADifferentCallIsNamedByBothSides(t *testing.T) {
	const n = 6
	cases := map[string]struct {
		one, others func(context.Context, *Group) error
		texts       []string
	}{
		"count": {
			func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, make([]float32, 10), Sum) },
			func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, make([]float32, 11), Sum) },
			[]string{"AllReduce(sum, float32 x 10)", "AllReduce(sum, float32 x 11)"},
		},
		"count, of long buffers": {
			func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, make([]float32, 500000), Sum) },
			func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, make([]float32, 3), Sum) },
			[]string{"float32 x 500000", "float32 x 3"},
		},
		"type": {
			func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, make([]float32, 10), Sum) },
			func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, make([]float64, 10), Sum) },
			[]string{"float32 x 10", "float64 x 10"},
		},
		"reduction": {
			func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, make([]float32, 10), Avg) },
			func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, make([]float32, 10), Sum) },
			[]string{"AllReduce(avg", "AllReduce(sum"},
		},
		"operation": {
			Barrier,
			func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, make([]float32, 10), Sum) },
			[]string{"Barrier", "AllReduce(sum, float32 x 10)"},
		},
		"root": {
			func(ctx context.Context, g *Group) error { return Broadcast(ctx, g, make([]int, 1), 4) },
			func(ctx context.Context, g *Group) error { return Broadcast(ctx, g, make([]int, 1), 0) },
			[]string{"root 4", "root 0"},
		},
		"reduction of a reduce": {
			func(ctx context.Context, g *Group) error { return Reduce(ctx, g, make([]float32, 10), Avg, 2) },
			func(ctx context.Context, g *Group) error { return Reduce(ctx, g, make([]float32, 10), Sum, 2) },
			[]string{"Reduce(avg, float32 x 10, root 2)", "Reduce(sum, float32 x 10, root 2)"},
		},
		"count of a reduce-scatter": {
			func(ctx context.Context, g *Group) error {
				return ReduceScatter(ctx, g, make([]float32, 12), make([]float32, 2), Sum)
			},
			func(ctx context.Context, g *Group) error {
				return ReduceScatter(ctx, g, make([]float32, 18), make([]float32, 3), Sum)
			},
			[]string{"ReduceScatter(sum, float32 x 2)", "ReduceScatter(sum, float32 x 3)"},
		},
		"count of an all-gather": {
			func(ctx context.Context, g *Group) error { return AllGather(ctx, g, make([]int, 1), make([]int, 6)) },
			func(ctx context.Context, g *Group) error { return AllGather(ctx, g, make([]int, 2), make([]int, 12)) },
			[]string{"AllGather(int x 1)", "AllGather(int x 2)"},
		},
		"root of a gather": {
			func(ctx context.Context, g *Group) error { return Gather(ctx, g, make([]int, 1), make([]int, 6), 5) },
			func(ctx context.Context, g *Group) error { return Gather(ctx, g, make([]int, 1), make([]int, 6), 1) },
			[]string{"Gather(int x 1, root 5)", "Gather(int x 1, root 1)"},
		},
		"type of a scatter": {
			func(ctx context.Context, g *Group) error { return Scatter(ctx, g, make([]int, 6), make([]int, 1), 3) },
			func(ctx context.Context, g *Group) error { return Scatter(ctx, g, make([]bool, 6), make([]bool, 1), 3) },
			[]string{"Scatter(int x 1, root 3)", "Scatter(bool x 1, root 3)"},
		},
		"count of an all-to-all": {
			func(ctx context.Context, g *Group) error { return AllToAll(ctx, g, make([]int8, 6), make([]int8, 6)) },
			func(ctx context.Context, g *Group) error { return AllToAll(ctx, g, make([]int8, 60), make([]int8, 60)) },
			[]string{"AllToAll(int8 x 1)", "AllToAll(int8 x 10)"},
		},
		"counts of an all-gather": {
			func(ctx context.Context, g *Group) error {
				return AllGatherV(ctx, g, []int{1}, make([]int, 7), oneMore(g, 1))
			},
			func(ctx context.Context, g *Group) error {
				return AllGatherV(ctx, g, []int{1}, make([]int, 6), []int{1, 1, 1, 1, 1, 1})
			},
			[]string{"AllGatherV(int x ", fmt.Sprintf("%016x", hashOf([]int{1, 1, 1, 1, 1, 1}))},
		},
		"root of a gather with counts": {
			func(ctx context.Context, g *Group) error {
				return GatherV(ctx, g, []int{1}, make([]int, 6), []int{1, 1, 1, 1, 1, 1}, 1)
			},
			func(ctx context.Context, g *Group) error {
				return GatherV(ctx, g, []int{1}, make([]int, 6), []int{1, 1, 1, 1, 1, 1}, 3)
			},
			[]string{"GatherV(int x ", "root 1", "root 3"},
		},
		"counts of a scatter": {
			func(ctx context.Context, g *Group) error {
				return ScatterV(ctx, g, make([]int, 7), make([]int, 1), oneMore(g, 1), 4)
			},
			func(ctx context.Context, g *Group) error {
				return ScatterV(ctx, g, make([]int, 6), make([]int, 1), []int{1, 1, 1, 1, 1, 1}, 4)
			},
			[]string{"ScatterV(int x ", fmt.Sprintf("%016x", hashOf([]int{1, 1, 1, 1, 1, 1}))},
		},
		"counts of an all-to-all": {
			func(ctx context.Context, g *Group) error {
				counts := oneMore(g, 2)
				return AllToAllV(ctx, g, make([]int, 13), counts, make([]int, 13), counts)
			},
			func(ctx context.Context, g *Group) error {
				counts := []int{2, 2, 2, 2, 2, 2}
				return AllToAllV(ctx, g, make([]int, 12), counts, make([]int, 12), counts)
			},
			[]string{"called AllToAllV with", "called it for", "2"},
		},
		"order": {
			func(ctx context.Context, g *Group) error {
				return errors.Join(Barrier(ctx, g), Broadcast(ctx, g, make([]int, 1), 0))
			},
			func(ctx context.Context, g *Group) error {
				return errors.Join(Broadcast(ctx, g, make([]int, 1), 0), Barrier(ctx, g))
			},
			[]string{"Barrier", "Broadcast"},
		},
	}
	for name, tc := range cases {
		for odd := range n {
			t.Run(fmt.Sprintf("%s/rank=%d", name, odd), func(t *testing.T) {
				c := newCluster(t, 3, inMemory)
				_, groups := c.group("g", n)
				errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
					call := tc.others
					if g.Rank() == odd {
						call = tc.one
					}
					// Who only sends in a broadcast hears of it in the next operation at the latest.
					return errors.Join(call(ctx, g), Barrier(ctx, g))
				})
				for rank, err := range errs {
					require.ErrorIs(t, err, ErrMismatch, "rank %d", rank)
					for _, text := range tc.texts {
						require.ErrorContains(t, err, text, "rank %d", rank)
					}
				}
			})
		}
	}
}

// The counts travel with the first frame, so that nobody waits for frames that never come.
func TestCountsThatDifferByWholeSegmentsAreNamedAtOnce(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", 2)
	start := time.Now()
	for _, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		in, out := []int{0, 0}, []int{0, 0}
		if g.Rank() == 0 {
			in[1] = segment
		} else {
			out[0] = 2 * segment
		}
		err := AllToAllV(ctx, g, make([]uint8, sumAll(in)), in, make([]uint8, sumAll(out)), out)
		return errors.Join(err, Barrier(ctx, g))
	}) {
		require.ErrorIs(t, err, ErrMismatch)
		require.ErrorContains(t, err, "rank 0 called AllToAllV with 262144 elements for rank 1, rank 1 called it for 524288 from rank 0")
	}
	require.Less(t, time.Since(start), DefaultTimeout/2)
}

// A root may be many operations ahead of a member that asks it, whose data is still on its way.
func TestAQuestionAboutALongFinishedOperationIsHarmless(t *testing.T) {
	const ahead = 3 * remembered
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", 2)
	for range ahead {
		require.NoError(t, Broadcast(t.Context(), groups[0], []int{1}, 0))
	}
	m := groups[0].m
	same := descriptor{op: opBroadcast, kind: kindOf[int](), count: 1}
	other := descriptor{op: opBarrier}
	probe := func(d descriptor, seq uint64) *ending {
		h := wire.Header{Kind: wire.KindBlock, Step: stepProbe, Seq: seq, Hash: d.hash()}
		return m.deliver(1, false, wire.Frame{Header: h, Body: d.append(nil)})
	}
	require.Nil(t, probe(same, 1))
	require.Nil(t, probe(other, 1), "forgotten")
	require.Nil(t, probe(same, ahead-1))
	require.Nil(t, probe(other, ahead+1), "not yet called here")
	end := probe(other, ahead-1)
	require.NotNil(t, end)
	require.ErrorIs(t, end, ErrMismatch)
	for range ahead {
		require.NoError(t, Broadcast(t.Context(), groups[1], []int{1}, 0))
	}
	requireAll(t, each(t.Context(), groups, Barrier))
}

// Both are roots, so that none waits for the other.
func TestTwoRootsAreNoticedAfterTheFact(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", 2)
	errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		return errors.Join(Broadcast(ctx, g, make([]int, 4), g.Rank()), Barrier(ctx, g))
	})
	for _, err := range errs {
		require.ErrorIs(t, err, ErrMismatch)
		require.ErrorContains(t, err, "root 0")
		require.ErrorContains(t, err, "root 1")
	}
}

func TestASilentMemberMeetsTheDeadline(t *testing.T) {
	const n, silent = 7, 3
	cases := map[string]struct {
		opts  []Option
		bound time.Duration // of the context
		want  time.Duration
	}{
		"default":       {nil, 0, DefaultTimeout},
		"of the group":  {[]Option{Timeout(5 * time.Second)}, 0, 5 * time.Second},
		"of one caller": {[]Option{Timeout(time.Hour)}, 2 * time.Minute, 2 * time.Minute},
	}
	for name, tc := range cases {
		for what, operate := range operations() {
			t.Run(name+"/"+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCluster(t, 4, inMemory)
					_, groups := c.group("g", n, tc.opts...)
					start := time.Now()
					errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
						if g.Rank() == silent {
							<-g.m.s.ctx.Done()
							return operate(ctx, g)
						}
						if tc.bound > 0 && g.Rank() == 0 {
							var cancel context.CancelFunc
							ctx, cancel = context.WithTimeout(ctx, tc.bound)
							defer cancel()
						}
						if err := operate(ctx, g); err != nil {
							return err
						}
						return Barrier(ctx, g)
					})
					for rank, err := range errs {
						requireAborted(t, err, rank, context.DeadlineExceeded, []int{silent})
						require.ErrorContains(t, err, "waited for rank", "rank %d", rank)
						require.ErrorContains(t, err, "rank 3 has not called it", "rank %d", rank)
					}
					require.Equal(t, tc.want, time.Since(start))
				})
			})
		}
	}
}

func TestFramesOfAnotherEpochAreDropped(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, old := c.group("g", 2)
	requireAll(t, each(t.Context(), old, Barrier))
	_, groups := c.group("g", 2)
	require.Equal(t, uint32(2), groups[0].Epoch())
	h := c.hub(2)
	before := h.stale.Load()
	d := descriptor{op: opBarrier}
	for _, change := range []func(*wire.Header){
		func(h *wire.Header) { h.Epoch = 1 },  // over
		func(h *wire.Header) { h.Epoch = 3 },  // not yet
		func(h *wire.Header) { h.Group = 99 }, // of no group
		func(h *wire.Header) { h.To = 0 },     // of a rank that lives elsewhere
		func(h *wire.Header) { h.To = 7 },     // of no rank
		func(h *wire.Header) { h.From = 7 },   // from no rank
		func(h *wire.Header) { h.From = 1 },   // from a rank that lives elsewhere
		func(h *wire.Header) { h.Kind, h.Epoch = wire.KindAbort, 1 },
	} {
		hd := wire.Header{Kind: wire.KindBlock, Group: groups[0].m.s.id, Epoch: 2, Seq: 1, From: 0, To: 1, Hash: d.hash()}
		change(&hd)
		if hd.Kind == wire.KindAbort {
			h.onAbort(1, wire.Frame{Header: hd, Body: (&ending{text: "stale"}).encode()})
			continue
		}
		h.onBlock(1, wire.Frame{Header: hd, Body: d.append(nil)})
	}
	require.Equal(t, before+8, h.stale.Load())
	requireAll(t, each(t.Context(), groups, Barrier))
	for _, g := range old {
		require.ErrorIs(t, Barrier(t.Context(), g), ErrReplaced)
	}
}

func TestANewGroupOfTheSameNameEndsPendingOperations(t *testing.T) {
	c := newCluster(t, 3, overSockets)
	_, old := c.group("g", 3)
	pending := make(chan error, 1)
	go func() { pending <- Barrier(t.Context(), old[0]) }()
	_, groups := c.group("g", 3)
	err := <-pending
	require.ErrorIs(t, err, ErrReplaced)
	require.ErrorIs(t, err, ErrAborted)
	requireAll(t, each(t.Context(), groups, Barrier))
}

// Two owners may use one name: the later wins at the actors that both name, and its epoch is higher.
func TestTheLaterOfTwoOwnersWins(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, first := c.group("g", 4)
	ids := c.actors(4)
	slices.Reverse(ids)
	_, err := c.establish("g", ids)
	require.NoError(t, err)
	for _, g := range first {
		require.ErrorIs(t, Barrier(t.Context(), g), ErrReplaced)
	}
	later := c.views("g", ids)
	require.Equal(t, uint32(2), later[0].Epoch())
	requireAll(t, each(t.Context(), later, Barrier))
}

func TestCloseEndsTheGroupEverywhere(t *testing.T) {
	for _, closer := range []int{-1, 0, 4} {
		t.Run(fmt.Sprint("rank=", closer), func(t *testing.T) {
			c := newCluster(t, 4, overSockets)
			creator, groups := c.group("g", 5)
			pending := make(chan error, 1)
			go func() { pending <- Barrier(t.Context(), groups[2]) }()
			g := creator
			if closer >= 0 {
				g = groups[closer]
			}
			require.NoError(t, g.Close(t.Context()))
			require.NoError(t, g.Close(t.Context()), "again")
			err := <-pending
			require.ErrorIs(t, err, ErrClosed)
			require.Eventually(t, func() bool {
				_, err := FromContext(c.as(t.Context(), groups[3].m.actor), "g")
				return errors.Is(err, ErrClosed)
			}, 5*time.Second, time.Millisecond)
			_, again := c.group("g", 5)
			require.Equal(t, uint32(2), again[0].Epoch())
			requireAll(t, each(t.Context(), again, Barrier))
		})
	}
}

func TestWhoIsNotInAGroupIsToldSo(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	creator, groups := c.group("g", 2)
	ctx := t.Context()
	_, err := FromContext(ctx, "g")
	require.ErrorIs(t, err, ErrOutside)
	_, err = FromContext(c.as(ctx, 1<<32|77), "g")
	require.ErrorIs(t, err, ErrNoGroup)
	_, err = FromContext(c.as(ctx, groups[0].m.actor), "other")
	require.ErrorIs(t, err, ErrNoGroup)
	require.ErrorContains(t, err, "other")

	require.Equal(t, -1, creator.Rank())
	require.Equal(t, 2, creator.Size())
	require.Equal(t, "g", creator.Name())
	require.ErrorIs(t, Barrier(ctx, creator), ErrNotMember)
	require.ErrorIs(t, Barrier(c.as(ctx, groups[1].m.actor), groups[0]), ErrNotMember)

	for _, root := range []int{-1, 2} {
		require.ErrorIs(t, Broadcast(ctx, groups[0], []int{1}, root), ErrArgument)
	}
	for _, op := range []Op{0, 77} {
		require.ErrorIs(t, AllReduce(ctx, groups[0], []float32{1}, op), ErrArgument)
	}
	requireAll(t, each(ctx, groups, Barrier))
}

func TestBadArgumentsAreNamedWithTheirBoundsAndLeaveTheGroupAlone(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", 4)
	ctx, g := t.Context(), groups[1]
	four, five, eight := make([]float32, 4), make([]float32, 5), make([]float32, 8)
	for want, err := range map[string]error{
		"AllReduce: op is op(0)":                                                AllReduce(ctx, g, four, Op(0)),
		"Reduce: op is op(99)":                                                  Reduce(ctx, g, four, Op(99), 0),
		"Reduce: root is 4, want 0 to 3":                                        Reduce(ctx, g, four, Sum, 4),
		"ReduceScatter: op is op(0)":                                            ReduceScatter(ctx, g, four, four[:1], Op(0)),
		"ReduceScatter: in has 5 elements, want 4":                              ReduceScatter(ctx, g, five, four[:1], Sum),
		"Broadcast: root is -1, want 0 to 3":                                    Broadcast(ctx, g, four, -1),
		"AllGather: out has 5 elements, want 4: 1 from each of 4":               AllGather(ctx, g, four[:1], five),
		"Gather: root is 9, want 0 to 3":                                        Gather(ctx, g, four, nil, 9),
		"Gather: out has 0 elements, want 16":                                   Gather(ctx, g, four, nil, 1),
		"Scatter: root is -3, want 0 to 3":                                      Scatter(ctx, g, nil, four, -3),
		"Scatter: in has 5 elements, want 16: 4 for each of 4":                  Scatter(ctx, g, five, four, 1),
		"AllToAll: in has 5 elements, want a multiple of 4":                     AllToAll(ctx, g, five, five),
		"AllToAll: out has 8 elements, want 4: as many as in":                   AllToAll(ctx, g, four, eight),
		"AllGatherV: counts has 2 entries, want 4":                              AllGatherV(ctx, g, four, five, []int{1, 2}),
		"AllGatherV: in has 4 elements, want 2: counts[1]":                      AllGatherV(ctx, g, four, five, []int{1, 2, 1, 0}),
		"AllGatherV: out has 5 elements, want 4: the sum of counts":             AllGatherV(ctx, g, four[:1], five, []int{1, 1, 1, 1}),
		"GatherV: root is 7, want 0 to 3":                                       GatherV(ctx, g, four, five, nil, 7),
		"GatherV: counts[2] is -1, want 0 or more":                              GatherV(ctx, g, four, five, []int{1, 1, -1, 1}, 0),
		"GatherV: in has 5 elements, want 1":                                    GatherV(ctx, g, five, four, []int{1, 1, 1, 1}, 1),
		"GatherV: out has 5 elements, want 4":                                   GatherV(ctx, g, four[:1], five, []int{1, 1, 1, 1}, 1),
		"ScatterV: root is -1, want 0 to 3":                                     ScatterV(ctx, g, four, five, nil, -1),
		"ScatterV: counts has 0 entries, want 4":                                ScatterV(ctx, g, four, five, nil, 1),
		"ScatterV: out has 5 elements, want 1":                                  ScatterV(ctx, g, four, five, []int{1, 1, 1, 1}, 0),
		"ScatterV: in has 5 elements, want 4":                                   ScatterV(ctx, g, five, four[:1], []int{1, 1, 1, 1}, 1),
		"AllToAllV: inCounts has 1 entries":                                     AllToAllV(ctx, g, four, []int{4}, four, []int{1, 1, 1, 1}),
		"AllToAllV: outCounts[1] is 9223372036854775807":                        AllToAllV(ctx, g, four, []int{1, 1, 1, 1}, four, []int{1, math.MaxInt, 1, 1}),
		"AllToAllV: in has 5 elements, want 4":                                  AllToAllV(ctx, g, five, []int{1, 1, 1, 1}, four, []int{1, 1, 1, 1}),
		"AllToAllV: out has 5 elements, want 4":                                 AllToAllV(ctx, g, four, []int{1, 1, 1, 1}, five, []int{1, 1, 1, 1}),
		"AllToAllV: inCounts has 1 elements for the caller itself, outCounts 2": AllToAllV(ctx, g, four, []int{1, 1, 1, 1}, five, []int{1, 2, 1, 1}),
		"Send: peer is -5, want 0 to 3":                                         Send(ctx, g, four, -5, 0),
		"Send: peer is 1, the caller's own":                                     Send(ctx, g, four, 1, 0),
		"Recv: peer is 4, want 0 to 3":                                          Recv(ctx, g, four, 4, 0),
		"Recv: tag is -1, want 0 to 4294967295":                                 Recv(ctx, g, four, 2, -1),
		"SendRecv: to is 4, want 0 to 3":                                        SendRecv(ctx, g, four, 4, five, 0, 0),
		"SendRecv: from is 1, the caller's own":                                 SendRecv(ctx, g, four, 2, five, 1, 0),
	} {
		require.ErrorIs(t, err, ErrArgument, want)
		require.ErrorContains(t, err, want)
	}
	requireAll(t, each(ctx, groups, Barrier))
}

func TestBadChartersAreRefused(t *testing.T) {
	c := newCluster(t, 2, inMemory)
	a := c.actors(3)
	cases := map[string]struct {
		name    string
		members []uint64
		opts    []Option
	}{
		"no name":      {"", a, nil},
		"no members":   {"g", nil, nil},
		"one twice":    {"g", []uint64{a[0], a[1], a[0]}, nil},
		"zero timeout": {"g", a, []Option{Timeout(0)}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := c.establish(tc.name, tc.members, tc.opts...)
			require.ErrorIs(t, err, ErrArgument)
		})
	}
	valid := charter{Name: "g", Group: 1, Epoch: 1, Timeout: 1, Members: a}
	outsider := &scope.Scope{Actor: 5, Node: c.nodes[1]}
	require.ErrorIs(t, c.hub(1).join(outsider, valid), ErrNotMember)
	valid.Name = ""
	require.ErrorIs(t, c.hub(1).join(outsider, valid), ErrArgument)
	_, err := c.hub(1).found(valid)
	require.ErrorIs(t, err, ErrArgument)
}

func TestAFailedCreationLeavesNoGroupToWaitFor(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	broken := errors.New("no such luck")
	ids := c.actors(4)
	_, err := c.establishBy(direct{c: c, members: ids, joining: func(ctx context.Context, ch charter) error {
		for _, actor := range ids[:3] {
			require.NoError(t, c.join(ctx, actor, ch))
		}
		_, err := FromContext(c.as(ctx, ids[0]), "g")
		require.ErrorIs(t, err, ErrNoGroup, "rank 0 knows that it is not complete")
		require.ErrorContains(t, err, "still being created")
		return broken
	}}, "g")
	require.ErrorIs(t, err, broken)
	require.Eventually(t, func() bool {
		_, err := FromContext(c.as(t.Context(), ids[1]), "g")
		return errors.Is(err, ErrClosed)
	}, 5*time.Second, time.Millisecond)
	_, groups := c.group("g", 4)
	requireAll(t, each(t.Context(), groups, Barrier))
}

// An operation that begins before all have joined waits for them, and not longer than its time.
func TestOperationsWaitUntilAllHaveJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, inMemory)
		ids := c.actors(2)
		early := make(chan error, 1)
		_, err := c.establishBy(direct{c: c, members: ids, joining: func(ctx context.Context, ch charter) error {
			require.NoError(t, c.join(ctx, ids[1], ch))
			go func() { early <- Barrier(t.Context(), c.views("g", ids[1:])[0]) }()
			synctest.Wait()
			return c.join(ctx, ids[0], ch)
		}}, "g")
		require.NoError(t, err)
		require.NoError(t, Barrier(t.Context(), c.views("g", ids)[0]))
		require.NoError(t, <-early)

		_, err = c.establishBy(direct{c: c, members: ids, joining: func(ctx context.Context, ch charter) error {
			if err := c.invite(ctx, ch); err != nil {
				return err
			}
			err := Barrier(t.Context(), c.views("h", ids[1:])[0]) // in vain
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorContains(t, err, "to join")
			synctest.Wait()
			return nil
		}}, "h")
		require.ErrorIs(t, err, ErrAborted)
		require.ErrorContains(t, err, "to join", "the reason comes through")
	})
}

func TestANodeLostBeforeTheGroupIsMadeFailsItsCreation(t *testing.T) {
	c := newCluster(t, 4, inMemory)
	_, groups := c.group("first", 3)
	c.lose(2)
	require.Eventually(t, func() bool { return c.hub(1).mesh.IsLost(2) != nil }, 5*time.Second, time.Millisecond)
	require.ErrorIs(t, Barrier(t.Context(), groups[0]), ErrMemberLost)
	_, err := c.establish("second", c.actors(3))
	require.ErrorIs(t, err, ErrAborted)
}

func TestTheDriverIsNotNeededByMembers(t *testing.T) {
	c := newCluster(t, 4, inMemory)
	_, groups := c.group("g", 3)
	c.lose(0)
	requireAll(t, each(t.Context(), groups, Barrier))
}

func TestALateNoticeDoesNotReviveAnEpoch(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	creator, groups := c.group("g", 2)
	ch := charter{Name: "g", Group: creator.id.Group, Epoch: 1, Owner: 1, Timeout: 1, Members: c.actors(2)}
	require.NoError(t, groups[1].Close(t.Context()))
	require.ErrorIs(t, c.join(t.Context(), groups[1].m.actor, ch), ErrAborted)
	require.NoError(t, c.hub(2).close(t.Context(), creator.id))
	require.ErrorIs(t, c.hub(2).open(t.Context(), creator.id), ErrAborted)
}

func TestErrorTextsNameWhatFailed(t *testing.T) {
	e := &Error{
		Group: "dp", Epoch: 2, Seq: 7, Op: "Barrier", Rank: 1, Failed: []int{3, 4},
		Reason: &ending{code: codeLost, text: "node 9 is lost"},
	}
	assert.Equal(t, `collective: group "dp" epoch 2: rank 1: Barrier (operation 7): failed ranks [3 4]: node 9 is lost`, e.Error())
	e.Failed = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	assert.Contains(t, e.Error(), "[1 2 3 4 5 6 7 8] and 2 more")
	assert.Equal(t, "op(99)", Op(99).String())
	assert.Equal(t, "operation(0)", operation(0).String())
}
