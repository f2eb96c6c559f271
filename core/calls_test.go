// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestResultsKeepTheOrderOfTheActors(t *testing.T) {
	eachSystem(t, 3, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, 30)
		shuffled := append(append([]*core.Handle[*probe]{}, actors[17:]...), actors[:17]...)
		shuffled = append(shuffled, actors[3], actors[3]) // some twice
		targets, err := core.NewTargets(shuffled)
		require.NoError(t, err)
		require.Equal(t, len(shuffled), targets.Len())
		require.Same(t, sys, targets.System())
		pids, err := core.Submit(t.Context(), targets, (*probe).PID, core.Void{}, core.FailFast)
		require.NoError(t, err)
		nodes := sys.Nodes()
		for i, a := range shuffled {
			require.Equal(t, a.ID(), pids.Actor(i))
			require.Equal(t, a.ID(), targets.IDs()[i])
			require.Equal(t, nodes[a.Node()-1].PID, get(t, core.RefAt[int](pids, i)))
		}
		stats := pids.Stats()
		require.Equal(t, 3, stats.Messages)
		require.Positive(t, stats.Complete)
		require.Positive(t, stats.Submit)
		require.Positive(t, stats.Bytes)
	})
}

func TestCallsToOneActorRunInTheOrderIssued(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, 8)
		const rounds = 150
		for i := 0; i < 2*rounds; i += 2 {
			submit(t.Context(), t, actors, (*probe).Append, i)
			for _, a := range actors {
				core.Call(t.Context(), a, (*probe).Append, i+1)
			}
		}
		for _, a := range actors {
			log := get(t, core.Call(t.Context(), a, (*probe).Log, core.Void{}))
			require.Len(t, log, 2*rounds)
			for i, v := range log {
				require.Equal(t, i, v)
			}
		}
	})
}

func TestAnActorRunsOneCallAtATime(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	a := spawn(t, sys, 1)
	highest := 0
	for range 20 {
		s := submit(t.Context(), t, []*core.Handle[*probe]{a[0], a[0], a[0], a[0]}, (*probe).Overlap, core.Void{})
		for i := range s.Len() {
			highest = max(highest, get(t, core.RefAt[int](s, i)))
		}
	}
	require.Equal(t, 1, highest)
}

func TestConcurrencyLetsCallsRunSideBySideUpToItsBound(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	a := spawn(t, sys, 1, core.Concurrency(4))[0]
	same := []*core.Handle[*probe]{a, a, a, a}
	s := submit(bounded(t), t, same, (*probe).Meet, 4) // would last for ever one at a time
	for i := range s.Len() {
		get(t, core.RefAt[core.Void](s, i))
	}
	two := spawn(t, sys, 1, core.Concurrency(2))[0]
	over := submit(t.Context(), t, []*core.Handle[*probe]{two, two, two, two, two, two}, (*probe).Overlap, core.Void{})
	for i := range over.Len() {
		require.LessOrEqual(t, get(t, core.RefAt[int](over, i)), 2)
	}
}

func TestAFullMailboxFailsItsSlotOnly(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		actors := spawn(t, sys, 2, core.Mailbox(2))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		busy := core.Call(ctx, actors[0], (*probe).Block, core.Void{})
		for i := range 2 { // one runs, two wait
			core.Call(t.Context(), actors[0], (*probe).Append, i)
		}
		s := submit(t.Context(), t, actors, (*probe).Append, 7)
		require.NoError(t, s.Wait(bounded(t), 2))
		require.ErrorIs(t, s.Err(0), core.ErrMailboxFull)
		require.ErrorContains(t, s.Err(0), "2 calls wait at actor 1/0")
		require.Equal(t, 1, get(t, core.RefAt[int](s, 1)))
		cancel()
		require.ErrorIs(t, busy.Err(t.Context()), context.Canceled)
		eventually(t, "there is room again", func() bool {
			return core.Call(t.Context(), actors[0], (*probe).Ping, core.Void{}).Err(t.Context()) == nil
		})
		require.Equal(t, []int{0, 1}, get(t, core.Call(t.Context(), actors[0], (*probe).Log, core.Void{})))
	})
}

func TestTheSmallestMailboxHoldsOneCallBesideTheRunningOne(t *testing.T) {
	sys := coretest.Start(t)
	for range 200 {
		a := spawn(t, sys, 1, core.Mailbox(1))[0]
		s := submit(t.Context(), t, []*core.Handle[*probe]{a, a}, (*probe).Ping, core.Void{})
		require.NoError(t, s.Wait(bounded(t), 2))
		require.NoError(t, s.Err(0))
		require.NoError(t, s.Err(1))
	}
}

func TestErrorsOfMethodsArriveAsActorErrors(t *testing.T) {
	eachSystem(t, 1, func(t *testing.T, sys *core.System) {
		a := spawn(t, sys, 1)[0]
		ctx := bounded(t)
		err := core.Call(t.Context(), a, (*probe).Fail, "as told").Err(ctx)
		own, ok := errors.AsType[*core.ActorError](err)
		require.True(t, ok)
		require.Equal(t, core.ActorError{Actor: a.ID(), Kind: "probe", Method: "Fail", Message: "as told"}, *own)

		err = core.Call(t.Context(), a, (*probe).Relay, core.Void{}).Err(ctx)
		_, ok = errors.AsType[*core.ActorError](err)
		require.True(t, ok)
		require.NotErrorIs(t, err, core.ErrNodeLost, "it is another node that was lost")

		err = core.Call(t.Context(), a, (*probe).Panic, "as told").Err(ctx)
		own, ok = errors.AsType[*core.ActorError](err)
		require.True(t, ok)
		require.Equal(t, "as told", own.Message)
		require.Contains(t, own.Stack, "(*probe).Panic")
		require.NotContains(t, err.Error(), "goroutine")

		err = core.Call(t.Context(), a, (*probe).Goexit, core.Void{}).Err(ctx)
		own, ok = errors.AsType[*core.ActorError](err)
		require.True(t, ok)
		require.Contains(t, own.Message, "runtime.Goexit")

		err = core.Call(t.Context(), a, (*probe).Odd, core.Void{}).Err(ctx)
		own, ok = errors.AsType[*core.ActorError](err)
		require.True(t, ok)
		require.Contains(t, own.Message, "an error of type *core_test.oddError, which panicked")
		get(t, core.Call(t.Context(), a, (*probe).Ping, core.Void{}))

		_, err = nothings.Spawn(ctx, sys, 1, core.Void{})
		_, ok = errors.AsType[*core.SpawnError](err)
		require.True(t, ok)
		require.ErrorContains(t, err, "neither an actor nor an error")
	})
}

func TestCallsThatWaitBehindGoexitRun(t *testing.T) {
	sys := coretest.Start(t)
	a := spawn(t, sys, 1)[0]
	for i := range 20 {
		core.Call(t.Context(), a, (*probe).Goexit, core.Void{})
		core.Call(t.Context(), a, (*probe).Append, i)
	}
	require.Len(t, get(t, core.Call(t.Context(), a, (*probe).Log, core.Void{})), 20)
}

func TestKillEndsAnActor(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		actors := spawn(t, sys, 3)
		running := core.Call(t.Context(), actors[0], (*probe).Block, core.Void{})
		waiting := core.Call(t.Context(), actors[0], (*probe).Sum, make([]float32, core.InlineMax))
		require.NoError(t, actors[0].Kill(bounded(t)))
		require.ErrorIs(t, running.Err(bounded(t)), core.ErrActorDead)
		require.ErrorIs(t, waiting.Err(bounded(t)), core.ErrActorDead)
		require.ErrorIs(t, core.Call(t.Context(), actors[0], (*probe).Ping, core.Void{}).Err(bounded(t)), core.ErrActorDead)
		require.NoError(t, actors[0].Kill(bounded(t)), "killing the dead is no error")
		require.Equal(t, 2, sys.Stats().Actors)
		s := submit(t.Context(), t, actors, (*probe).Sum, make([]float32, core.InlineMax))
		require.NoError(t, s.Wait(bounded(t), 3))
		require.ErrorIs(t, s.Err(0), core.ErrActorDead)
		require.True(t, core.Gone(s.Err(0)))
		require.NoError(t, s.Err(1))
		require.NoError(t, s.Err(2))
	})
}

func TestWaitSplitsReferences(t *testing.T) {
	sys := coretest.Start(t)
	actors := spawn(t, sys, 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	refs := []*core.Ref[core.Void]{
		core.Call(ctx, actors[0], (*probe).Block, core.Void{}),
		core.Call(ctx, actors[1], (*probe).Ping, core.Void{}),
		core.Call(ctx, (*core.Handle[*probe])(nil), (*probe).Ping, core.Void{}),
		core.Call(ctx, actors[2], (*probe).Block, core.Void{}),
		core.Call(ctx, actors[1], (*probe).Fail, "for an answer"),
	}
	ready, rest, err := core.Wait(bounded(t), refs, 3)
	require.NoError(t, err)
	require.Equal(t, []*core.Ref[core.Void]{refs[1], refs[2], refs[4]}, ready)
	require.Equal(t, []*core.Ref[core.Void]{refs[0], refs[3]}, rest)

	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelShort()
	ready, rest, err = core.Wait(short, refs, 4)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Len(t, ready, 3)
	require.Len(t, rest, 2)

	cancel()
	ready, rest, err = core.Wait(bounded(t), refs, len(refs))
	require.NoError(t, err)
	require.Equal(t, refs, ready)
	require.Empty(t, rest)
	ready, rest, err = core.Wait[core.Void](t.Context(), nil, 0)
	require.NoError(t, err)
	require.Empty(t, ready)
	require.Empty(t, rest)
	for _, n := range []int{-1, len(refs) + 1} {
		_, _, err = core.Wait(t.Context(), refs, n)
		require.ErrorIs(t, err, core.ErrInvalid)
	}
	_, _, err = core.Wait(t.Context(), []*core.Ref[int]{nil}, 1)
	require.ErrorIs(t, err, core.ErrInvalid)
}

func TestRefsOfAnotherTypeCannotBeDecoded(t *testing.T) {
	sys := coretest.Start(t)
	s := submit(t.Context(), t, spawn(t, sys, 1), (*probe).PID, core.Void{})
	_, err := core.RefAt[string](s, 0).Get(bounded(t))
	require.ErrorIs(t, err, core.ErrDecode)
	require.ErrorContains(t, err, "probe.PID is a int, not a string")
	dynamic, err := core.RefAt[any](s, 0).Get(bounded(t))
	require.NoError(t, err)
	require.Equal(t, os.Getpid(), dynamic)
}

func TestNilIsAnArgumentByNameWhereAnInterfaceIsWanted(t *testing.T) {
	sys := coretest.Start(t)
	targets, err := core.NewTargets(spawn(t, sys, 1))
	require.NoError(t, err)
	s, err := core.SubmitNamed(t.Context(), targets, "TakeAny", nil, core.FailFast)
	require.NoError(t, err)
	get(t, core.RefAt[core.Void](s, 0))
}

// Answers that come together travel together: far fewer frames reach the driver than there are actors, and equal answers take next to nothing in them.
func TestManySmallAnswersTravelTogether(t *testing.T) {
	const n = 1000
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, n)
		count := core.CountReplies(sys)
		succeeded(t, submit(t.Context(), t, actors, (*probe).Ping, core.Void{}))
		frames, bytes := count()
		t.Logf("%d actors: %d frames, %d bytes", n, frames, bytes)
		require.LessOrEqual(t, frames, int64(n/4), "2 on a machine with nothing else to do")
		require.LessOrEqual(t, bytes, 16*frames)
	})
}

func TestAnswersBeyondOneFrameArrive(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	actors := spawn(t, sys, 1)
	const calls = 800 // of 100 KiB each are 78 MiB, a frame carries 64
	same := make([]*core.Handle[*probe], calls)
	for i := range same {
		same[i] = actors[0]
	}
	// A call in front keeps the answers from being sent one by one: they are made while nothing drains the outbox only if the
	// machine is quick, so this is no proof, but a loss shows as a hang.
	s := submit(bounded(t), t, same, (*probe).Make, core.InlineMax-16)
	require.NoError(t, s.Wait(bounded(t), calls))
	for i := range calls {
		require.NoError(t, s.Err(i))
	}
}

func TestCallsFromManyGoroutinesAreAnsweredOnce(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		actors := spawn(t, sys, 4)
		errs := make(chan error, 8)
		for g := range 8 {
			go func() {
				for i := range 50 {
					x := []float32{float32(g), float32(i)}
					sum, err := core.Call(t.Context(), actors[(g+i)%4], (*probe).Sum, x).Get(t.Context())
					if err != nil || sum != float64(g+i) {
						errs <- fmt.Errorf("%v, %w", sum, err)
						return
					}
				}
				errs <- nil
			}()
		}
		for range 8 {
			require.NoError(t, <-errs)
		}
	})
}

func TestStatsAreReadable(t *testing.T) {
	sys := coretest.Start(t)
	assert.True(t, strings.HasPrefix(fmt.Sprintf("%+v", sys.Stats()), "{Nodes:1 Actors:0 Calls:0"))
}
