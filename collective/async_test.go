// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAsyncOperationsKeepTheOrderOfTheCalls(t *testing.T) {
	const n, rounds = 5, 30
	c := newCluster(t, 4, inMemory)
	_, groups := c.group("g", n)
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		var works []*Work
		bufs := make([][]int, rounds)
		for i := range bufs {
			bufs[i] = []int{i, g.Rank()}
			work := g.Async(ctx, func(ctx context.Context) error {
				return errors.Join(AllReduce(ctx, g, bufs[i], Sum), Broadcast(ctx, g, bufs[i][:1], i%n))
			})
			works = append(works, work)
			if i%7 == g.Rank() { // members need not wait at the same places
				if err := work.Wait(ctx); err != nil {
					return err
				}
			}
			if i%5 == 0 { // one that is called directly waits for all before it
				if err := AllReduce(ctx, g, make([]float32, 1+i), Max); err != nil {
					return err
				}
				select {
				case <-work.Done():
				default:
					return fmt.Errorf("a later operation is done before operation %d", i)
				}
			}
		}
		for i, w := range works {
			if err := w.Wait(ctx); err != nil {
				return err
			}
			if err := compare(nil, []int{n * i, n * (n - 1) / 2}, bufs[i], "%d", i); err != nil {
				return err
			}
		}
		return Barrier(ctx, g)
	}))
}

func TestAsyncOnSeveralGroupsAtOnce(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, one := c.group("one", 4)
	_, two := c.group("two", 4)
	requireAll(t, each(t.Context(), one, func(ctx context.Context, g *Group) error {
		h := two[g.Rank()]
		a, b := []int{1}, []int{2}
		works := []*Work{
			g.Async(ctx, func(ctx context.Context) error { return AllReduce(ctx, g, a, Sum) }),
			h.Async(ctx, func(ctx context.Context) error { return AllReduce(ctx, h, b, Sum) }),
		}
		if g.Rank()%2 == 0 { // in whatever order
			works[0], works[1] = works[1], works[0]
		}
		for _, w := range works {
			if err := w.Wait(ctx); err != nil {
				return err
			}
		}
		return compare(nil, []int{4, 8}, append(a, b...), "sums")
	}))
}

func TestAFailureInAsyncEndsTheEpoch(t *testing.T) {
	cases := map[string]struct {
		run  func(ctx context.Context, g *Group) error
		want error
		text string
	}{
		"panic":    {func(context.Context, *Group) error { panic("no such luck") }, nil, "no such luck"},
		"mismatch": {func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, []int{1}, Sum) }, ErrMismatch, "Barrier"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3, inMemory)
			_, groups := c.group("g", 3)
			for _, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				if g.Rank() == 1 {
					return g.Async(ctx, func(ctx context.Context) error { return tc.run(ctx, g) }).Wait(ctx)
				}
				return Barrier(ctx, g)
			}) {
				require.ErrorContains(t, err, tc.text)
				if tc.want != nil {
					require.ErrorIs(t, err, tc.want)
				}
			}
			require.ErrorIs(t, groups[2].Err(), ErrAborted)
		})
	}
}

func TestAsyncEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, inMemory)
		creator, groups := c.group("g", 2)
		ctx, cancel := context.WithCancel(t.Context())
		first := groups[0].Async(t.Context(), func(ctx context.Context) error { return Barrier(ctx, groups[0]) })
		second := groups[0].Async(ctx, func(ctx context.Context) error { return Barrier(ctx, groups[0]) }) // behind it
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		require.ErrorIs(t, first.Wait(short), context.DeadlineExceeded, "to wait for it is not to end it")
		cancel()
		for _, w := range []*Work{first, second} {
			err := w.Wait(t.Context())
			require.ErrorIs(t, err, ErrAborted)
			require.ErrorIs(t, err, context.Canceled)
		}
		require.ErrorIs(t, creator.Async(t.Context(), nil).Wait(t.Context()), ErrNotMember)
	})
}
