// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/pool"
)

// others are of another kind than workers.
var others = core.Register("other", func(context.Context, core.Void) (*worker, error) { return &worker{}, nil })

func TestNewRefusesWhatCannotWork(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	h := spawn(t, sys, 2)
	odd, err := others.Spawn(t.Context(), sys, 1, core.Void{})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		handles []*core.Handle[*worker]
		opts    []pool.Option
		want    error
	}{
		"no actors":        {nil, nil, core.ErrNoActors},
		"nil handle":       {[]*core.Handle[*worker]{h[0], nil}, nil, core.ErrInvalid},
		"repeated handle":  {[]*core.Handle[*worker]{h[0], h[1], h[0]}, nil, core.ErrInvalid},
		"mixed kinds":      {[]*core.Handle[*worker]{h[0], odd[0]}, nil, core.ErrMixed},
		"nil option":       {h, []pool.Option{nil}, core.ErrInvalid},
		"none in flight":   {h, []pool.Option{pool.InFlight(0)}, core.ErrInvalid},
		"too many":         {h, []pool.Option{pool.InFlight(1<<16 + 1)}, core.ErrInvalid},
		"no queue":         {h, []pool.Option{pool.Queue(0)}, core.ErrInvalid},
		"negative queue":   {h, []pool.Option{pool.Queue(-1)}, core.ErrInvalid},
		"endless queue":    {h, []pool.Option{pool.Queue(1<<30 + 1)}, core.ErrInvalid},
		"second is faulty": {h, []pool.Option{pool.InFlight(2), pool.Queue(-5)}, core.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := pool.New(c.handles, c.opts...)
			require.ErrorIs(t, err, c.want)
			require.Nil(t, p)
		})
	}
}

func TestSubmitReportsWhatCallReports(t *testing.T) {
	p, h := newPool(t, 2)
	ctx := t.Context()
	v, err := pool.Submit(ctx, p, (*worker).Echo, 7).Get(ctx)
	require.NoError(t, err)
	require.Equal(t, 7, v)
	for name, c := range map[string]struct{ pool, call *core.Ref[int] }{
		"unregistered": {pool.Submit(ctx, p, (*worker).Unregistered, 1), core.Call(ctx, h[0], (*worker).Unregistered, 1)},
		"unencodable":  {pool.Submit(ctx, p, (*worker).Unencodable, any(make(chan int))), core.Call(ctx, h[0], (*worker).Unencodable, any(make(chan int)))},
		"nil method":   {pool.Submit[*worker, int, int](ctx, p, nil, 1), core.Call[*worker, int, int](ctx, h[0], nil, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.call.Err(ctx)
			require.Error(t, err)
			require.EqualError(t, c.pool.Err(ctx), err.Error())
		})
	}
	for name, x := range map[string]int{"error": 1, "panic": 5} {
		t.Run(name, func(t *testing.T) {
			var e *core.ActorError
			require.ErrorAs(t, pool.Submit(ctx, p, (*worker).Fail, x).Err(ctx), &e)
			require.Equal(t, name == "panic", e.Stack != "")
			require.Equal(t, 2, p.Len(), "an actor's error is not its death")
		})
	}
	require.ErrorIs(t, pool.Submit[*worker](ctx, nil, (*worker).Echo, 1).Err(ctx), core.ErrInvalid)
	require.Error(t, pool.Submit(ctx, p, (*worker).Downstream, 1).Err(ctx))
	require.Equal(t, 2, p.Len(), "what an actor says of others is not its death")
}

func TestArgumentBelongsToTheCallerAfterSubmit(t *testing.T) {
	p, _ := newPool(t, 1)
	g, key := newGate(t, 1)
	held := pool.Submit(t.Context(), p, (*worker).Hold, key)
	g.await(1)
	x := []byte("before")
	ref := pool.Submit(t.Context(), p, (*worker).Mirror, x)
	copy(x, "after!")
	close(g.open)
	require.NoError(t, held.Err(t.Context()))
	v, err := ref.Get(t.Context())
	require.NoError(t, err)
	require.Equal(t, "before", string(v))
}

func TestWorkGoesToTheLeastLoadedInTurn(t *testing.T) {
	const n = 5
	p, h := newPool(t, n, pool.InFlight(3))
	g, key := newGate(t, 3*n)
	var refs []*core.Ref[core.ActorID]
	for range 3 * n {
		refs = append(refs, pool.Submit(t.Context(), p, (*worker).Hold, key))
	}
	first := g.await(n) // actors run one call at a time, so these are the first calls of each
	ids := make([]core.ActorID, n)
	for i := range h {
		ids[i] = h[i].ID()
	}
	require.ElementsMatch(t, ids, first, "nobody gets a second call before everybody has the first")
	close(g.open)
	for _, r := range refs {
		require.NoError(t, r.Err(t.Context()))
	}
	var turns []core.ActorID
	for range 3 * n {
		id, err := pool.Submit(t.Context(), p, (*worker).Self, core.Void{}).Get(t.Context())
		require.NoError(t, err)
		turns = append(turns, id)
	}
	require.ElementsMatch(t, ids, turns[:n], "first in, first out")
	require.Equal(t, turns[:n], turns[n:2*n])
	require.Equal(t, turns[:n], turns[2*n:])
}

func TestSubmitBlocksOnlyWhileTheQueueIsFull(t *testing.T) {
	ends := map[string]func(t *testing.T, p *pool.Pool[*worker], h []*core.Handle[*worker], cancel context.CancelFunc, open func()){
		"an actor is free": func(_ *testing.T, _ *pool.Pool[*worker], _ []*core.Handle[*worker], _ context.CancelFunc, open func()) {
			open()
		},
		"context ends": func(_ *testing.T, _ *pool.Pool[*worker], _ []*core.Handle[*worker], cancel context.CancelFunc, _ func()) {
			cancel()
		},
		"pool is closed": func(_ *testing.T, p *pool.Pool[*worker], _ []*core.Handle[*worker], _ context.CancelFunc, _ func()) {
			p.Close()
		},
		"last actor is gone": func(t *testing.T, _ *pool.Pool[*worker], h []*core.Handle[*worker], _ context.CancelFunc, open func()) {
			require.NoError(t, h[0].Kill(t.Context()))
			open()
		},
	}
	want := map[string]error{"context ends": context.Canceled, "pool is closed": pool.ErrClosed, "last actor is gone": core.ErrNoActors}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			p, h := newPool(t, 1, pool.Queue(2))
			g, key := newGate(t, 1)
			open := sync.OnceFunc(func() { close(g.open) })
			t.Cleanup(open)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			pool.Submit(t.Context(), p, (*worker).Hold, key)
			g.await(1)
			a, b := pool.Submit(t.Context(), p, (*worker).Echo, 1), pool.Submit(t.Context(), p, (*worker).Echo, 2)
			returned := make(chan *core.Ref[int])
			go func() { returned <- pool.Submit(ctx, p, (*worker).Echo, 3) }()
			require.Eventually(t, func() bool { return p.Stats().Blocked == 1 }, 10*time.Second, time.Millisecond)
			require.Equal(t, 2, p.Stats().Waiting)
			end(t, p, h, cancel, open)
			err := (<-returned).Err(t.Context())
			if want[name] == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, want[name])
			}
			open()
			for _, r := range []*core.Ref[int]{a, b} {
				if err := r.Err(t.Context()); want[name] == nil || name == "context ends" {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, want[name])
				}
			}
			require.Zero(t, p.Stats().Waiting)
			require.Zero(t, p.Stats().Blocked)
		})
	}
}

func TestCancelledSubmitLeavesTheQueueAtOnce(t *testing.T) {
	p, _ := newPool(t, 1, pool.Queue(1))
	g, key := newGate(t, 1)
	held := pool.Submit(t.Context(), p, (*worker).Hold, key)
	g.await(1)
	for range 100 { // each takes the room that the one before has left
		ctx, cancel := context.WithCancel(t.Context())
		ref := pool.Submit(ctx, p, (*worker).Echo, 1)
		cancel()
		require.ErrorIs(t, ref.Err(t.Context()), context.Canceled)
	}
	close(g.open)
	require.NoError(t, held.Err(t.Context()))
}

func TestActorThatRunsAGivenUpCallGetsNoOther(t *testing.T) {
	p, h := newPool(t, 2)
	g, key := newGate(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	held := pool.Submit(ctx, p, (*worker).Hold, key)
	busy := g.await(1)[0]
	cancel()
	require.ErrorIs(t, held.Err(t.Context()), context.Canceled, "the caller does not wait for the actor")
	for range 10 {
		id, err := pool.Submit(t.Context(), p, (*worker).Self, core.Void{}).Get(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, busy, id)
	}
	close(g.open)
	require.Eventually(t, func() bool {
		id, err := pool.Submit(t.Context(), p, (*worker).Self, core.Void{}).Get(t.Context())
		return err == nil && id == busy
	}, 10*time.Second, time.Millisecond)
	require.Len(t, h, 2)
}

func TestDeadlineEndsACallWhereverItIs(t *testing.T) {
	p, _ := newPool(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	running := pool.Submit(ctx, p, (*worker).Block, 1)
	waiting := pool.Submit(ctx, p, (*worker).Block, 2)
	require.ErrorIs(t, running.Err(t.Context()), context.DeadlineExceeded)
	require.ErrorIs(t, waiting.Err(t.Context()), context.DeadlineExceeded)
	require.ErrorIs(t, pool.Submit(ctx, p, (*worker).Echo, 1).Err(t.Context()), context.DeadlineExceeded)
	require.NoError(t, pool.Submit(t.Context(), p, (*worker).Echo, 1).Err(t.Context()), "the actor has stopped")
}

func TestResultCanBeTheArgumentOfAnotherCall(t *testing.T) {
	p, h := newPool(t, 1)
	ref := pool.Submit(t.Context(), p, (*worker).Grow, 2*core.InlineMax)
	n, err := core.CallRef(t.Context(), h[0], (*worker).Len, ref).Get(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2*core.InlineMax, n)
	ref.Release()
}

func TestLargeArgumentsAndResultsLeaveTheStore(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	p, _ := poolOn(t, sys, 2)
	big := make([]byte, 2*core.InlineMax)
	ctx, cancel := context.WithCancel(t.Context())
	for range 4 { // two run, two wait
		pool.Submit(ctx, p, (*worker).Late, big)
	}
	require.Positive(t, sys.Stats().Objects.Objects)
	cancel()
	n := 0
	for v, err := range pool.Map(t.Context(), p, (*worker).Mirror, repeat(big, 20)) {
		require.NoError(t, err)
		require.Len(t, v, len(big))
		n++
	}
	require.Equal(t, 20, n)
	require.Eventually(t, func() bool { return sys.Stats().Objects.Objects == 0 }, 10*time.Second, time.Millisecond)
}

func TestCloseWhileBusy(t *testing.T) {
	p, h := newPool(t, 2, pool.Queue(4))
	var refs []*core.Ref[int]
	for i := range 6 {
		refs = append(refs, pool.Submit(t.Context(), p, (*worker).Block, i))
	}
	var closers sync.WaitGroup
	for range 3 {
		closers.Go(p.Close)
	}
	closers.Wait()
	for _, r := range refs {
		require.ErrorIs(t, r.Err(t.Context()), pool.ErrClosed)
	}
	require.ErrorIs(t, pool.Submit(t.Context(), p, (*worker).Echo, 1).Err(t.Context()), pool.ErrClosed)
	for _, err := range pool.Map(t.Context(), p, (*worker).Echo, count(math.MaxInt)) {
		require.ErrorIs(t, err, pool.ErrClosed)
	}
	for _, a := range h { // they have stopped, and live
		require.NoError(t, core.Call(t.Context(), a, (*worker).Echo, 1).Err(t.Context()))
	}
}

func TestSystemShutdownFailsWhatThePoolHolds(t *testing.T) {
	sys, err := core.Start(t.Context(), core.InProcess(1))
	require.NoError(t, err)
	p, _ := poolOn(t, sys, 1)
	running, waiting := pool.Submit(t.Context(), p, (*worker).Block, 1), pool.Submit(t.Context(), p, (*worker).Echo, 2)
	require.NoError(t, sys.Shutdown(t.Context()))
	require.ErrorIs(t, running.Err(t.Context()), core.ErrClosed)
	require.ErrorIs(t, waiting.Err(t.Context()), core.ErrClosed)
	require.ErrorIs(t, pool.Submit(t.Context(), p, (*worker).Echo, 1).Err(t.Context()), core.ErrClosed)
	n := 0
	for _, err := range pool.Map(t.Context(), p, (*worker).Echo, count(math.MaxInt)) {
		require.ErrorIs(t, err, core.ErrClosed)
		n++
	}
	require.Equal(t, 1, n)
}

func TestManyGoroutinesShareAPool(t *testing.T) {
	p, _ := newPool(t, 8, pool.InFlight(2))
	var users sync.WaitGroup
	for u := range 8 {
		users.Go(func() {
			if u%2 == 0 {
				i := 0
				for v, err := range pool.Map(t.Context(), p, (*worker).Exclusive, count(200)) {
					if err != nil || v != i {
						t.Errorf("map %d: item %d: %v, %v", u, i, v, err)
					}
					i++
				}
				return
			}
			for i := range 200 {
				if v, err := pool.Submit(t.Context(), p, (*worker).Exclusive, i).Get(t.Context()); err != nil || v != i {
					t.Errorf("submit %d: item %d: %v, %v", u, i, v, err)
				}
			}
		})
	}
	users.Wait()
	require.Equal(t, uint64(8*200), p.Stats().Done)
}

func TestALongMapDoesNotHoldUpASubmit(t *testing.T) {
	p, _ := newPool(t, 1, pool.Queue(1000))
	g, key := newGate(t, 1)
	pool.Submit(t.Context(), p, (*worker).Hold, key)
	g.await(1)
	var mapping sync.WaitGroup
	mapping.Go(func() {
		for _, err := range pool.Map(t.Context(), p, (*worker).Echo, count(1000)) {
			if err != nil {
				t.Error(err)
			}
		}
	})
	require.Eventually(t, func() bool { return p.Stats().Waiting == 1000 }, 10*time.Second, time.Millisecond)
	ref := pool.Submit(t.Context(), p, (*worker).Echo, 1)
	close(g.open)
	require.NoError(t, ref.Err(t.Context()))
	require.Less(t, p.Stats().Done, uint64(500))
	mapping.Wait()
}

func TestStatsTellASlowActor(t *testing.T) {
	p, h := newPool(t, 4)
	require.Zero(t, p.Stats().P50)
	for _, err := range pool.MapUnordered(t.Context(), p, (*worker).NapUnlessFirst, repeat(time.Millisecond, 100)) {
		require.NoError(t, err)
	}
	st := p.Stats()
	require.Equal(t, uint64(100), st.Done)
	require.Len(t, st.Members, 4)
	require.GreaterOrEqual(t, st.P50, time.Millisecond)
	require.GreaterOrEqual(t, st.P99, st.P50)
	var done uint64
	for i, m := range st.Members {
		require.Equal(t, h[i].ID(), m.Actor)
		if m.Actor.Node() == 1 && m.Actor.Serial() == 0 {
			require.GreaterOrEqual(t, m.P50, 20*time.Millisecond)
		}
		done += m.Done
	}
	require.Equal(t, st.Done, done)
}
