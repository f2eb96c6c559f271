// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/internal/mesh"
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

// A member whose own node ends hears of it at once, also where it waits in memory and nobody else would tell it why.
func TestAMemberWhoseOwnNodeEndsDoesNotWait(t *testing.T) {
	for way, operation := range everyWay(map[string]func(context.Context, *Group) error{"barrier": Barrier, "all-reduce": operations()["all-reduce"]}) {
		t.Run(way.String(), func(t *testing.T) {
			c := makerOf(way.way)(t, 5)
			_, groups := c.group("g", 4)
			requireAll(t, each(t.Context(), groups, Barrier))
			victim := len(c.nodes) - 1
			began := time.Now()
			errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				if g.Rank() == 0 { // for whom the others wait
					return c.nodes[victim].Mesh.Close()
				}
				return operation(ctx, g)
			})
			for rank, err := range errs {
				if rank > 0 {
					require.ErrorIs(t, err, ErrMemberLost, "rank %d", rank)
				}
			}
			require.ErrorContains(t, errs[3], "its own node has ended")
			require.Less(t, time.Since(began), DefaultStall/2)
			ch := charter{Name: "late", Group: 99, Epoch: 1, Bounds: groups[3].s.bounds, Members: c.actors(4)}
			require.ErrorIs(t, c.join(t.Context(), ch.Members[3], ch), mesh.ErrClosed)
		})
	}
}

// every operation in turn, for tests that break one of them.
func operations() map[string]func(context.Context, *Group) error {
	return map[string]func(context.Context, *Group) error{
		"tiny all-reduce": func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, make([]float32, 3), Sum) },
		"all-reduce":      func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, make([]float64, 40000), Avg) },
		"broadcast":       func(ctx context.Context, g *Group) error { return Broadcast(ctx, g, make([]int32, 100000), 1) },
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
			return SendRecv(ctx, g, make([]int32, 100000), (g.Rank()+1)%g.Size(), make([]int32, 100000), (g.Rank()+g.Size()-1)%g.Size(), 0)
		}),
	}
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

// way is a test in one way in which members reach each other.
type way struct{ what, way string }

func (w way) String() string { return w.way + "/" + w.what }

// everyWay names tests for messages and for the memory of a machine.
func everyWay[T any](tests map[string]T) map[way]T {
	all := map[way]T{}
	for what, test := range tests {
		for _, name := range []string{"memory", "host", "process", "tiers"} {
			all[way{what, name}] = test
		}
	}
	return all
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
	for name, begin := range makers() {
		for what, operate := range operations() {
			t.Run(name+"/"+what, func(t *testing.T) {
				c := begin(t, 5)
				_, groups := c.group("g", n)
				failed := groups[0].m.s.ranksOn(victim)
				require.Len(t, failed, 3, "else all would go on for ever")
				var lost time.Time
				after := rand.N(10) // operations that the victim still takes part in; the node is lost amid the others' next
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
				require.Less(t, time.Since(lost), DefaultStall/2, "nobody waits for the deadline")
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
	for name, operate := range everyWay(operations()) {
		t.Run(name.String(), func(t *testing.T) {
			c := makerOf(name.way)(t, 4)
			_, groups := c.group("g", n)
			errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				for i := 0; ; i++ {
					if i == 5 && g.Rank() == victim {
						c.scope(g.m.sc.Actor).End(errors.New("killed"))
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
			_, err := FromContext(c.as(t.Context(), groups[victim].m.sc.Actor), "g")
			require.ErrorIs(t, err, ErrNoGroup)
		})
	}
}

func TestAMemberThatGivesUpAbortsTheGroup(t *testing.T) {
	const n, victim, silent = 7, 2, 1 // nobody can finish without the silent one, which is the root of the broadcast
	why := errors.New("lost patience")
	for name, operate := range everyWay(operations()) {
		t.Run(name.String(), func(t *testing.T) {
			c := makerOf(name.way)(t, 4)
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

// Frames that are on their way when an operation fails find nothing of it.
func TestAFailedOperationLeavesNothingThatItWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		groups := together(t, 4, Messages(), Algorithm(schedule.AllReduce, "one-shot"))
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error)
		go func() { failed <- AllReduce(ctx, groups[0], []int32{1}, Sum) }()
		synctest.Wait()
		m := groups[0].m
		m.mu.Lock()
		also := len(m.mu.also)
		m.mu.Unlock()
		require.Positive(t, also, "it waits for several")
		cancel()
		require.ErrorIs(t, <-failed, context.Canceled)
		m.mu.Lock()
		defer m.mu.Unlock()
		require.Empty(t, m.mu.also)
	})
}

func TestACallUnderAnEndedContextAbortsTheGroup(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	requireAborted(t, Barrier(ctx, groups[0]), 0, context.Canceled, []int{0})
	requireAborted(t, Barrier(t.Context(), groups[1]), 1, context.Canceled, []int{0})
}
