// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestContextErrorsCrossAsThemselves(t *testing.T) {
	eachSystem(t, 1, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		a := spawn(t, sys, 1, core.Concurrency(8))[0]
		short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, core.Call(short, a, (*probe).Block, core.Void{}).Err(bounded(t)), context.DeadlineExceeded)

		plain, cancel := context.WithCancel(t.Context())
		ref := core.Call(plain, a, (*probe).Block, core.Void{})
		cancel()
		require.ErrorIs(t, ref.Err(bounded(t)), context.Canceled)

		reason := errors.New("changed my mind")
		why, cancelWhy := context.WithCancelCause(t.Context())
		ref = core.Call(why, a, (*probe).Block, core.Void{})
		cancelWhy(reason)
		require.ErrorIs(t, ref.Err(bounded(t)), context.Canceled)
		require.ErrorIs(t, ref.Err(bounded(t)), reason)
		require.ErrorIs(t, core.Call(why, a, (*probe).Block, core.Void{}).Err(t.Context()), context.Canceled)
		require.ErrorIs(t, core.Call(why, a, (*probe).Block, core.Void{}).Err(t.Context()), reason)

		// The wait for an answer ends too, and the call goes on.
		waiting, cancel := context.WithCancel(t.Context())
		pending, cancelPending := context.WithCancel(t.Context())
		defer cancelPending()
		ref = core.Call(pending, a, (*probe).Block, core.Void{})
		cancel()
		_, err := ref.Get(waiting)
		require.ErrorIs(t, err, context.Canceled)
		_, isCall := errors.AsType[*core.CallError](err)
		require.False(t, isCall)
	})
}

func TestTheMethodsOwnContextErrorIsTheActorsAndTheContexts(t *testing.T) {
	sys := coretest.Start(t)
	a := spawn(t, sys, 1, core.Concurrency(2))[0]
	targets, err := core.NewTargets([]*core.Handle[*probe]{a})
	require.NoError(t, err)
	s, err := core.Submit(t.Context(), targets, (*probe).Block, core.Void{}, core.FailFast)
	require.NoError(t, err)
	eventually(t, "it runs", func() bool { return get(t, core.Call(t.Context(), a, (*probe).Counts, core.Void{})).Started == 1 })
	s.Interrupt() // unlike Cancel leaves the slot to the method
	err = core.RefAt[core.Void](s, 0).Err(bounded(t))
	_, own := errors.AsType[*core.ActorError](err)
	require.True(t, own)
	require.ErrorIs(t, err, context.Canceled)
}

func TestTheDeadlineTravelsAsRemainingTime(t *testing.T) {
	eachSystem(t, 1, func(t *testing.T, sys *core.System) {
		a := spawn(t, sys, 1)[0]
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		left := get(t, core.Call(ctx, a, (*probe).Remaining, core.Void{}))
		require.Greater(t, left, 59*time.Minute)
		require.LessOrEqual(t, left, time.Hour)
		require.Zero(t, get(t, core.Call(t.Context(), a, (*probe).Remaining, core.Void{})))
	})
}

func TestCancelReachesRunningAndWaitingCalls(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		actors := spawn(t, sys, 4, core.Concurrency(2))
		running := submit(t.Context(), t, actors, (*probe).Block, core.Void{})
		second := submit(t.Context(), t, actors, (*probe).Block, core.Void{})
		waiting := submit(t.Context(), t, actors, (*probe).Append, 1)
		inProcess := sys.Nodes()[0].PID == os.Getpid()
		if inProcess {
			eventually(t, "it has come", func() bool { return core.WaitingAt(waiting) == 2 })
		}
		waiting.Cancel(context.Canceled)
		if inProcess {
			eventually(t, "its end has come", func() bool { return core.WaitingAt(waiting) == 0 })
		}
		running.Cancel(context.Canceled)
		second.Cancel(context.Canceled)
		for i, a := range actors {
			require.ErrorIs(t, running.Err(i), context.Canceled)
			require.ErrorIs(t, waiting.Err(i), context.Canceled)
			var c counts
			eventually(t, "the methods have ended", func() bool {
				c = get(t, core.Call(t.Context(), a, (*probe).Counts, core.Void{}))
				return c.Started == c.Ended
			})
			if c.Started > 0 {
				require.Equal(t, "context canceled", c.Cause)
			}
			log := get(t, core.Call(t.Context(), a, (*probe).Log, core.Void{}))
			if inProcess { // else nobody knows when the cancellation has come
				require.Empty(t, log, "what waited never ran")
			}
		}
	})
}
