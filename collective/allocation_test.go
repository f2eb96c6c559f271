// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/invariants"
)

// steady returns operations of n members, whose blocks have so many bytes.
func steady(n, length int) map[string]func(context.Context, *Group) error {
	ins, outs, long := deal(n, length), deal(n, length), deal(n, length*n)
	from, to := deal(n, n*40), deal(n, n*40)
	counts := make([]int, n)
	for rank := range counts {
		counts[rank] = length/4 - rank
	}
	total := 0
	for _, c := range counts {
		total += c
	}
	pairs := make([][]int, n) // with as much for each as from it
	for rank := range pairs {
		pairs[rank] = make([]int, n)
		for other := range pairs[rank] {
			pairs[rank][other] = 10 + (rank+other)%3 - 1
		}
	}
	own := func(g *Group) []float32 { return ins[g.Rank()][:counts[g.Rank()]] }
	return map[string]func(context.Context, *Group) error{
		"barrier":    Barrier,
		"all-reduce": func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, ins[g.Rank()], Avg) },
		"reduce":     func(ctx context.Context, g *Group) error { return Reduce(ctx, g, ins[g.Rank()], Sum, 3) },
		"reduce-scatter": func(ctx context.Context, g *Group) error {
			return ReduceScatter(ctx, g, long[g.Rank()], outs[g.Rank()], Max)
		},
		"broadcast":  func(ctx context.Context, g *Group) error { return Broadcast(ctx, g, ins[g.Rank()], 1) },
		"all-gather": func(ctx context.Context, g *Group) error { return AllGather(ctx, g, ins[g.Rank()], long[g.Rank()]) },
		"gather":     func(ctx context.Context, g *Group) error { return Gather(ctx, g, ins[g.Rank()], long[g.Rank()], 2) },
		"scatter":    func(ctx context.Context, g *Group) error { return Scatter(ctx, g, long[g.Rank()], outs[g.Rank()], 2) },
		"all-to-all": func(ctx context.Context, g *Group) error { return AllToAll(ctx, g, from[g.Rank()], to[g.Rank()]) },
		"all-gather-v": func(ctx context.Context, g *Group) error {
			return AllGatherV(ctx, g, own(g), long[g.Rank()][:total], counts)
		},
		"gather-v": func(ctx context.Context, g *Group) error {
			return GatherV(ctx, g, own(g), long[g.Rank()][:total], counts, 1)
		},
		"scatter-v": func(ctx context.Context, g *Group) error {
			return ScatterV(ctx, g, long[g.Rank()][:total], own(g), counts, 1)
		},
		"all-to-all-v": func(ctx context.Context, g *Group) error {
			return AllToAllV(ctx, g, from[g.Rank()], pairs[g.Rank()], to[g.Rank()], pairs[g.Rank()])
		},
		"six that differ": func(ctx context.Context, g *Group) error {
			for i := range 6 {
				if err := Broadcast(ctx, g, ins[g.Rank()][:i], 0); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// allocations returns how many times an operation that all members carry out allocates memory in the steady state, for all of them together.
func allocations(t *testing.T, groups []*Group, operate func(context.Context, *Group) error) float64 {
	t.Helper()
	n := len(groups)
	start := make([]chan struct{}, n)
	done := make(chan error, n)
	var wg sync.WaitGroup
	for i, g := range groups {
		start[i] = make(chan struct{})
		wg.Go(func() {
			for range start[i] {
				done <- operate(t.Context(), g)
			}
		})
	}
	once := func() {
		for _, s := range start {
			s <- struct{}{}
		}
		for range n {
			require.NoError(t, <-done)
		}
	}
	for range remembered { // until what is used again is there
		once()
	}
	got := testing.AllocsPerRun(20, once)
	for _, s := range start {
		close(s)
	}
	wg.Wait()
	return got
}

// In the steady state an operation takes a fixed number of allocations for all members together.
func TestOperationsInOneProcessAllocateAHandful(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const n, length, most = 60, 8000, 12
	groups := together(t, n)
	operations := steady(n, length)
	delete(operations, "six that differ") // each of which is one
	for name, operate := range operations {
		require.LessOrEqual(t, allocations(t, groups, operate), float64(most), name)
	}
}

// In the memory of a machine it takes none.
func TestOperationsInTheMemoryOfAMachineAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const n = 6
	for _, length := range []int{40, 8000} {
		c, _ := oneMachine(t, n)
		_, groups := c.group("g", n)
		requireAll(t, each(t.Context(), groups, Barrier))
		require.NotNil(t, groups[0].m.host.port.Load())
		for name, operate := range steady(n, length) {
			least := 1.0 // one that waits for long, on a machine that does something else, is bounded and allocates
			for try := 0; try < 5 && least >= 1; try++ {
				least = allocations(t, groups, operate)
			}
			require.Less(t, least, 1.0, "%s of %d", name, length)
		}
	}
}

// A member that waits for long looks around, for which it is bounded.
func TestALongWaitInTheMemoryOfAMachineAllocatesAHandful(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const n, most = 4, 6
	c, _ := oneMachine(t, n)
	_, groups := c.group("g", n)
	got := allocations(t, groups, func(ctx context.Context, g *Group) error {
		if g.Rank() == 0 {
			for _, other := range groups[1:] {
				for !waits(other.m) {
					runtime.Gosched()
				}
			}
		}
		return Barrier(ctx, g)
	})
	require.LessOrEqual(t, got, float64((n-1)*most))
}

// waits reports whether a member has waited for so long that it looked for whom.
func waits(m *member) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.awaits >= 0
}

// sharedSteady returns operations with shared results, of blocks of some elements.
func sharedSteady(t *testing.T, groups []*Group, length int) map[string]func(context.Context, *Group) error {
	t.Helper()
	n := len(groups)
	ins, long := deal(n, 4*length), deal(n, 4*length*n)
	bufs, places := make([]*Buffer[float32], n), make([]*Place[float32], n)
	for rank, g := range groups {
		var err error
		bufs[rank], err = NewBuffer[float32](g, length*n)
		require.NoError(t, err)
		t.Cleanup(bufs[rank].Release)
	}
	stored, err := NewBuffer[float32](groups[2], length*n)
	require.NoError(t, err)
	root, err := stored.Seal()
	require.NoError(t, err)
	t.Cleanup(root.Release)
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) (err error) {
		places[g.Rank()], err = NewPlace[float32](ctx, g, length)
		return err
	}))
	t.Cleanup(func() {
		for _, p := range places {
			p.Release()
		}
	})
	operations := map[string]func(ctx context.Context, g *Group, rank int) (*arrowstore.View[float32], error){
		"all-reduce": func(ctx context.Context, g *Group, rank int) (*arrowstore.View[float32], error) {
			return AllReduceShared(ctx, g, ins[rank], Sum)
		},
		"all-reduce of buffers": func(ctx context.Context, g *Group, rank int) (*arrowstore.View[float32], error) {
			return AllReduceBuffer(ctx, g, bufs[rank], Sum)
		},
		"reduce of buffers": func(ctx context.Context, g *Group, rank int) (*arrowstore.View[float32], error) {
			return ReduceBuffer(ctx, g, bufs[rank], Sum, 2)
		},
		"reduce-scatter of buffers": func(ctx context.Context, g *Group, rank int) (*arrowstore.View[float32], error) {
			return ReduceScatterBuffer(ctx, g, bufs[rank], Sum)
		},
		"all-gather": func(ctx context.Context, g *Group, rank int) (*arrowstore.View[float32], error) {
			return AllGatherShared(ctx, g, ins[rank])
		},
		"all-gather of places": func(ctx context.Context, g *Group, rank int) (*arrowstore.View[float32], error) {
			return AllGatherPlace(ctx, g, places[rank])
		},
		"gather": func(ctx context.Context, g *Group, rank int) (*arrowstore.View[float32], error) {
			return GatherShared(ctx, g, ins[rank], 2)
		},
		"gather of places": func(ctx context.Context, g *Group, rank int) (*arrowstore.View[float32], error) {
			return GatherPlace(ctx, g, places[rank], 2)
		},
		"broadcast": func(ctx context.Context, g *Group, rank int) (*arrowstore.View[float32], error) {
			return BroadcastShared(ctx, g, ins[rank], 2)
		},
		"broadcast of a view": func(ctx context.Context, g *Group, _ int) (*arrowstore.View[float32], error) {
			return BroadcastView(ctx, g, root, 2)
		},
		"scatter": func(ctx context.Context, g *Group, rank int) (*arrowstore.View[float32], error) {
			return ScatterShared(ctx, g, long[rank], length, 2)
		},
		"scatter of a view": func(ctx context.Context, g *Group, _ int) (*arrowstore.View[float32], error) {
			return ScatterView(ctx, g, root, length, 2)
		},
	}
	all := map[string]func(context.Context, *Group) error{}
	for name, operate := range operations {
		all[name] = func(ctx context.Context, g *Group) error {
			v, err := operate(ctx, g, g.Rank())
			if v != nil {
				v.Release()
			}
			return err
		}
	}
	return all
}

// A shared result takes a view and its object at each member that gets one, and who reads contributions of others holds them.
func TestSharedResultsAllocateAHandful(t *testing.T) {
	if raceEnabled || invariants.Enabled {
		t.Skip("the race detector allocates, and so do the checks of objects")
	}
	const n, length, most = 6, 2000, 3
	c, _ := oneMachine(t, n)
	_, groups := c.group("g", n)
	requireAll(t, each(t.Context(), groups, Barrier))
	for name, operate := range sharedSteady(t, groups, length) {
		least := float64(n*most) + 1 // one that waits for long allocates
		for try := 0; try < 5 && least > n*most; try++ {
			least = allocations(t, groups, operate)
		}
		require.LessOrEqual(t, least, float64(n*most), name)
	}
}
