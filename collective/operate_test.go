// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lengths are the interesting numbers of elements for n members.
func lengths(n int) []int { return []int{0, 1, max(n-1, 0), n, n + 1, 1000} }

// value of element i at a rank: a wrong element says whose it is. Sums over 64 ranks of 100003 elements stay exact in float32.
func value(i, rank int) float64 { return float64(i%1000*64 + rank) }

// sumOf is the sum of the values of element i at n ranks.
func sumOf(i, n int) float64 { return float64(n)*value(i, 0) + float64(n*(n-1)/2) }

func fill[T ~float32 | ~float64](n, rank int) []T {
	buf := make([]T, n)
	for i := range buf {
		buf[i] = T(value(i, rank))
	}
	return buf
}

// requireSame shows only the first element that differs: the buffers may be long.
func requireSame[T comparable](t *testing.T, want, got []T, format string, args ...any) {
	t.Helper()
	require.Len(t, got, len(want), format, args)
	if sameBits(want, got) {
		return
	}
	for i := range want {
		if got[i] != want[i] {
			require.Failf(t, "wrong element", "element %d of %d is %v, want %v: %s", i, len(want), got[i], want[i], fmt.Sprintf(format, args...))
		}
	}
}

func checkAllReduce[T ~float32 | ~float64](t *testing.T, groups []*Group, length int) {
	t.Helper()
	n := len(groups)
	for _, op := range []Op{Sum, Avg} {
		bufs := make([][]T, n)
		requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			bufs[g.Rank()] = fill[T](length, g.Rank())
			return AllReduce(ctx, g, bufs[g.Rank()], op)
		}))
		want := make([]T, length)
		for i := range want {
			want[i] = T(sumOf(i, n))
			if op == Avg {
				want[i] /= T(n)
			}
		}
		for rank, got := range bufs {
			requireSame(t, want, got, "%v at rank %d of %d", op, rank, n)
		}
	}
}

// realNumber is Numeric without the complex types, which no integer converts to.
type realNumber interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr | ~float32 | ~float64
}

func checkBroadcast[T realNumber](t *testing.T, groups []*Group, length, root int) {
	t.Helper()
	bufs := make([][]T, len(groups))
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		buf := make([]T, length)
		for i := range buf {
			buf[i] = T(i + 1)
			if g.Rank() != root {
				buf[i] = T(99)
			}
		}
		bufs[g.Rank()] = buf
		return Broadcast(ctx, g, buf, root)
	}))
	want := make([]T, length)
	for i := range want {
		want[i] = T(i + 1)
	}
	for rank, got := range bufs {
		requireSame(t, want, got, "rank %d of %d, root %d", rank, len(groups), root)
	}
}

func TestLongBuffersAreCutIntoSegments(t *testing.T) {
	for _, n := range few([]int{1, 2, 7, 17}, 2, 7) {
		t.Run(fmt.Sprint("members=", n), func(t *testing.T) {
			c := newCluster(t, 4, overSockets)
			_, groups := c.group("long", n)
			checkAllReduce[float32](t, groups, 100003)
			checkAllReduce[float64](t, groups, 100003)
			checkBroadcast[float64](t, groups, 3*segment+5, n/2) // six frames to a window and more
			runTrials(t, groups, about(halves[float64]()), treeLimit/8+5)
		})
	}
}

type celsius float32 // a named element type

func TestBroadcastMovesEveryTypeFromEveryRoot(t *testing.T) {
	const n = 5
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("b", n)
	for root := range n {
		checkBroadcast[int](t, groups, 3, root)
		checkBroadcast[int8](t, groups, 3, root)
		checkBroadcast[int16](t, groups, 3, root)
		checkBroadcast[int32](t, groups, 3, root)
		checkBroadcast[int64](t, groups, 3, root)
		checkBroadcast[uint](t, groups, 3, root)
		checkBroadcast[uint8](t, groups, 3, root)
		checkBroadcast[uint16](t, groups, 3, root)
		checkBroadcast[uint32](t, groups, 3, root)
		checkBroadcast[uint64](t, groups, 3, root)
		checkBroadcast[uintptr](t, groups, 3, root)
		checkBroadcast[celsius](t, groups, 3, root)
	}
	bufs := make([][]complex128, n)
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		bufs[g.Rank()] = []complex128{complex(float64(g.Rank()), 1), 2i}
		return Broadcast(ctx, g, bufs[g.Rank()], 3)
	}))
	for _, got := range bufs {
		assert.Equal(t, []complex128{complex(3, 1), 2i}, got)
	}
}

func TestAllReduceOfANamedType(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("named", 4)
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		buf := []celsius{1, celsius(g.Rank())}
		err := AllReduce(ctx, g, buf, Avg)
		assert.Equal(t, []celsius{1, 1.5}, buf)
		return err
	}))
}

// Sums of such values depend on their order: any two members, and any two runs, must have used the same.
func TestMembersAndRunsGetTheSameBits(t *testing.T) {
	for _, n := range []int{3, 8, 13} {
		for _, length := range []int{1, 50, 20000} {
			c := makers()[map[bool]string{false: "memory", true: "host"}[n == 8]](t, 4)
			_, groups := c.group("bits", n)
			var first []uint32
			for run := range 5 {
				results := make([][]uint32, n)
				requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
					rng := rand.New(rand.NewPCG(uint64(n), uint64(g.Rank())))
					buf := make([]float32, length)
					for i := range buf {
						buf[i] = float32(rng.NormFloat64() * math.Pow(10, float64(rng.IntN(12)-6)))
					}
					err := AllReduce(ctx, g, buf, Sum)
					bits := make([]uint32, length)
					for i, v := range buf {
						bits[i] = math.Float32bits(v)
					}
					results[g.Rank()] = bits
					return err
				}))
				if first == nil {
					first = results[0]
				}
				for rank, got := range results {
					requireSame(t, first, got, "run %d, rank %d of %d", run, rank, n)
				}
			}
		}
	}
}

func TestBarrierHoldsUntilTheLastMember(t *testing.T) {
	const n = 9
	c := newCluster(t, 4, inMemory)
	_, groups := c.group("barrier", n)
	var mu sync.Mutex
	entered := 0
	for round := 1; round <= 20; round++ {
		requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			mu.Lock()
			entered++
			mu.Unlock()
			err := Barrier(ctx, g)
			mu.Lock()
			defer mu.Unlock()
			assert.GreaterOrEqual(t, entered, n*round)
			return err
		}))
	}
}

func TestGroupsDoNotDisturbEachOther(t *testing.T) {
	const n, operations = 6, 40
	c := newCluster(t, 4, overSockets)
	var wg sync.WaitGroup
	for k := range 5 {
		_, groups := c.group(fmt.Sprint("group", k), n)
		for _, g := range groups {
			wg.Go(func() {
				for i := range operations {
					buf := []float64{float64(k), float64(i), float64(g.Rank())}
					if !assert.NoError(t, AllReduce(t.Context(), g, buf, Sum)) {
						return
					}
					assert.Equal(t, []float64{float64(k * n), float64(i * n), n * (n - 1) / 2}, buf)
					data := []int{k, i, g.Rank()}
					if !assert.NoError(t, Broadcast(t.Context(), g, data, i%n)) {
						return
					}
					assert.Equal(t, []int{k, i, i % n}, data)
				}
			})
		}
	}
	wg.Wait()
}

func TestOperationsOfOneMemberTakeTurns(t *testing.T) {
	const callers = 8
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("turns", 4)
	errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				buf := []float32{1}
				assert.NoError(t, AllReduce(ctx, g, buf, Sum))
				assert.Equal(t, []float32{4}, buf)
			})
		}
		wg.Wait()
		return nil
	})
	requireAll(t, errs)
}

// A root that runs ahead waits for room rather than filling the memory of a late member.
func TestARootThatRunsAheadWaitsForRoom(t *testing.T) {
	const broadcasts = 200
	c := newCluster(t, 3, overSockets)
	_, groups := c.group("ahead", 2)
	root, late := groups[0], groups[1]
	done := make(chan error, 1)
	go func() {
		for i := range broadcasts {
			buf := make([]byte, 128<<10)
			buf[0] = byte(i)
			if err := Broadcast(t.Context(), root, buf, 0); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := range broadcasts {
		buf := make([]byte, 128<<10)
		require.NoError(t, Broadcast(t.Context(), late, buf, 0))
		require.Equal(t, byte(i), buf[0])
		late.m.mu.Lock()
		queued := late.m.mu.edges[0].queued
		late.m.mu.Unlock()
		require.LessOrEqual(t, queued, window)
	}
	require.NoError(t, <-done)
}
