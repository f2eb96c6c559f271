// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/arrowstore"
)

// sameAtRoot compares a view that the root alone gets.
func sameAtRoot[T arrowstore.Numeric](err error, g *Group, root int, want []T, v *arrowstore.View[T], format string, args ...any) error {
	if g.Rank() == root {
		return sameView(err, want, v, format, args...)
	}
	if v != nil {
		return fmt.Errorf("%s: a view at rank %d, root %d", fmt.Sprintf(format, args...), g.Rank(), root)
	}
	return err
}

// unevenSharedTrials are the operations with shared results of parts of different lengths.
func unevenSharedTrials[T arrowstore.Numeric](d domain[T], rng *rand.Rand, n, length int) []trial {
	root, counts := rng.IntN(n), make([]int, n)
	parts := make([][]T, n)
	for i := range counts {
		counts[i] = rng.IntN(length + 2)
		parts[i] = d.dealt(rng, 1, counts[i])[0]
	}
	joined := slices.Concat(parts...)
	return []trial{
		func(ctx context.Context, g *Group) error {
			v, err := AllGatherVShared(ctx, g, parts[g.Rank()], counts)
			return sameView(err, joined, v, "AllGatherVShared")
		},
		func(ctx context.Context, g *Group) error {
			v, err := GatherVShared(ctx, g, parts[g.Rank()], counts, root)
			return sameAtRoot(err, g, root, joined, v, "GatherVShared")
		},
		func(ctx context.Context, g *Group) error {
			var in []T
			if g.Rank() == root {
				in = joined
			}
			v, err := ScatterVShared(ctx, g, in, counts, root)
			return sameView(err, parts[g.Rank()], v, "ScatterVShared")
		},
		func(ctx context.Context, g *Group) error {
			p, err := NewPlaceV[T](ctx, g, counts)
			if err != nil {
				return err
			}
			defer p.Release()
			for range 3 {
				copy(p.Slice(), parts[g.Rank()])
				v, err := AllGatherPlace(ctx, g, p)
				if err := sameView(err, joined, v, "AllGatherPlace"); err != nil {
					return err
				}
				copy(p.Slice(), parts[g.Rank()])
				v, err = GatherPlace(ctx, g, p, root)
				if err := sameAtRoot(err, g, root, joined, v, "GatherPlace"); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// What members write into their places stands in the result without a copy, and stays there while they write the next.
func TestPlacesAreGatheredWithoutACopy(t *testing.T) {
	for name, hosts := range map[string][]int{"memory of a machine": {0}, "messages on one host": {0}, "two hosts": {0, 0, 1, 1}, "in turns": {0, 1}} {
		t.Run(name, func(t *testing.T) {
			c, stores := clusterOnHosts(t, 4, hosts, stretchBytes, strings.HasPrefix(name, "memory"))
			for _, n := range []int{1, 2, 9} {
				const count, rounds = 70, 6
				_, groups := c.group(fmt.Sprint("g", n), n)
				want := func(round int) []int32 {
					all := make([]int32, 0, n*count)
					for rank := range n {
						for i := range count {
							all = append(all, int32(round<<16|rank<<8|i))
						}
					}
					return all
				}
				requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
					p, err := NewPlace[int32](ctx, g, count)
					if err != nil {
						return err
					}
					defer p.Release()
					var before *arrowstore.View[int32]
					for round := range rounds {
						if len(p.Slice()) != count {
							return fmt.Errorf("a place of %d elements, want %d", len(p.Slice()), count)
						}
						copy(p.Slice(), part(want(round), g.Rank(), n))
						v, err := AllGatherPlace(ctx, g, p)
						if err := compare(err, want(round), viewed(v), "round %d", round); err != nil {
							return err
						}
						if before != nil {
							if err := sameView(nil, want(round-1), before, "round %d, when the next is there", round-1); err != nil {
								return err
							}
						}
						before = v
						copy(p.Slice(), part(want(round), g.Rank(), n))
						if v, err = GatherPlace(ctx, g, p, round%n); err != nil || g.Rank() != round%n {
							if v != nil {
								return fmt.Errorf("a view at rank %d, root %d", g.Rank(), round%n)
							}
							continue
						}
						if err := sameView(err, want(round), v, "GatherPlace %d", round); err != nil {
							return err
						}
					}
					before.Release()
					return nil
				}))
			}
			for node := range c.nodes {
				require.Zero(t, c.hub(node).storage.copied.Load(), "node %d", node)
			}
			c.over()
			require.Eventually(t, func() bool { return objectsIn(stores) == 0 }, 10*time.Second, time.Millisecond)
		})
	}
}

// viewed returns what a view shows, or nothing.
func viewed[T arrowstore.Numeric](v *arrowstore.View[T]) []T {
	if v == nil {
		return nil
	}
	return v.Slice()
}

func TestBadPlaces(t *testing.T) {
	c, _ := oneMachine(t, 2)
	creator, groups := c.group("g", 2)
	_, others := c.group("h", 2)
	ctx := t.Context()
	_, err := NewPlace[int8](ctx, creator, 1)
	require.ErrorIs(t, err, ErrNotMember)
	for want, err := range map[string]error{
		"NewPlace: count is -1, want 0 to":           placeError(NewPlace[int64](ctx, groups[0], -1)),
		"NewPlace: count is 1099511627776":           placeError(NewPlace[int64](ctx, groups[0], maxBuffer)),
		"NewPlaceV: counts has 1 entries, want 2":    placeError(NewPlaceV[int64](ctx, groups[0], []int{1})),
		"NewPlaceV: the sum of counts is 1099511627": placeError(NewPlaceV[int64](ctx, groups[0], []int{1, maxBuffer - 1})),
	} {
		require.ErrorIs(t, err, ErrArgument, want)
		require.ErrorContains(t, err, want)
	}
	requireAll(t, each(ctx, groups, func(ctx context.Context, g *Group) error {
		p, err := NewPlace[int64](ctx, g, 0)
		if err != nil {
			return err
		}
		require.Empty(t, p.Slice())
		v, err := AllGatherPlace(ctx, g, p)
		if err := sameView(err, []int64{}, v, "AllGatherPlace of nothing"); err != nil {
			return err
		}
		_, err = GatherPlace(ctx, g, p, 2)
		require.ErrorContains(t, err, "root is 2, want 0 to 1")
		_, err = AllGatherPlace(ctx, others[g.Rank()], p)
		require.ErrorIs(t, err, ErrArgument)
		require.ErrorContains(t, err, `p is a place of group "g" in epoch`)
		p.Release()
		p.Release()
		_, err = AllGatherPlace(ctx, g, p)
		require.ErrorContains(t, err, "p is released")
		_, err = GatherPlace[int64](ctx, g, nil, 0)
		require.ErrorContains(t, err, "p is nil")
		return nil
	}))
	requireAll(t, each(ctx, groups, Barrier))
}

func placeError[T arrowstore.Numeric](_ *Place[T], err error) error { return err }

// A member that never comes to the operation leaves nothing behind, nor do those who waited for it.
func TestPlacesOfAnEpochThatIsOverLeaveNothing(t *testing.T) {
	for name, memory := range map[string]bool{"memory": true, "messages": false} {
		t.Run(name, func(t *testing.T) {
			c, stores := clusterOnHosts(t, 3, []int{0}, stretchBytes, memory)
			for late := range 3 {
				_, groups := c.group(fmt.Sprint("late", late), 3)
				for rank, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
					p, err := NewPlace[float32](ctx, g, 1000)
					if err != nil {
						return err
					}
					defer p.Release()
					if g.Rank() == late {
						return nil
					}
					ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
					defer cancel()
					v, err := AllGatherPlace(ctx, g, p)
					if v != nil {
						v.Release()
					}
					return err
				}) {
					if rank != late {
						require.ErrorIs(t, err, ErrAborted, "rank %d", rank)
					}
				}
			}
			c.over()
			require.Eventually(t, func() bool { return objectsIn(stores) == 0 }, 10*time.Second, time.Millisecond)
		})
	}
}
