// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/arrowstore"
)

// watchedView is a result that a member has not let go of, with what it must be.
type watchedView struct {
	*arrowstore.View[int32]

	want []int32
}

// keeper is a member that does operations and holds on to some results for a while.
type keeper struct {
	g     *Group
	place *Place[int32]
	held  []watchedView
	rng   *rand.Rand
}

// took checks a result, and all that are held. Some are let go of.
func (k *keeper) took(v *arrowstore.View[int32], want []int32) error {
	if v != nil {
		k.held = append(k.held, watchedView{v, want})
	}
	for _, h := range k.held {
		if !slices.Equal(h.want, h.Slice()) {
			return fmt.Errorf("rank %d: a result of %d elements has changed while it was held: %v, want %v", k.g.Rank(), len(h.want), h.Slice()[:4], h.want[:4])
		}
	}
	k.held = slices.DeleteFunc(k.held, func(h watchedView) bool {
		over := k.rng.IntN(3) == 0 || len(k.held) > 20
		if over {
			h.Release()
		}
		return over
	})
	return nil
}

// step does one operation, which depends on the round alone.
func (k *keeper) step(ctx context.Context, round int) error {
	const count = 64
	g, n := k.g, k.g.Size()
	choice := rand.New(rand.NewPCG(uint64(round), 1))
	part := func(rank int) []int32 { // what a rank brings
		b := make([]int32, count)
		for i := range b {
			b[i] = int32(round*10000 + rank*100 + i)
		}
		return b
	}
	var all []int32
	sum := make([]int32, count)
	for rank := range n {
		all = append(all, part(rank)...)
		for i, v := range part(rank) {
			sum[i] += v
		}
	}
	own, root := part(g.Rank()), choice.IntN(n)
	gathered := func(v *arrowstore.View[int32], err error) error {
		if err != nil {
			return err
		}
		return k.took(v, all)
	}
	summed := func(v *arrowstore.View[int32], err error) error {
		if err != nil {
			return err
		}
		return k.took(v, sum)
	}
	switch choice.IntN(9) {
	case 0:
		return gathered(AllGatherShared(ctx, g, own))
	case 1:
		return gathered(GatherShared(ctx, g, own, 0))
	case 2:
		copy(k.place.Slice(), own)
		return gathered(AllGatherPlace(ctx, g, k.place))
	case 3:
		copy(k.place.Slice(), own)
		return gathered(GatherPlace(ctx, g, k.place, root))
	case 4:
		return summed(AllReduceShared(ctx, g, own, Sum))
	case 5:
		return summed(ReduceShared(ctx, g, own, Sum, 1))
	case 6:
		v, err := BroadcastShared(ctx, g, all[:count*(1+choice.IntN(n))], 0) // of several lengths
		if err != nil {
			return err
		}
		return k.took(v, all[:len(v.Slice())])
	case 7: // what is handed on is held by those who get it
		v, err := AllGatherShared(ctx, g, own)
		if err != nil {
			return err
		}
		defer v.Release()
		return gathered(BroadcastView(ctx, g, v, root))
	default:
		v, err := AllGatherShared(ctx, g, own)
		if err != nil {
			return err
		}
		defer v.Release()
		reduced, err := ReduceView(ctx, g, v, Max, root)
		if err != nil {
			return err
		}
		return k.took(reduced, all)
	}
}

func keepersOf(t *testing.T, groups []*Group, seed uint64) []*keeper {
	t.Helper()
	keepers := make([]*keeper, len(groups))
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		p, err := NewPlace[int32](ctx, g, 64)
		keepers[g.Rank()] = &keeper{g: g, place: p, rng: rand.New(rand.NewPCG(seed, uint64(g.Rank())))}
		return err
	}))
	return keepers
}

func (k *keeper) end() {
	for _, h := range k.held {
		h.Release()
	}
	k.held = nil
	k.place.Release()
}

// A view that is held never changes, whatever the others do meanwhile, and when all views are released nothing is left but what is kept.
func TestAViewNeverChangesWhileItIsHeld(t *testing.T) {
	for seed := range uint64(3) {
		c, stores := oneMachine(t, 4)
		creator, groups := c.group("g", 6)
		keepers := keepersOf(t, groups, seed)
		rounds := 300
		if testing.Short() {
			rounds = 100
		}
		requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			for round := range rounds {
				if err := keepers[g.Rank()].step(ctx, round); err != nil {
					return fmt.Errorf("round %d: %w", round, err)
				}
			}
			return nil
		}))
		for _, k := range keepers {
			k.end()
		}
		require.LessOrEqual(t, objectsIn(stores), mostSpares*mostKept+mostPlaces)
		require.NoError(t, creator.Close(t.Context()))
		require.Eventually(t, func() bool { return objectsIn(stores) == 0 }, 10*time.Second, time.Millisecond)
	}
}

// In the steady state the same memory comes again and again.
func TestResultsUseTheSameMemoryAgain(t *testing.T) {
	c, stores := oneMachine(t, 3)
	creator, groups := c.group("g", 5)
	places := keepersOf(t, groups, 1)
	for name, op := range map[string]struct {
		most int
		do   func(context.Context, *Group) (*arrowstore.View[int32], error)
	}{
		"all-gather": {mostKept, func(ctx context.Context, g *Group) (*arrowstore.View[int32], error) {
			return AllGatherShared(ctx, g, []int32{1, 2})
		}},
		"broadcast": {mostKept, func(ctx context.Context, g *Group) (*arrowstore.View[int32], error) {
			return BroadcastShared(ctx, g, []int32{1, 2, 3}, 3)
		}},
		"all-reduce": {mostKept, func(ctx context.Context, g *Group) (*arrowstore.View[int32], error) {
			return AllReduceShared(ctx, g, []int32{1, 2}, Sum)
		}},
		"gather": {mostKept, func(ctx context.Context, g *Group) (*arrowstore.View[int32], error) {
			return GatherShared(ctx, g, []int32{1, 2}, 2)
		}},
		"place": {mostPlaces, func(ctx context.Context, g *Group) (*arrowstore.View[int32], error) {
			return GatherPlace(ctx, g, places[g.Rank()].place, 1)
		}},
	} {
		var mu sync.Mutex
		ids := map[arrowstore.ID]int{}
		for range 30 {
			requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				v, err := op.do(ctx, g)
				if v != nil {
					mu.Lock()
					ids[v.Object().ID()]++
					mu.Unlock()
					v.Release()
				}
				return err
			}))
		}
		again := 0
		for _, n := range ids {
			if n > 1 {
				again++
			}
		}
		require.LessOrEqual(t, len(ids), op.most+2, name) // two before it is known that the operation comes again
		require.Positive(t, again, name)
	}
	for _, k := range places {
		k.end()
	}
	require.NoError(t, creator.Close(t.Context()))
	require.Eventually(t, func() bool { return objectsIn(stores) == 0 }, 10*time.Second, time.Millisecond)
}

// A member is lost at any moment, with views that it holds. What others hold stays as it is, and nothing is left when they have released it.
func TestViewsStayWhenAMemberIsLost(t *testing.T) {
	for _, victim := range []int{0, 1, 3} {
		for _, last := range []int{5, 12, 20} {
			t.Run(fmt.Sprint("rank ", victim, " after ", last), func(t *testing.T) {
				c, stores := oneMachine(t, 5)
				_, groups := c.group("g", 4)
				keepers := keepersOf(t, groups, uint64(last))
				lost := nodeOfActor(groups[victim].m.sc.Actor)
				for rank, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
					for round := range last {
						if err := keepers[g.Rank()].step(ctx, round); err != nil {
							return err
						}
					}
					if g.Rank() == victim {
						c.lose(int(lost))
						return nil
					}
					for round := last; ; round++ {
						if err := keepers[g.Rank()].step(ctx, round); err != nil {
							return err
						}
					}
				}) {
					if rank != victim {
						require.ErrorIs(t, err, ErrMemberLost, "rank %d", rank)
					}
				}
				for _, k := range keepers {
					require.NoError(t, k.took(nil, nil))
					k.end()
				}
				require.Eventually(t, func() bool { return objectsIn(stores) == 0 }, 10*time.Second, time.Millisecond)
			})
		}
	}
}
