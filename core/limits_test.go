// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestWindowLetsInAsMuchAsFitsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := core.NewWindow(100)
		require.NoError(t, w.Acquire(t.Context(), 60))
		entered := make(chan int, 3)
		for i, n := range []int64{50, 40, 10} { // the second would fit, but came later
			go func() {
				if w.Acquire(t.Context(), n) == nil {
					entered <- i
				}
			}()
			synctest.Wait()
		}
		require.Empty(t, entered)
		w.Release(60)
		synctest.Wait()
		require.Len(t, entered, 3)
		w.Release(100)
		require.NoError(t, w.Acquire(t.Context(), 1000), "what exceeds the bound is let in alone")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := w.Acquire(ctx, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "1000 bytes of calls are under way to the node, the bound is 100")
		require.Equal(t, time.Second, time.Since(start))
		w.Release(1000)
		require.NoError(t, w.Acquire(t.Context(), 100))
	})
}

func TestWindowIsNeverExceeded(t *testing.T) {
	w := core.NewWindow(100)
	var mu sync.Mutex
	used, holders := int64(0), 0
	var wg sync.WaitGroup
	for i := range uint64(8) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(5, i))
			for range 300 {
				n := 1 + rng.Int64N(150)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(3))*time.Millisecond)
				err := w.Acquire(ctx, n)
				cancel()
				if err != nil {
					continue
				}
				mu.Lock()
				used, holders = used+n, holders+1
				if used > 100 && holders > 1 {
					t.Errorf("%d bytes for %d at once", used, holders)
				}
				mu.Unlock()
				mu.Lock()
				used, holders = used-n, holders-1
				mu.Unlock()
				w.Release(n)
			}
		})
	}
	wg.Wait()
	require.NoError(t, w.Acquire(t.Context(), 100), "nothing is left behind")
}

func TestSubmissionsWaitForRoom(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2), core.InFlight(1000))
	actors := spawn(t, sys, 2)
	blocked := submit(t.Context(), t, actors[:1], (*probe).Block, core.Void{})
	require.Positive(t, sys.Stats().InFlight)
	more := submit(t.Context(), t, actors[:1], (*probe).Echo, ones(50))
	targets, err := core.NewTargets(actors)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		s, err := core.Submit(ctx, targets, (*probe).Echo, ones(150), core.BestEffort)
		if s != nil {
			err = errors.New("it was submitted")
		}
		result <- err
	}()
	// The other node has room, which a submission that waits does not take.
	get(t, core.Call(t.Context(), actors[1], (*probe).Echo, ones(150)))
	select {
	case err := <-result:
		t.Fatal("it did not wait: ", err)
	default:
	}
	cancel()
	require.ErrorIs(t, <-result, context.Canceled)
	blocked.Cancel(context.Canceled)
	require.NoError(t, more.Wait(bounded(t), 1))
	get(t, core.Call(t.Context(), actors[0], (*probe).Echo, ones(150)))
	eventually(t, "everything was given back", func() bool { return sys.Stats().InFlight == 0 })
}

func TestCallsMayWaitInFrontOfAFullMailbox(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	a := spawn(t, sys, 1, core.Mailbox(2), core.MailboxWait())[0]
	blocked := submit(t.Context(), t, []*core.Handle[*probe]{a}, (*probe).Block, core.Void{})
	var refs []*core.Ref[int]
	for i := range 50 {
		refs = append(refs, core.Call(t.Context(), a, (*probe).Append, i))
	}
	targets, err := core.NewTargets([]*core.Handle[*probe]{a})
	require.NoError(t, err)
	_, err = core.Submit(t.Context(), targets, (*probe).Append, 99, core.NoReply())
	require.NoError(t, err)
	eventually(t, "all wait but the cast, which has failed", func() bool {
		stats, err := sys.NodeStats(t.Context())
		require.NoError(t, err)
		return stats[0] == core.NodeStats{Node: 1, Actors: 1, Running: 1, Waiting: 50, Casts: 1, CastsFailed: 1}
	})
	blocked.Cancel(context.Canceled)
	for i, ref := range refs {
		require.Equal(t, i+1, get(t, ref), "in order")
	}
}

func TestMessagesThatAreTooLargeNameTheBound(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	a := spawn(t, sys, 1)[0]
	own, err := core.NewTargets([]*core.Handle[*probe]{a})
	require.NoError(t, err)
	c, err := core.Prepare(own, (*probe).Length, make([]byte, 90<<10))
	require.NoError(t, err)
	defer c.Release()
	as := make([]core.Assignment, 800)
	for i := range as {
		as[i] = core.Assignment{Call: c, Targets: own}
	}
	s, err := core.StartAll(t.Context(), as, time.Time{})
	require.ErrorIs(t, err, core.ErrTooLarge)
	require.ErrorContains(t, err, "the bound is 67108864")
	require.ErrorIs(t, s.Err(0), core.ErrTooLarge)
}
