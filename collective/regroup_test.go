// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

// mute makes a node deaf: its connections stay, and it does nothing, like a process that is stopped.
func (c *cluster) mute(node int) {
	for _, k := range []wire.Kind{wire.KindBlock, wire.KindAbort} {
		c.nodes[node].Mesh.Handle(k, func(mesh.NodeID, wire.Frame) {})
	}
}

// on tells which groups are of members on a node.
func on(groups []*Group, nodes ...int) (in, out []*Group) {
	for _, g := range groups {
		if slices.Contains(nodes, int(g.s.nodeOf(g.Rank()))) {
			in = append(in, g)
		} else {
			out = append(out, g)
		}
	}
	return in, out
}

// shrink shrinks at all members at once.
func shrink(t *testing.T, groups []*Group) []*Group {
	t.Helper()
	next := make([]*Group, len(groups))
	errs := each(t.Context(), groups, func(ctx context.Context, g *Group) (err error) {
		next[slices.Index(groups, g)], err = g.Shrink(ctx)
		return err
	})
	requireAll(t, errs)
	return next
}

// requireGroup checks the second epoch of a group, and uses it.
func requireGroup(t *testing.T, groups []*Group, size int) {
	t.Helper()
	require.Len(t, groups, size)
	for rank, g := range groups {
		require.Equal(t, rank, g.Rank())
		require.Equal(t, size, g.Size())
		require.Equal(t, uint32(2), g.Epoch())
	}
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		buf := []int{1, g.Rank()}
		err := AllReduce(ctx, g, buf, Sum)
		return compare(err, []int{size, size * (size - 1) / 2}, buf, "AllReduce")
	}))
}

func TestThoseWhoAreLeftShrinkAndGoOn(t *testing.T) {
	for name, begin := range makers() {
		for _, victims := range [][]int{{1}, {3}, {1, 2}, {1, 3, 5}, {2, 3, 4, 5}} { // rank 0 lives on node 1
			t.Run(fmt.Sprint(name, victims), func(t *testing.T) {
				c := begin(t, 6)
				_, groups := c.group("g", 15)
				_, left := on(groups, victims...)
				errs := each(t.Context(), left, func(ctx context.Context, g *Group) error {
					if g == left[0] {
						for _, v := range victims {
							c.lose(v)
						}
					}
					return Barrier(ctx, g)
				})
				for _, err := range errs {
					require.ErrorIs(t, err, ErrMemberLost)
				}
				next := shrink(t, left)
				requireGroup(t, next, len(left))
				found := make([]*Group, len(left))
				for i, g := range left {
					var err error
					found[i], err = FromContext(c.as(t.Context(), g.m.sc.Actor), "g")
					require.NoError(t, err)
				}
				require.Equal(t, next, found)
			})
		}
	}
}

// Members that fail while the others shrink are left out too, the coordinator among them.
func TestLossesDuringAShrinkAreLeftOut(t *testing.T) {
	for _, victim := range []int{1, 2, 4} {
		t.Run(fmt.Sprint("node=", victim), func(t *testing.T) {
			c := newCluster(t, 6, inMemory)
			_, groups := c.group("g", 10)
			groups[0].Revoke("a test")
			gone, left := on(groups, victim)
			next := make([]*Group, len(left))
			errs := each(t.Context(), left, func(ctx context.Context, g *Group) (err error) {
				if g == left[3] { // the others wait for it, or for the victims
					c.lose(victim)
				}
				next[slices.Index(left, g)], err = g.Shrink(ctx)
				return err
			})
			requireAll(t, errs)
			requireGroup(t, next, len(left))
			_, err := gone[0].Shrink(t.Context())
			require.Error(t, err)
		})
	}
}

func TestASilentNodeIsTakenForLost(t *testing.T) {
	const victim = 3
	for what, operate := range operations() {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 5, inMemory)
				_, groups := c.group("g", 12)
				requireAll(t, each(t.Context(), groups, operate))
				_, left := on(groups, victim)
				c.mute(victim)
				start := time.Now()
				errs := each(t.Context(), left, func(ctx context.Context, g *Group) error {
					return errors.Join(operate(ctx, g), Barrier(ctx, g))
				})
				require.Less(t, time.Since(start), 3*time.Second)
				for i, err := range errs {
					requireAborted(t, err, left[i].Rank(), ErrMemberLost, groups[0].s.ranksOn(victim))
					require.ErrorContains(t, err, "node 3 of rank")
					require.ErrorContains(t, err, "is silent for 2s")
				}
				start = time.Now()
				next := shrink(t, left)
				require.Less(t, time.Since(start), time.Second, "who is known to be lost is not asked")
				requireGroup(t, next, 9)
			})
		})
	}
}

// A node that falls silent during a shrink delays it, and is left out.
func TestASilentCoordinatorIsReplaced(t *testing.T) {
	for _, victim := range []int{1, 4} {
		t.Run(fmt.Sprint("node=", victim), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 6, inMemory)
				_, groups := c.group("g", 10)
				groups[9].Revoke("a test")
				synctest.Wait()
				_, left := on(groups, victim)
				c.mute(victim)
				start := time.Now()
				requireGroup(t, shrink(t, left), 8)
				require.InDelta(t, DefaultSilence, time.Since(start), float64(time.Second))
			})
		})
	}
}

func TestWhoIsTakenForLostIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4, inMemory)
		_, groups := c.group("g", 6)
		groups[0].s.abort(&ending{code: codeLost, failed: []int{4}, text: "by mistake"})
		synctest.Wait()
		_, err := groups[4].Shrink(t.Context())
		require.ErrorIs(t, err, ErrExcluded)
		require.ErrorIs(t, err, ErrAborted)
		left := slices.Delete(slices.Clone(groups), 4, 5)
		requireGroup(t, shrink(t, left), 5)
	})
}

func TestAShrinkNamesThoseWhoHaveNotCalledIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4, inMemory)
		_, groups := c.group("g", 5)
		groups[0].Revoke("a test")
		synctest.Wait()
		start := time.Now()
		errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			if g.Rank() == 3 {
				return nil
			}
			_, err := g.Shrink(ctx)
			return err
		})
		require.Equal(t, DefaultStall, time.Since(start))
		var e *Error
		require.ErrorAs(t, errs[0], &e)
		require.Equal(t, []int{3}, e.Failed)
		require.ErrorIs(t, errs[0], context.DeadlineExceeded)
		require.ErrorContains(t, errs[0], "waited for ranks [3], which have not called it")
		require.ErrorIs(t, errs[1], context.DeadlineExceeded)
	})
}

func TestVotesOnDifferentMattersAreAMismatch(t *testing.T) {
	c := newCluster(t, 4, inMemory)
	_, groups := c.group("g", 5)
	for _, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) (err error) {
		if g.Rank() == 3 {
			_, err = g.Shrink(ctx)
		} else {
			_, err = g.Agree(ctx, true)
		}
		return err
	}) {
		require.ErrorIs(t, err, ErrMismatch)
	}
	requireAll(t, each(t.Context(), groups, Barrier))
}

func TestARevokedGroupEndsEverywhereWithTheReason(t *testing.T) {
	for _, by := range []int{-1, 0, 3} {
		c := newCluster(t, 4, overSockets)
		creator, groups := c.group("g", 5)
		pending := make(chan error, 1)
		go func() { pending <- Barrier(t.Context(), groups[2]) }()
		require.NoError(t, creator.Err())
		g := creator
		if by >= 0 {
			g = groups[by]
		}
		g.Revoke("the loss is not a number")
		for _, err := range append(each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			<-g.Done()
			return Barrier(ctx, g)
		}), <-pending) {
			require.ErrorIs(t, err, ErrRevoked)
			require.ErrorIs(t, err, ErrAborted)
			require.ErrorContains(t, err, "the loss is not a number")
		}
		<-creator.Done()
		require.ErrorIs(t, creator.Err(), ErrRevoked)
		requireGroup(t, shrink(t, groups), 5)
	}
}

func TestAgreeIsTheSameForAllWhoAreLeft(t *testing.T) {
	c := newCluster(t, 5, inMemory)
	_, groups := c.group("g", 8)
	agree := func(groups []*Group, no int) {
		t.Helper()
		requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			got, err := g.Agree(ctx, g.Rank() != no)
			if want := no < 0; err == nil && got != want {
				return fmt.Errorf("agreed on %v, want %v", got, want)
			}
			return err
		}))
	}
	agree(groups, -1)
	agree(groups, 5)
	requireAll(t, each(t.Context(), groups, Barrier)) // the epoch goes on
	_, left := on(groups, 1)
	c.lose(1)
	agree(left, -1)
	agree(left, 7)
}

func TestSplitMakesAGroupOfEachColor(t *testing.T) {
	c := newCluster(t, 4, overSockets)
	_, groups := c.group("g", 12)
	for range 3 { // again and again
		parts := make([]*Group, len(groups))
		requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) (err error) {
			parts[g.Rank()], err = g.Split(ctx, g.Rank()%3-1, -g.Rank()/6)
			return err
		}))
		for rank, p := range parts {
			if rank%3 == 0 {
				require.Nil(t, p)
				continue
			}
			require.Equal(t, fmt.Sprintf("g/%d", rank%3-1), p.Name())
			require.Equal(t, 4, p.Size())
		}
		// Ranks 6 and on have the lower key.
		for i, rank := range []int{7, 10, 1, 4} {
			require.Equal(t, i, parts[rank].Rank())
		}
		parts = slices.DeleteFunc(parts, func(p *Group) bool { return p == nil })
		requireAll(t, each(t.Context(), parts, func(ctx context.Context, g *Group) error {
			buf := []int{1}
			return compare(AllReduce(ctx, g, buf, Sum), []int{4}, buf, "AllReduce")
		}))
		requireAll(t, each(t.Context(), groups, Barrier))
	}
	if math.MaxInt > math.MaxInt32 { // else there is no such color
		_, err := groups[0].Split(t.Context(), math.MaxInt/2, 0)
		require.ErrorIs(t, err, ErrArgument)
	}
}

func TestWhoMayRegroup(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	creator, groups := c.group("g", 2)
	_, err := creator.Agree(t.Context(), true)
	require.ErrorIs(t, err, ErrNotMember)
	_, err = creator.Split(t.Context(), 0, 0)
	require.ErrorIs(t, err, ErrNotMember)
	_, err = groups[0].Shrink(c.as(t.Context(), groups[1].m.sc.Actor))
	require.ErrorIs(t, err, ErrNotMember)
	require.NoError(t, groups[0].Close(t.Context()))
	_, err = groups[0].Shrink(t.Context())
	require.ErrorIs(t, err, ErrClosed)
	_, err = groups[0].Split(t.Context(), 0, 0)
	require.ErrorIs(t, err, ErrClosed)
}

// Nobody else will answer a member whose node has ended, before or while it waits.
func TestShrinkFailsAtOnceWhereTheOwnNodeHasEnded(t *testing.T) {
	for name, before := range map[string]bool{"before": true, "while it waits": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 3, inMemory)
				_, groups := c.group("g", 4)
				in, _ := on(groups, 1)
				began := time.Now()
				if before {
					require.NoError(t, c.nodes[1].Mesh.Close())
				} else {
					time.AfterFunc(time.Second, func() { _ = c.nodes[1].Mesh.Close() })
				}
				for _, err := range each(t.Context(), in, func(ctx context.Context, g *Group) error {
					_, err := g.Shrink(ctx)
					return err
				}) {
					require.ErrorIs(t, err, ErrMemberLost)
					require.ErrorContains(t, err, "its own node has ended")
				}
				_, err := in[0].Agree(t.Context(), true)
				require.ErrorContains(t, err, "its own node has ended")
				require.LessOrEqual(t, time.Since(began), 2*time.Second)
			})
		})
	}
}

func TestVerdictsAreRememberedForThoseWhoAskLate(t *testing.T) {
	c := newCluster(t, 5, inMemory)
	_, groups := c.group("g", 4)
	v := &verdict{vote: vote{matter: matterAgree}}
	groups[1].s.settle(1, v)
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		got, err := g.Agree(ctx, true)
		if got {
			return errors.New("the verdict was no")
		}
		return err
	}))
}

func FuzzVote(f *testing.F) {
	f.Add(vote{matterShrink, true, []int{1, 5}}.encode())
	f.Add(vote{}.encode())
	f.Add([]byte{1, 2, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseVote(b, 10)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
			return
		}
		again, err := parseVote(v.encode(), 10)
		require.NoError(t, err)
		assert.Equal(t, v, again)
	})
}

func FuzzVerdict(f *testing.F) {
	f.Add(verdict{vote{matterShrink, true, []int{0, 9}}, 1 << 40, 7}.encode())
	f.Add(verdict{vote{matterShrink, true, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}, 1, 1}.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseVerdict(b, 10)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
			return
		}
		again, err := parseVerdict(v.encode(), 10)
		require.NoError(t, err)
		assert.Equal(t, v, again)
	})
}
