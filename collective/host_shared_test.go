// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/arrowstore"
)

// objectsIn counts what is in some stores.
func objectsIn(stores []*arrowstore.Store) int {
	n := 0
	for _, st := range stores {
		n += st.Stats().Objects
	}
	return n
}

// oneMachine makes a cluster of one machine with its memory, and stores.
func oneMachine(t *testing.T, nodes int) (*cluster, []*arrowstore.Store) {
	t.Helper()
	return clusterOnHosts(t, nodes, []int{0}, stretchBytes, true)
}

// gatherOnce all-gathers some elements, different in each round.
func gatherOnce(count, round int) func(context.Context, *Group) error {
	return func(ctx context.Context, g *Group) error {
		in, want := make([]int32, count), make([]int32, 0, g.Size()*count)
		for rank := range g.Size() {
			for i := range count {
				want = append(want, int32(round*1000+rank*10+i%10))
			}
		}
		copy(in, want[g.Rank()*count:])
		v, err := AllGatherShared(ctx, g, in)
		return sameView(err, want, v, "AllGatherShared")
	}
}

func TestTheNextObjectIsAnnouncedWithTheResult(t *testing.T) {
	c, stores := oneMachine(t, 4)
	creator, groups := c.group("g", 6)
	for round, objects := range []int{0, 1, 2, 2, 2} { // none before the operation was there once; the first is used again when the second has been
		requireAll(t, each(t.Context(), groups, gatherOnce(100, round)))
		require.Equal(t, objects, objectsIn(stores), "round %d", round)
		for _, g := range groups {
			require.True(t, g.m.host.shares.Load())
			require.Len(t, g.m.host.spares.mu.all, min(objects, 1))
		}
	}
	for round := range 3 { // of many kinds, the oldest give way
		for kind := range 2 * mostSpares {
			requireAll(t, each(t.Context(), groups, gatherOnce(1+kind, round)))
		}
	}
	require.Equal(t, mostSpares, objectsIn(stores))
	for round := range 5 { // other operations between do not matter
		requireAll(t, each(t.Context(), groups, gatherOnce(7, round)))
		requireAll(t, each(t.Context(), groups, Barrier))
		requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			v, err := GatherShared(ctx, g, []int16{int16(g.Rank())}, round)
			if g.Rank() != round {
				return err
			}
			return sameView(err, []int16{0, 1, 2, 3, 4, 5}, v, "GatherShared")
		}))
	}
	require.NoError(t, creator.Close(t.Context()))
	require.Eventually(t, func() bool { return objectsIn(stores) == 0 }, 10*time.Second, time.Millisecond, "they go with the group")
}

func TestNoObjectOfManyBytesIsHeldForTheNextOperation(t *testing.T) {
	c, stores := oneMachine(t, 3)
	_, groups := c.group("g", 2)
	for round := range 3 {
		requireAll(t, each(t.Context(), groups, gatherOnce(largestSpare/4, round)))
		require.Zero(t, objectsIn(stores))
	}
}

func TestNoMoreOfAStoreIsHeldThanAPart(t *testing.T) {
	p, at := &spares{}, &storage{limit: 1 << 20}
	key := [2]uint64{1, 2}
	require.False(t, p.expects(key, 8, at), "never seen")
	p.put(key, arrowstore.ID{}, nil)
	require.True(t, p.expects(key, 1<<20/spareShare, at))
	require.False(t, p.expects(key, 1<<20/spareShare+1, at))
	for i := range recentCalls {
		p.put([2]uint64{3, uint64(i)}, arrowstore.ID{}, nil)
	}
	require.False(t, p.expects(key, 8, at), "long ago")
}

// Who hands an object on does not wait for the others, and holds it until it knows that they have it.
func TestWhatIsHandedOnStaysUntilAllHoldIt(t *testing.T) {
	c, stores := oneMachine(t, 3)
	creator, groups := c.group("g", 4)
	requireAll(t, each(t.Context(), groups, gatherOnce(1, 0))) // the members find out where they are
	in := []float64{1, 2, 3}
	for _, end := range []func() error{
		func() error { requireAll(t, each(t.Context(), groups, Barrier)); return nil },
		func() error { return creator.Close(t.Context()) },
	} {
		v, err := BroadcastShared(t.Context(), groups[2], in, 2)
		require.NoError(t, err)
		v.Release()
		require.Equal(t, 1, objectsIn(stores))
		for rank, g := range groups {
			if rank != 2 {
				v, err := BroadcastShared[float64](t.Context(), g, nil, 2)
				require.NoError(t, sameView(err, in, v, "BroadcastShared"))
			}
		}
		require.Equal(t, 1, objectsIn(stores))
		require.NoError(t, end())
		require.Eventually(t, func() bool { return objectsIn(stores) == 0 }, 10*time.Second, time.Millisecond)
	}
}

// A member of the group goes at any time, and nothing of its operations stays.
func TestNothingIsLeftWhenANodeIsLostInTheMemoryOfAMachine(t *testing.T) {
	for name, victim := range map[string]int{"the one that makes the objects": 0, "another": 3} {
		t.Run(name, func(t *testing.T) {
			c, stores := oneMachine(t, 5)
			_, groups := c.group("g", 4)
			for round := range 3 {
				requireAll(t, each(t.Context(), groups, gatherOnce(100, round)))
			}
			lost := nodeOfActor(groups[victim].m.sc.Actor)
			for rank, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				if g.Rank() == victim {
					c.lose(int(lost))
					return nil
				}
				return gatherOnce(100, 3)(ctx, g)
			}) {
				if rank != victim {
					require.ErrorIs(t, err, ErrMemberLost, "rank %d", rank)
				}
			}
			require.Eventually(t, func() bool { return objectsIn(stores) == 0 }, 10*time.Second, time.Millisecond)
		})
	}
}

func TestReductionsInTheMemoryOfAMachineAreTheSameEachTime(t *testing.T) {
	c, _ := oneMachine(t, 4)
	_, groups := c.group("g", 19) // the first goes by messages at first, to find out where the members are
	const length = 3001
	bits := make([][]float32, len(groups))
	for round := range 4 {
		requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			in := make([]float32, length)
			for i := range in {
				in[i] = 1 / float32(1+i*g.Rank())
			}
			v, err := AllReduceShared(ctx, g, in, Sum)
			if err == nil && round%2 == 1 { // in place it is the same
				v.Release()
				var own *arrowstore.View[float32]
				if own, err = stored(g, in); err != nil {
					return err
				}
				defer own.Release()
				v, err = AllReduceView(ctx, g, own, Sum)
			}
			if err != nil {
				return err
			}
			defer v.Release()
			if round == 0 {
				bits[g.Rank()] = append(bits[g.Rank()], v.Slice()...)
				return nil
			}
			return compare(nil, bits[0], v.Slice(), "round %d", round)
		}))
	}
}

// Contributions of more bytes than slots have go in several rounds, those in place in fewer.
func TestReductionsOfManyBytesInTheMemoryOfAMachine(t *testing.T) {
	c, _ := oneMachine(t, 4)
	for _, n := range []int{3, 10, 17} {
		_, groups := c.group(fmt.Sprint("g", n), n)
		const length = 1_300_000
		requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			in, want := make([]int32, length), make([]int32, length)
			for i := range in {
				in[i], want[i] = int32(i+g.Rank()), int32(n*i+n*(n-1)/2)
			}
			v, err := AllReduceShared(ctx, g, in, Sum)
			if err := sameView(err, want, v, "AllReduceShared"); err != nil {
				return err
			}
			own, err := stored(g, in)
			if err != nil {
				return err
			}
			defer own.Release()
			v, err = AllReduceView(ctx, g, own, Sum)
			return sameView(err, want, v, "AllReduceView")
		}))
	}
}
