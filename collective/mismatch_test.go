// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/wire"
)

// oneMore is counts of which that of the next rank is larger by one.
func oneMore(g *Group, n int) []int {
	counts := slices.Repeat([]int{n}, g.Size())
	counts[(g.Rank()+1)%g.Size()]++
	return counts
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
	for name, tc := range everyWay(cases) {
		for odd := range n {
			t.Run(fmt.Sprintf("%v/rank=%d", name, odd), func(t *testing.T) {
				c := makerOf(name.way)(t, 3)
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
