// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/schedule"
)

// together is a group whose members live in one process.
func together(t testing.TB, n int, opts ...Option) []*Group {
	t.Helper()
	_, groups := newCluster(t, 2, inMemory).group("g", n, opts...)
	return groups
}

func TestMembersOfOneProcessUseItsMemory(t *testing.T) {
	require.IsType(t, &heap{}, together(t, 3)[0].s.heap)
	require.Nil(t, together(t, 3, Messages())[0].s.heap)
	require.Nil(t, together(t, 3, Algorithm(schedule.AllReduce, "ring"))[0].s.heap)
	_, groups := newCluster(t, 3, inMemory).group("g", 3)
	require.Nil(t, groups[0].s.heap, "they are on two nodes")
}

// Several levels of reductions, results that stay and that do not, pieces that end within blocks.
func TestOperationsInOneProcessAgreeWithASequentialReference(t *testing.T) {
	subjects := subjects()
	turn := 0
	for _, n := range few([]int{1, 2, 9, 65, 130}, 2, 9, 65) {
		groups := together(t, n)
		for _, length := range few([]int{0, 1, 7, 100, 5000}, 1, 100, 1000) {
			runTrials(t, groups, subjects[turn%len(subjects)], length)
			turn++
		}
	}
}

// What is long goes around the caches and in many pieces, also where a block has one element more than a piece.
func TestLongOperationsInOneProcess(t *testing.T) {
	groups := together(t, few([]int{40}, 9)[0])
	for _, s := range []subject{about(halves[float32]()), about(integers[uint8]()), about(short(NewFloat16, Float16.Float32))} {
		runTrials(t, groups, s, mostPiece+1)
	}
}

// Every rank's order is that of the ranks, and the members' speed does not matter.
func TestSumsInOneProcessAreRepeatedBitForBit(t *testing.T) {
	const n, length = 100, 3000
	groups := together(t, n)
	rng := rand.New(rand.NewPCG(1, 2))
	ins := make([][]float32, n)
	for i := range ins {
		ins[i] = make([]float32, length)
		for j := range ins[i] {
			ins[i][j] = float32(rng.NormFloat64())
		}
	}
	var want []float32
	for range 5 {
		results := make([][]float32, n)
		requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			results[g.Rank()] = slices.Clone(ins[g.Rank()])
			return AllReduce(ctx, g, results[g.Rank()], Sum)
		}))
		if want == nil {
			want = results[0]
		}
		for rank := range results {
			require.Equal(t, want, results[rank], "rank %d", rank)
		}
	}
}

func TestAnOrderedReductionInOneProcessGoesByRank(t *testing.T) {
	const n = 70
	groups := together(t, n)
	// Digits in base 2^32: what is not associative from the left would not keep the last.
	lastWins := Custom(func(dst, src []uint64) {
		for i := range dst {
			dst[i] = dst[i]*31 + src[i]
		}
	}, false)
	want := uint64(0)
	for r := range uint64(n) {
		want = want*31 + r
	}
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		buf := slices.Repeat([]uint64{uint64(g.Rank())}, 20000)
		if err := AllReduce(ctx, g, buf, lastWins); err != nil {
			return err
		}
		for i, v := range buf {
			if v != want {
				return fmt.Errorf("element %d is %d, want %d", i, v, want)
			}
		}
		return nil
	}))
}

func addTo(dst, src []int64) {
	for i, v := range src {
		dst[i] += v
	}
}

func mostOf(dst, src []int64) {
	for i, v := range src {
		dst[i] = max(dst[i], v)
	}
}

// Members of one process call a function of one of them for all. It is the same function, or an error.
func TestMembersOfOneProcessReduceByOneFunction(t *testing.T) {
	const n = 5
	for _, commutative := range []bool{true, false} {
		groups := together(t, n)
		requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			for i := range 20 { // whoever comes first
				scale := int64(1 + g.Rank())
				op := Custom(func(dst, src []int64) {
					for i, v := range src {
						dst[i] += v * scale
					}
				}, commutative)
				buf := []int64{1, int64(i)}
				err := AllReduce(ctx, g, buf, op)
				if err := compare(err, []int64{n, int64(i * n)}, buf, "by the function of rank 0"); err != nil {
					return err
				}
				buf = []int64{1}
				if err := compare(AllReduce(ctx, g, buf, Custom(addTo, commutative)), []int64{n}, buf, "by all"); err != nil {
					return err
				}
			}
			return nil
		}))
		for _, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			return AllReduce(ctx, g, []int64{1}, Custom([]func(dst, src []int64){addTo, mostOf}[min(g.Rank(), 1)], commutative))
		}) {
			require.ErrorIs(t, err, ErrMismatch)
			require.ErrorContains(t, err, "collective.addTo")
			require.ErrorContains(t, err, "collective.mostOf")
		}
	}
}

// A panic is everybody's, and nobody returns while others work on its memory.
func TestAPanicInTheWorkOfOneIsTheEndForAll(t *testing.T) {
	const n = 9
	groups := together(t, n)
	bad := Custom(func(dst, _ []int64) {
		if len(dst) > 0 && dst[0] == 0 {
			panic("no")
		}
	}, true)
	var mu sync.Mutex
	panics := 0
	errs := each(t.Context(), groups, func(ctx context.Context, g *Group) (err error) {
		defer func() {
			if p := recover(); p != nil {
				mu.Lock()
				panics++
				mu.Unlock()
				err = g.Err()
			}
		}()
		return AllReduce(ctx, g, make([]int64, 50000), bad)
	})
	for rank, err := range errs {
		require.ErrorIs(t, err, ErrAborted, "rank %d", rank)
		require.ErrorContains(t, err, "AllReduce(custom, int64 x 50000) panicked: no", "rank %d", rank)
	}
	require.Positive(t, panics)
}

// A function that does not return keeps only those who called it.
func TestAFunctionThatHangsKeepsNobodyElse(t *testing.T) {
	const n = 9
	groups := together(t, n)
	hung, release := make(chan struct{}, n), make(chan struct{})
	hangs := Custom(func(_, _ []int64) {
		hung <- struct{}{}
		<-release
	}, true)
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for _, g := range groups {
		wg.Go(func() { errs <- AllReduce(t.Context(), g, make([]int64, 10), hangs) })
	}
	<-hung
	groups[0].Revoke("enough")
	for range n - 1 {
		require.ErrorIs(t, <-errs, ErrRevoked)
	}
	close(release)
	wg.Wait()
}

// Members of all sections hear of an end, and know who is missing, wherever that is.
func TestEverySectionHearsOfAnEnd(t *testing.T) {
	const n, pause = 2*sectionSize + 3, 5 * time.Second
	ends := map[string]struct {
		opts []Option
		do   func(*Group)
		want error
	}{
		"revoked": {nil, func(g *Group) { g.Revoke("enough") }, ErrRevoked},
		"stalled": {[]Option{Stall(pause)}, nil, ErrStalled},
		"overdue": {[]Option{Timeout(pause)}, nil, context.DeadlineExceeded},
	}
	for name, tc := range ends {
		for _, late := range []int{0, sectionSize, n - 1} {
			t.Run(fmt.Sprintf("%s/late=%d", name, late), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					groups := together(t, n, tc.opts...)
					h := groups[0].s.heap
					errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
						if err := Barrier(ctx, g); err != nil {
							return err
						}
						if g.Rank() != late {
							return Barrier(ctx, g)
						}
						synctest.Wait()
						if rank := h.awaits(); rank != late {
							return fmt.Errorf("they wait for rank %d, want %d", rank, late)
						}
						if tc.do != nil {
							tc.do(g)
						}
						<-g.s.ctx.Done()
						return Barrier(ctx, g)
					})
					for rank, err := range errs {
						require.ErrorIs(t, err, tc.want, "rank %d", rank)
						if tc.do == nil {
							require.ErrorContains(t, err, fmt.Sprintf("waited for rank %d", late), "rank %d", rank)
						}
					}
				})
			})
		}
	}
}

// The context of one ends the operation for those of other sections.
func TestAContextEndsAnOperationInAllSections(t *testing.T) {
	const n, late = 2*sectionSize + 3, 1
	for _, done := range []int{0, sectionSize + 1, n - 1} {
		synctest.Test(t, func(t *testing.T) {
			groups := together(t, n)
			errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				switch g.Rank() {
				case late:
					<-g.s.ctx.Done()
				case done:
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Second)
					defer cancel()
				}
				return AllReduce(ctx, g, make([]int64, 50000), Sum)
			})
			for rank, err := range errs {
				requireAborted(t, err, rank, context.DeadlineExceeded, []int{late})
			}
		})
	}
}

// A member may be two operations ahead of another that has yet to wake in a round, if the one in between is messages.
func TestNobodyBeginsARoundThatAnotherHasYetToLeave(t *testing.T) {
	groups := together(t, 2)
	ahead, behind, h := groups[0].m, groups[1].m, groups[0].s.heap
	come := func(m *member) seat {
		_, err := m.begin(descriptor{op: opBarrier})
		require.NoError(t, err)
		m.heap.now = invocation{descriptor: descriptor{op: opBarrier}}
		its, err := h.come(t.Context(), m, 0)
		require.NoError(t, err)
		return its
	}
	first := come(behind).round
	its := come(ahead)
	require.Equal(t, last, its.duty)
	first.plan(1)
	h.work(its, ahead)
	require.True(t, first.ok)
	_, err := ahead.begin(descriptor{op: opBroadcastShared})
	require.NoError(t, err)
	second := come(ahead).round
	require.NotSame(t, first, second)
	require.True(t, first.ended, "as the other will find it")
}

func TestOperationsWithAndWithoutMessagesTakeTurnsInOneProcess(t *testing.T) {
	const n, rounds = 9, 40
	c := newCluster(t, 2, inMemory)
	c.onHosts([]int{0}, stretchBytes)
	_, groups := c.group("g", n)
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		for i := range rounds {
			buf := slices.Repeat([]int{i + g.Rank()}, 100)
			if err := compare(AllReduce(ctx, g, buf, Sum), slices.Repeat([]int{n*i + n*(n-1)/2}, 100), buf, "AllReduce"); err != nil {
				return err
			}
			v, err := BroadcastShared(ctx, g, []int{i, g.Rank()}, i%n)
			if err := sameView(err, []int{i, i % n}, v, "BroadcastShared"); err != nil {
				return err
			}
			if err := compare(SendRecv(ctx, g, []int{i}, (g.Rank()+1)%n, buf[:1], (g.Rank()+n-1)%n, 7), []int{i}, buf[:1], "SendRecv"); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Of two operations of which one is messages and the other is not, neither sees the other.
func TestAMismatchOfAnOperationByMessagesIsNamedByBothSides(t *testing.T) {
	const n = 5
	sum := func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, []int{1}, Sum) }
	shared := func(ctx context.Context, g *Group) error {
		v, err := BroadcastShared(ctx, g, []int{1}, 1)
		if v != nil {
			v.Release()
		}
		return err
	}
	for odd := range n {
		for name, calls := range map[string][2]func(context.Context, *Group) error{"one shares": {shared, sum}, "all but one share": {sum, shared}} {
			t.Run(fmt.Sprintf("%s/rank=%d", name, odd), func(t *testing.T) {
				c := newCluster(t, 2, inMemory)
				c.onHosts([]int{0}, stretchBytes)
				_, groups := c.group("g", n)
				for rank, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
					call := calls[min(1, max(g.Rank()-odd, odd-g.Rank()))]
					return errors.Join(call(ctx, g), Barrier(ctx, g))
				}) {
					require.ErrorIs(t, err, ErrMismatch, "rank %d", rank)
					require.ErrorContains(t, err, "operation 1: ")
					require.ErrorContains(t, err, "called AllReduce(sum, int x 1)")
					require.ErrorContains(t, err, "called BroadcastShared(int, root 1)")
				}
			})
		}
	}
}

// One that has left out an operation by messages is found out by the numbers.
func TestAnOperationByMessagesThatOneLeavesOutIsNoticed(t *testing.T) {
	for ahead := range 2 {
		t.Run(fmt.Sprint("rank=", ahead), func(t *testing.T) {
			groups := together(t, 2)
			_, err := groups[ahead].m.begin(descriptor{op: opBroadcastShared})
			require.NoError(t, err)
			for _, err := range each(t.Context(), groups, Barrier) {
				require.ErrorIs(t, err, ErrMismatch)
			}
		})
	}
}
