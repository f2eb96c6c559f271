// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/pool"
)

// byID finds the handle of an actor.
func byID(t *testing.T, handles []*core.Handle[*worker], id core.ActorID) *core.Handle[*worker] {
	t.Helper()
	for _, h := range handles {
		if h.ID() == id {
			return h
		}
	}
	t.Fatalf("no actor %v", id)
	return nil
}

func TestIdempotentCallGoesToAnotherActor(t *testing.T) {
	p, h := newPool(t, 2)
	g, key := newGate(t, 2)
	ref := pool.Submit(t.Context(), p, (*worker).Enter, key, pool.Idempotent)
	first := g.await(1)[0]
	require.NoError(t, byID(t, h, first).Kill(t.Context()))
	second := g.await(1)[0]
	require.NotEqual(t, first, second)
	close(g.open)
	got, err := ref.Get(t.Context())
	require.NoError(t, err)
	require.Equal(t, second, got)
}

func TestIdempotentCallDoesNotTakeAllActorsDown(t *testing.T) {
	p, h := newPool(t, 5)
	g, key := newGate(t, 5)
	ref := pool.Submit(t.Context(), p, (*worker).Enter, key, pool.Idempotent)
	for range 3 {
		require.NoError(t, byID(t, h, g.await(1)[0]).Kill(t.Context()))
	}
	require.ErrorIs(t, ref.Err(t.Context()), core.ErrActorDead)
	require.Equal(t, 2, p.Len())
}

func TestIdempotentMapOverALostNodeHasAllResults(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(3))
	p, h := poolOn(t, sys, 12, pool.InFlight(2))
	i := 0
	for v, err := range pool.Map(t.Context(), p, (*worker).Echo, count(3000), pool.Idempotent) {
		require.NoError(t, err)
		require.Equal(t, i, v)
		if i++; i == 500 {
			coretest.KillNode(t, sys, h[0].Node())
		}
	}
	require.Equal(t, 3000, i)
}

func TestNilCallOptionIsRefused(t *testing.T) {
	p, _ := newPool(t, 1)
	require.ErrorIs(t, pool.Submit(t.Context(), p, (*worker).Echo, 1, nil).Err(t.Context()), core.ErrInvalid)
}

func TestPushedActorGetsWorkAtOnce(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	h := spawn(t, sys, 4) // two on each node
	p, err := pool.New(h[:1])
	require.NoError(t, err)
	defer p.Close()
	g, key := newGate(t, 1)
	held := pool.Submit(t.Context(), p, (*worker).Hold, key)
	g.await(1)
	waiting := pool.Submit(t.Context(), p, (*worker).Self, core.Void{})
	require.False(t, p.HasFree())
	require.NoError(t, p.Push(h[3])) // on a node that the pool had no actor on
	id, err := waiting.Get(t.Context())
	require.NoError(t, err)
	require.Equal(t, h[3].ID(), id)
	require.Equal(t, 2, p.Len())
	close(g.open)
	require.NoError(t, held.Err(t.Context()))

	require.NoError(t, h[2].Kill(t.Context()))
	odd, err := others.Spawn(t.Context(), sys, 1, core.Void{})
	require.NoError(t, err)
	require.ErrorIs(t, p.Push(h[3]), core.ErrInvalid, "it is there")
	require.ErrorIs(t, p.Push(nil), core.ErrInvalid)
	require.ErrorIs(t, p.Push(h[2]), core.ErrActorDead)
	require.ErrorIs(t, p.Push(odd[0]), core.ErrMixed)
	p.Close()
	require.ErrorIs(t, p.Push(h[1]), pool.ErrClosed)
}

func TestPopIdleTakesWhoWaitedLongest(t *testing.T) {
	p, h := newPool(t, 3)
	require.NoError(t, pool.Submit(t.Context(), p, (*worker).Echo, 1).Err(t.Context())) // by h[0]
	require.Equal(t, h[1], p.PopIdle())
	require.Equal(t, h[2], p.PopIdle())
	g, key := newGate(t, 1)
	held := pool.Submit(t.Context(), p, (*worker).Hold, key)
	g.await(1)
	require.Nil(t, p.PopIdle())
	close(g.open)
	require.NoError(t, held.Err(t.Context()))
	require.Equal(t, h[0], p.PopIdle())
	require.Nil(t, p.PopIdle())
	require.Zero(t, p.Len())
	require.False(t, p.HasFree())
	err := pool.Submit(t.Context(), p, (*worker).Echo, 1).Err(t.Context())
	require.ErrorIs(t, err, core.ErrNoActors)
	require.ErrorContains(t, err, "PopIdle")
	require.NoError(t, p.Push(h[2]))
	require.True(t, p.HasFree())
	require.NoError(t, pool.Submit(t.Context(), p, (*worker).Echo, 1).Err(t.Context()))
}

func TestReplaceMakesUpForALostNode(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	var calls []int
	p, h := poolOn(t, sys, 6, pool.Replace(func(ctx context.Context, gone []*core.Handle[*worker]) ([]*core.Handle[*worker], error) {
		calls = append(calls, len(gone))
		return workers.Spawn(ctx, sys, len(gone), core.Void{})
	}))
	i := 0
	for _, err := range pool.Map(t.Context(), p, (*worker).Echo, count(2000), pool.Idempotent) {
		require.NoError(t, err)
		if i++; i == 300 {
			coretest.KillNode(t, sys, h[0].Node())
		}
	}
	require.Equal(t, 2000, i)
	require.Eventually(t, func() bool { return p.Len() == 6 }, 10*time.Second, time.Millisecond)
	p.Close()
	require.Equal(t, []int{3}, calls, "one call for all three")
}

func TestCallsWaitForTheReplacementOfTheLastActor(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	proceed := make(chan error)
	p, h := poolOn(t, sys, 1, pool.Replace(func(ctx context.Context, _ []*core.Handle[*worker]) ([]*core.Handle[*worker], error) {
		if err := <-proceed; err != nil {
			return nil, err
		}
		return workers.Spawn(ctx, sys, 1, core.Void{})
	}))
	require.NoError(t, h[0].Kill(t.Context()))
	require.Zero(t, p.Len())
	ref := pool.Submit(t.Context(), p, (*worker).Echo, 1)
	proceed <- nil
	require.NoError(t, ref.Err(t.Context()))
	require.Equal(t, 1, p.Len())

	id, err := pool.Submit(t.Context(), p, (*worker).Self, core.Void{}).Get(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, h[0].ID(), id)
	last := p.PopIdle()
	require.NoError(t, p.Push(last))
	require.NoError(t, last.Kill(t.Context()))
	ref = pool.Submit(t.Context(), p, (*worker).Echo, 1)
	broken := errors.New("no more machines")
	proceed <- broken
	err = ref.Err(t.Context())
	require.ErrorIs(t, err, core.ErrNoActors)
	require.ErrorIs(t, err, broken)
	require.ErrorIs(t, p.Stats().Keep, broken)
}

func TestReplaceOfAnotherTypeIsRefused(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	_, err := pool.New(spawn(t, sys, 1), pool.Replace(func(context.Context, []*core.Handle[int]) ([]*core.Handle[int], error) { return nil, nil }))
	require.ErrorIs(t, err, core.ErrInvalid)
	_, err = pool.New(spawn(t, sys, 1), pool.Replace[*worker](nil))
	require.ErrorIs(t, err, core.ErrInvalid)
}

func TestTasksGiveEveryResultOnceInEitherOrder(t *testing.T) {
	p, _ := newPool(t, 3)
	tasks := pool.Tasks(p, (*worker).Fail)
	require.False(t, tasks.HasNext())
	_, err := tasks.Next(t.Context())
	require.ErrorIs(t, err, pool.ErrNoTasks)
	r, err := tasks.NextUnordered(t.Context())
	require.ErrorIs(t, err, pool.ErrNoTasks)
	require.Equal(t, -1, r.Index)
	const n = 40
	var submitting sync.WaitGroup
	submitting.Go(func() {
		for i := range n {
			tasks.Submit(t.Context(), i)
		}
	})
	submitting.Wait()
	seen := make([]bool, n)
	last := -1
	for i := 0; tasks.HasNext(); i++ {
		if i%3 == 0 {
			r, err := tasks.NextUnordered(t.Context())
			require.False(t, seen[r.Index])
			seen[r.Index] = true
			require.Equal(t, r.Index%2 == 1, err != nil)
			continue
		}
		v, err := tasks.Next(t.Context())
		last++
		for seen[last] { // the earliest that was not taken
			last++
		}
		seen[last] = true
		if last%2 == 0 {
			require.NoError(t, err)
			require.Equal(t, last, v)
		} else {
			require.Error(t, err)
		}
	}
	require.NotContains(t, seen, false)
}

func TestNextLosesNothingWhenItsContextEnds(t *testing.T) {
	p, _ := newPool(t, 1)
	g, key := newGate(t, 1)
	tasks := pool.Tasks(p, (*worker).Hold)
	tasks.Submit(t.Context(), key)
	g.await(1)
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := tasks.Next(short)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = tasks.NextUnordered(short)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.True(t, tasks.HasNext())
	close(g.open)
	_, err = tasks.NextUnordered(t.Context())
	require.NoError(t, err)
	require.False(t, tasks.HasNext())
}

func TestTasksAreSharedByManyGoroutines(t *testing.T) {
	p, _ := newPool(t, 4, pool.InFlight(2))
	tasks := pool.Tasks(p, (*worker).Echo)
	const n = 300
	var mu sync.Mutex
	var got []int
	var wg sync.WaitGroup
	for i := range n {
		tasks.Submit(t.Context(), i)
	}
	for u := range 6 {
		wg.Go(func() {
			for {
				var v int
				var err error
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(u%3)*100*time.Microsecond+time.Nanosecond)
				if u%2 == 0 {
					v, err = tasks.Next(ctx)
				} else {
					var r pool.Indexed[int]
					r, err = tasks.NextUnordered(ctx)
					v = r.Value
				}
				cancel()
				switch {
				case errors.Is(err, pool.ErrNoTasks):
					if !tasks.HasNext() {
						return
					}
				case err == nil:
					mu.Lock()
					got = append(got, v)
					mu.Unlock()
				case !errors.Is(err, context.DeadlineExceeded):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for tasks.HasNext() { // put back by the last to give up
		v, err := tasks.Next(t.Context())
		require.NoError(t, err)
		got = append(got, v)
	}
	want := make([]int, n)
	for i := range want {
		want[i] = i
	}
	require.ElementsMatch(t, want, got)
}

func TestCancelForgetsTasks(t *testing.T) {
	p, _ := newPool(t, 2)
	tasks := pool.Tasks(p, (*worker).Block)
	for i := range 4 {
		tasks.Submit(t.Context(), i)
	}
	waited := make(chan error, 1)
	go func() {
		_, err := tasks.NextUnordered(t.Context())
		waited <- err
	}()
	tasks.Cancel()
	require.ErrorIs(t, <-waited, pool.ErrNoTasks)
	require.False(t, tasks.HasNext())
	require.NoError(t, pool.Submit(t.Context(), p, (*worker).Echo, 1).Err(t.Context()))
}
