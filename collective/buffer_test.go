// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/arrowstore"
)

// A loop writes its contribution into the same memory in every round, and nothing of it is copied on one machine.
func TestBuffersAreReducedInPlaceAgainAndAgain(t *testing.T) {
	for _, memory := range []bool{false, true} {
		c, _ := clusterOnHosts(t, 4, []int{0}, stretchBytes, memory)
		for _, n := range []int{2, 10} {
			_, groups := c.group(map[int]string{2: "two", 10: "ten"}[n], n)
			requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				b, err := NewBuffer[int32](g, 20*n)
				if err != nil {
					return err
				}
				defer b.Release()
				for round := range 4 {
					want := make([]int32, 20*n)
					for i := range b.Slice() {
						b.Slice()[i] = int32(i + g.Rank() + round)
						want[i] = int32(n*(i+round) + n*(n-1)/2)
					}
					v, err := AllReduceBuffer(ctx, g, b, Sum)
					if err := sameView(err, want, v, "AllReduceBuffer"); err != nil {
						return err
					}
					v, err = ReduceScatterBuffer(ctx, g, b, Sum)
					if err := sameView(err, part(want, g.Rank(), n), v, "ReduceScatterBuffer"); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		if memory {
			for node := range c.nodes {
				require.Zero(t, c.hub(node).storage.copied.Load(), "node %d", node)
			}
		}
	}
}

func TestASealedBufferIsBroadcastWithoutACopy(t *testing.T) {
	c, stores := oneMachine(t, 3)
	_, groups := c.group("g", 3)
	want := []float64{1, 2, 3}
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		var own *arrowstore.View[float64]
		if g.Rank() == 1 {
			b, err := NewBuffer[float64](g, len(want))
			if err != nil {
				return err
			}
			copy(b.Slice(), want)
			if own, err = b.Seal(); err != nil {
				return err
			}
			defer own.Release()
			_, err = b.Seal()
			require.ErrorIs(t, err, arrowstore.ErrSealed)
			b.Release() // nothing
		}
		v, err := BroadcastView(ctx, g, own, 1)
		return sameView(err, want, v, "BroadcastView")
	}))
	for node := range c.nodes {
		require.Zero(t, c.hub(node).storage.copied.Load(), "node %d", node)
	}
	requireAll(t, each(t.Context(), groups, Barrier)) // all hold what was handed on
	require.Zero(t, objectsIn(stores))
}

func TestBadBuffers(t *testing.T) {
	c, stores := oneMachine(t, 2)
	creator, groups := c.group("g", 2)
	_, err := NewBuffer[int8](creator, 1)
	require.ErrorIs(t, err, ErrNotMember)
	for _, count := range []int{-1, maxBuffer} {
		_, err = NewBuffer[int16](groups[0], count)
		require.ErrorIs(t, err, ErrArgument)
		require.ErrorContains(t, err, "want 0 to")
	}
	_, err = AllReduceBuffer[int8](t.Context(), groups[0], nil, Sum)
	require.ErrorIs(t, err, ErrArgument)
	_, err = ReduceScatterBuffer[int8](t.Context(), groups[0], nil, Sum)
	require.ErrorIs(t, err, ErrArgument)
	b, err := NewBuffer[int8](groups[0], 0)
	require.NoError(t, err)
	require.Empty(t, b.Slice())
	b.Release()
	b.Release()
	_, err = b.Seal()
	require.ErrorIs(t, err, arrowstore.ErrSealed)
	require.Zero(t, objectsIn(stores))
}
