// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"errors"
	"iter"
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/pool"
)

func TestMapKeepsTheOrderAndGoesOnAfterErrors(t *testing.T) {
	for _, n := range []int{0, 1, 7, 300} {
		p, _ := newPool(t, 7)
		for range 2 { // each run is a new one
			seq := pool.Map(t.Context(), p, (*worker).Fail, count(n))
			i := 0
			for v, err := range seq {
				if i%2 == 0 {
					require.NoError(t, err)
					require.Equal(t, i, v)
				} else {
					var e *core.ActorError
					require.ErrorAs(t, err, &e)
					require.Equal(t, i%5 == 0, e.Stack != "")
				}
				i++
			}
			require.Equal(t, n, i)
		}
	}
}

func TestMapUnorderedYieldsEveryItemOnce(t *testing.T) {
	for _, n := range []int{0, 1, 7, 300} {
		p, _ := newPool(t, 7)
		seen := make([]bool, n)
		for r, err := range pool.MapUnordered(t.Context(), p, (*worker).Fail, count(n)) {
			require.False(t, seen[r.Index])
			seen[r.Index] = true
			require.Equal(t, r.Index%2 == 1, err != nil)
			if err == nil {
				require.Equal(t, r.Index, r.Value)
			}
		}
		require.NotContains(t, seen, false)
	}
}

func TestMapUnorderedDoesNotWaitForASlowActor(t *testing.T) {
	p, _ := newPool(t, 2)
	g, key := newGate(t, 1)
	held := pool.Submit(t.Context(), p, (*worker).Hold, key)
	g.await(1)
	n := 0
	for _, err := range pool.MapUnordered(t.Context(), p, (*worker).Echo, count(100)) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 100, n)
	close(g.open)
	require.NoError(t, held.Err(t.Context()))
}

func TestMapTakesOnlyAsManyInputsAsItMayHold(t *testing.T) {
	p, _ := newPool(t, 3, pool.InFlight(2), pool.Queue(5))
	var taken atomic.Int64
	seq := func(yield func(int) bool) {
		for i := 0; ; i++ {
			taken.Store(int64(i + 1))
			if !yield(i) {
				return
			}
		}
	}
	i := 0
	for v, err := range pool.Map(t.Context(), p, (*worker).Echo, seq) {
		require.NoError(t, err)
		require.Equal(t, i, v)
		require.LessOrEqual(t, taken.Load(), int64(i+3*2+5))
		if i++; i == 1000 {
			break
		}
	}
	i = 0
	for _, err := range pool.MapUnordered(t.Context(), p, (*worker).Echo, seq) {
		require.NoError(t, err)
		require.LessOrEqual(t, taken.Load(), int64(i+3*2+5))
		if i++; i == 1000 {
			break
		}
	}
}

func TestMapOverAnEndlessSequenceTakesConstantMemory(t *testing.T) {
	p, _ := newPool(t, 16)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC() // what the first has found
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var before uint64
	i := 0
	for _, err := range pool.Map(t.Context(), p, (*worker).Echo, count(math.MaxInt)) {
		require.NoError(t, err)
		if i++; i == 2000 {
			before = heap()
		}
		if i == 32000 {
			break
		}
	}
	require.Less(t, heap(), before+1<<20, "30000 items of some 2 KiB each went through")
}

func TestMapYieldsAResultBeforeItTakesTheWholeWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPool(t, 2, pool.Queue(1000))
		var results []int
		seq := func(yield func(int) bool) {
			for i := range 3 {
				if i == 2 {
					synctest.Wait() // items 0 and 1 are answered. A map that filled its window first would not yield them.
				}
				if !yield(i) {
					return
				}
				if i == 2 {
					require.GreaterOrEqual(t, len(results), 2)
				}
			}
		}
		for v, err := range pool.Map(t.Context(), p, (*worker).Echo, seq) {
			require.NoError(t, err)
			results = append(results, v)
		}
		require.Equal(t, []int{0, 1, 2}, results)
	})
}

func TestLeavingAMapGivesUpWhatIsInFlight(t *testing.T) {
	for name, leave := range map[string]func(p *pool.Pool[*worker], seq iter.Seq[int]){
		"ordered": func(p *pool.Pool[*worker], seq iter.Seq[int]) {
			for _, err := range pool.Map(t.Context(), p, (*worker).BlockAfterFirst, seq) {
				require.NoError(t, err)
				break
			}
		},
		"unordered": func(p *pool.Pool[*worker], seq iter.Seq[int]) {
			for _, err := range pool.MapUnordered(t.Context(), p, (*worker).BlockAfterFirst, seq) {
				require.NoError(t, err)
				break
			}
		},
		"panic": func(p *pool.Pool[*worker], seq iter.Seq[int]) {
			defer func() { _ = recover() }() // the loop's own
			for _, err := range pool.Map(t.Context(), p, (*worker).BlockAfterFirst, seq) {
				panic(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, h := newPool(t, 4)
			leave(p, count(math.MaxInt))
			require.Zero(t, p.Stats().Waiting)
			for range 2 * len(h) { // every actor is free again, or will be
				require.NoError(t, pool.Submit(t.Context(), p, (*worker).Echo, 1).Err(t.Context()))
			}
			require.Eventually(t, func() bool { return p.Stats().InFlight == 0 }, 10*time.Second, time.Millisecond)
		})
	}
}

func TestMapEndsWithItsContext(t *testing.T) {
	cause := errors.New("enough")
	for name, do := range map[string]func(ctx context.Context, p *pool.Pool[*worker], seq iter.Seq[int]) iter.Seq[error]{
		"ordered": func(ctx context.Context, p *pool.Pool[*worker], seq iter.Seq[int]) iter.Seq[error] {
			return func(yield func(error) bool) {
				for _, err := range pool.Map(ctx, p, (*worker).Block, seq) {
					yield(err)
				}
			}
		},
		"unordered": func(ctx context.Context, p *pool.Pool[*worker], seq iter.Seq[int]) iter.Seq[error] {
			return func(yield func(error) bool) {
				for _, err := range pool.MapUnordered(ctx, p, (*worker).Block, seq) {
					yield(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := newPool(t, 4)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			taken, pairs := 0, 0
			seq := func(yield func(int) bool) {
				for yield(taken) {
					if taken++; taken == 7 { // some run, some wait
						cancel(cause)
					}
				}
			}
			for err := range do(ctx, p, seq) {
				require.ErrorIs(t, err, cause)
				pairs++
			}
			require.Equal(t, 8, pairs, "the item that was taken after the end tells of it")
		})
	}
}

func TestMapRefusesNothingToWorkWith(t *testing.T) {
	p, _ := newPool(t, 1)
	for _, err := range pool.Map(t.Context(), p, (*worker).Echo, nil) {
		require.ErrorIs(t, err, core.ErrInvalid)
	}
	for r, err := range pool.MapUnordered(t.Context(), (*pool.Pool[*worker])(nil), (*worker).Echo, count(3)) {
		require.ErrorIs(t, err, core.ErrInvalid)
		require.Equal(t, -1, r.Index)
	}
	n := 0
	for _, err := range pool.Map(t.Context(), p, (*worker).Unregistered, count(3)) {
		require.ErrorIs(t, err, core.ErrNoMethod)
		n++
	}
	require.Equal(t, 3, n)
}

func TestMapOverProcesses(t *testing.T) {
	p, _ := poolOn(t, coretest.Start(t, core.LocalNodes(2)), 8)
	i := 0
	for v, err := range pool.Map(t.Context(), p, (*worker).Echo, count(500)) {
		require.NoError(t, err)
		require.Equal(t, i, v)
		i++
	}
	require.Equal(t, 500, i)
}
