// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// preparedCase is an operation in both forms, over in and out of 2*n elements, of which it uses what it needs.
type preparedCase struct {
	prepare func(ctx context.Context, g *Group, in, out []int64) (*Prepared, error)
	plain   func(ctx context.Context, g *Group, in, out []int64) error
}

func preparedCases(n int) map[string]preparedCase {
	root := n - 1
	ordered := Custom(func(dst, src []int64) {
		for i := range dst {
			dst[i] = 3*dst[i] - src[i]
		}
	}, false)
	of := func(op Reduction) preparedCase {
		return preparedCase{
			func(ctx context.Context, g *Group, _, out []int64) (*Prepared, error) {
				return PrepareAllReduce(ctx, g, out, op)
			},
			func(ctx context.Context, g *Group, _, out []int64) error { return AllReduce(ctx, g, out, op) },
		}
	}
	return map[string]preparedCase{
		"AllReduce": of(Sum), "AllReduce average": of(Avg), "AllReduce ordered": of(ordered),
		"Reduce": {
			func(ctx context.Context, g *Group, _, out []int64) (*Prepared, error) {
				return PrepareReduce(ctx, g, out, Max, root)
			},
			func(ctx context.Context, g *Group, _, out []int64) error { return Reduce(ctx, g, out, Max, root) },
		},
		"Reduce ordered": {
			func(ctx context.Context, g *Group, _, out []int64) (*Prepared, error) {
				return PrepareReduce(ctx, g, out, ordered, root)
			},
			func(ctx context.Context, g *Group, _, out []int64) error {
				return Reduce(ctx, g, out, ordered, root)
			},
		},
		"ReduceScatter": {
			func(ctx context.Context, g *Group, in, out []int64) (*Prepared, error) {
				return PrepareReduceScatter(ctx, g, in, out[:len(in)/n], Sum)
			},
			func(ctx context.Context, g *Group, in, out []int64) error {
				return ReduceScatter(ctx, g, in, out[:len(in)/n], Sum)
			},
		},
		"ReduceScatter ordered": {
			func(ctx context.Context, g *Group, in, out []int64) (*Prepared, error) {
				return PrepareReduceScatter(ctx, g, in, out[:len(in)/n], ordered)
			},
			func(ctx context.Context, g *Group, in, out []int64) error {
				return ReduceScatter(ctx, g, in, out[:len(in)/n], ordered)
			},
		},
		"Broadcast": {
			func(ctx context.Context, g *Group, _, out []int64) (*Prepared, error) {
				return PrepareBroadcast(ctx, g, out, root)
			},
			func(ctx context.Context, g *Group, _, out []int64) error { return Broadcast(ctx, g, out, root) },
		},
		"AllGather": {
			func(ctx context.Context, g *Group, in, out []int64) (*Prepared, error) {
				return PrepareAllGather(ctx, g, in[:len(out)/n], out)
			},
			func(ctx context.Context, g *Group, in, out []int64) error {
				return AllGather(ctx, g, in[:len(out)/n], out)
			},
		},
		"AllToAll": {
			func(ctx context.Context, g *Group, in, out []int64) (*Prepared, error) {
				return PrepareAllToAll(ctx, g, in, out)
			},
			func(ctx context.Context, g *Group, in, out []int64) error { return AllToAll(ctx, g, in, out) },
		},
		"Barrier": {
			func(ctx context.Context, g *Group, _, _ []int64) (*Prepared, error) { return PrepareBarrier(ctx, g) },
			func(ctx context.Context, g *Group, _, _ []int64) error { return Barrier(ctx, g) },
		},
	}
}

func TestPreparedOperationsDoWhatThePlainOnesDo(t *testing.T) {
	const n = 5
	for link, make := range makers() {
		t.Run(link, func(t *testing.T) {
			c := make(t, 4)
			_, groups := c.group("g", n)
			for name, tc := range preparedCases(n) {
				for _, each := range []int{1, 3000} {
					t.Run(fmt.Sprintf("%s %d", name, each), func(t *testing.T) { comparePrepared(t, groups, tc, n*each) })
				}
			}
		})
	}
}

// comparePrepared runs an operation in both forms by turns, over data that changes.
func comparePrepared(t *testing.T, groups []*Group, tc preparedCase, length int) {
	t.Helper()
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		bufs := [4][]int64{}
		for i := range bufs {
			bufs[i] = make([]int64, length)
		}
		in, out, wantIn, want := bufs[0], bufs[1], bufs[2], bufs[3]
		p, err := tc.prepare(ctx, g, in, out)
		if err != nil {
			return err
		}
		for round := range 4 {
			for i := range in {
				in[i], out[i] = int64(7*round+3*g.Rank()+i%11), int64(5*round-g.Rank()+i%13)
			}
			copy(wantIn, in)
			copy(want, out)
			if err := tc.plain(ctx, g, wantIn, want); err != nil {
				return err
			}
			switch {
			case g.Rank() == 3 && round > 1: // members need not do it alike
				err = tc.plain(ctx, g, in, out)
			case round%2 == 0:
				err = p.Run(ctx)
			default:
				err = p.Start(ctx).Wait(ctx)
			}
			if err != nil {
				return err
			}
			if p.call.op == opReduce && g.Rank() != int(p.call.root) {
				continue // of no use there
			}
			if !slices.Equal(in, wantIn) || !slices.Equal(out, want) {
				return fmt.Errorf("round %d: rank %d has %v and %v, want %v and %v", round, g.Rank(), in, out, wantIn, want)
			}
		}
		return nil
	}))
}

func TestPrepareChecksArguments(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	creator, groups := c.group("g", 2)
	g, ctx := groups[0], t.Context()
	for name, tc := range preparedCases(2) {
		_, err := tc.prepare(ctx, creator, make([]int64, 4), make([]int64, 4))
		require.ErrorIs(t, err, ErrNotMember, name)
	}
	buf := make([]int64, 3)
	bad := map[string]func() (*Prepared, error){
		"all-reduce of bool":     func() (*Prepared, error) { return PrepareAllReduce(ctx, g, []bool{true}, Sum) },
		"no reduction":           func() (*Prepared, error) { return PrepareReduce(ctx, g, buf, nil, 0) },
		"reduce to no rank":      func() (*Prepared, error) { return PrepareReduce(ctx, g, buf, Sum, 2) },
		"broadcast from no rank": func() (*Prepared, error) { return PrepareBroadcast(ctx, g, buf, -1) },
		"reduce-scatter":         func() (*Prepared, error) { return PrepareReduceScatter(ctx, g, buf, buf[:1], Sum) },
		"all-gather":             func() (*Prepared, error) { return PrepareAllGather(ctx, g, buf[:1], buf) },
		"all-to-all":             func() (*Prepared, error) { return PrepareAllToAll(ctx, g, buf, buf) },
	}
	for name, prepare := range bad {
		_, err := prepare()
		require.ErrorIs(t, err, ErrArgument, name)
	}
	require.NoError(t, g.Err())
}

func TestAPreparedOperationIsStartedOnceAtATime(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", 2)
	ctx := t.Context()
	p, err := PrepareBarrier(ctx, groups[0])
	require.NoError(t, err)
	for range 3 {
		w := p.Start(ctx) // waits for the other
		for _, err := range []error{p.Start(ctx).Wait(ctx), p.Run(ctx)} {
			require.ErrorIs(t, err, ErrArgument)
			require.ErrorContains(t, err, "while it runs")
		}
		var waiters sync.WaitGroup
		for range 4 {
			waiters.Go(func() { require.NoError(t, w.Wait(ctx)) })
		}
		done := w.Done()
		require.NoError(t, Barrier(ctx, groups[1]))
		waiters.Wait()
		<-done
		<-w.Done()
	}
	require.NoError(t, groups[0].Err())
}

func TestAPreparedOperationEndsWithItsEpoch(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", 2)
	ctx := t.Context()
	p, err := PrepareAllReduce(ctx, groups[0], []int{1}, Sum)
	require.NoError(t, err)
	w := p.Start(ctx)
	groups[1].Revoke("no more")
	for _, err := range []error{w.Wait(ctx), p.Run(ctx), p.Start(ctx).Wait(ctx)} {
		require.ErrorIs(t, err, ErrAborted)
		require.ErrorIs(t, err, ErrRevoked)
		require.ErrorContains(t, err, "AllReduce(sum, int x 1)")
	}
	_, err = PrepareBarrier(ctx, groups[0])
	require.ErrorIs(t, err, ErrRevoked)
}

func TestAPanicInAPreparedOperationEndsTheEpoch(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", 2)
	op := Custom(func(_, _ []int) { panic("no such luck") }, true)
	for _, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		p, err := PrepareAllReduce(ctx, g, []int{1}, op)
		if err != nil {
			return err
		}
		return p.Start(ctx).Wait(ctx)
	}) {
		require.ErrorContains(t, err, "no such luck")
	}
	require.ErrorIs(t, groups[1].Err(), ErrAborted)
}

// TestStartAllocatesNothingOfItsOwn: Start and Wait cost no more than Run, which costs what the operation does.
func TestStartAllocatesNothingOfItsOwn(t *testing.T) {
	const n, rounds = 4, 200
	const budget = 64 // for each member, of the operation with all its messages; of operations that are not prepared, too
	ctx := t.Context()
	for name, tc := range preparedCases(1) {
		_, alone := newCluster(t, 1, inMemory).group("alone", 1, Messages())
		p, err := tc.prepare(ctx, alone[0], make([]int64, n), make([]int64, n))
		require.NoError(t, err)
		run := testing.AllocsPerRun(rounds, func() { require.NoError(t, p.Run(ctx)) })
		start := testing.AllocsPerRun(rounds, func() { require.NoError(t, p.Start(ctx).Wait(ctx)) })
		require.LessOrEqual(t, start, run, name)
	}
	_, groups := newCluster(t, 1, inMemory).group("g", n, Messages())
	for name, tc := range preparedCases(n) {
		var all []*Prepared
		for _, g := range groups {
			p, err := tc.prepare(ctx, g, make([]int64, 2*n), make([]int64, 2*n))
			require.NoError(t, err)
			all = append(all, p)
		}
		works := make([]*Work, n)
		got := testing.AllocsPerRun(rounds, func() {
			for i, p := range all {
				works[i] = p.Start(ctx)
			}
			for _, w := range works {
				require.NoError(t, w.Wait(ctx))
			}
		})
		require.LessOrEqual(t, got, float64(n*budget), name)
	}
}
