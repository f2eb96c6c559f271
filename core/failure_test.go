// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package core_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/internal/leakcheck"
)

func TestCallsOnANodeThatIsKilledFailAtOnce(t *testing.T) {
	// The heartbeat is out of reach: it is the end of the process that counts.
	sys := coretest.Start(t, core.LocalNodes(3), core.Heartbeat(time.Hour, time.Hour))
	unleaked(t, sys)
	actors := spawn(t, sys, 6, core.Concurrency(2)) // two on each node
	blocked, cancel := context.WithCancel(t.Context())
	defer cancel()
	pending := submit(blocked, t, actors, (*probe).Block, core.Void{})
	waiting := submit(blocked, t, actors, (*probe).Stubborn, 5*time.Millisecond)
	require.NoError(t, waiting.Wait(bounded(t), 6))
	coretest.KillNode(t, sys, 2)
	require.NoError(t, pending.Wait(bounded(t), 2))
	for i, a := range actors {
		if a.Node() != 2 {
			require.NoError(t, pending.Err(i), "others are unaffected")
			get(t, core.Call(t.Context(), a, (*probe).Sum, ones(large)))
			continue
		}
		require.ErrorIs(t, pending.Err(i), core.ErrNodeLost)
		require.ErrorContains(t, pending.Err(i), "node 2 is lost: ")
		require.ErrorContains(t, pending.Err(i), "call probe.Block on actor 2/")
		require.ErrorIs(t, core.Call(t.Context(), a, (*probe).Ping, core.Void{}).Err(bounded(t)), core.ErrNodeLost)
		require.NoError(t, a.Kill(bounded(t)), "the dead are dead")
	}
	require.Equal(t, 4, sys.Stats().Actors)
	require.Equal(t, 2, sys.Stats().Nodes)
	more := spawn(t, sys, 4)
	for _, a := range more {
		require.NotEqual(t, uint32(2), a.Node(), "new actors live on nodes that are alive")
		get(t, core.Call(t.Context(), a, (*probe).Ping, core.Void{}))
	}
	require.Equal(t, 1, int(actors[0].Node()))
}

func TestPoliciesOnANodeThatIsGone(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(3))
	unleaked(t, sys)
	actors := spawn(t, sys, 6)
	targets, err := core.NewTargets(actors)
	require.NoError(t, err)
	coretest.KillNode(t, sys, 2)
	for _, n := range []int{small, large} {
		s, err := core.Submit(t.Context(), targets, (*probe).Sum, ones(n), core.FailFast)
		require.ErrorIs(t, err, core.ErrNodeLost)
		require.ErrorContains(t, err, "submit probe.Sum to node 2 (2 actors)")
		require.NotNil(t, s, "what was submitted is kept")
		require.NoError(t, s.Wait(bounded(t), 6))
		for i, want := range []error{nil, nil, core.ErrNodeLost, core.ErrNodeLost, core.ErrNotSubmitted, core.ErrNotSubmitted} {
			require.ErrorIs(t, s.Err(i), want)
		}
		require.InDelta(t, n, get(t, core.RefAt[float64](s, 0)), 0)
		require.Equal(t, 1, s.Stats().Messages)

		s, err = core.Submit(t.Context(), targets, (*probe).Sum, ones(n), core.BestEffort)
		require.NoError(t, err)
		require.NoError(t, s.Wait(bounded(t), 6))
		for i, want := range []error{nil, nil, core.ErrNodeLost, core.ErrNodeLost, nil, nil} {
			require.ErrorIs(t, s.Err(i), want)
		}
		require.Equal(t, 2, s.Stats().Messages)
	}
}

func TestANodeThatDiesDuringASpawnFailsIt(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	failed := make(chan error, 1)
	go func() {
		_, err := probes.Spawn(t.Context(), sys, 4, setup{Wait: true})
		failed <- err
	}()
	for range 100 {
		runtime.Gosched()
	}
	coretest.KillNode(t, sys, 1)
	coretest.KillNode(t, sys, 2)
	require.ErrorIs(t, <-failed, core.ErrNodeLost)
	_, err := probes.Spawn(t.Context(), sys, 4, setup{})
	require.ErrorIs(t, err, core.ErrNodeLost)
	require.ErrorContains(t, err, "no node is left")
	require.Zero(t, sys.Stats().Actors)
}

func TestWhatADeadNodeHeldIsFreed(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	actors := spawn(t, sys, 2, core.Concurrency(2))
	require.NoError(t, submit(t.Context(), t, actors, (*probe).Sum, ones(large)).Wait(bounded(t), 2))
	ref, err := core.Put(t.Context(), sys, ones(large))
	require.NoError(t, err)
	// Both actors hold the object while they block on it.
	s := submitRef(t, actors, (*probe).BlockOn, ref)
	for _, a := range actors {
		eventually(t, "it runs", func() bool { return get(t, core.Call(t.Context(), a, (*probe).Counts, core.Void{})).Started == 1 })
	}
	ref.Release()
	coretest.KillNode(t, sys, 1)
	coretest.KillNode(t, sys, 2)
	require.NoError(t, s.Wait(bounded(t), 2))
	nothingIsLeft(t, sys)
}

func submitRef[In, Out any](
	t *testing.T, actors []*core.Handle[*probe], f func(*probe, context.Context, In) (Out, error), ref *core.Ref[In],
) *core.Slots {
	t.Helper()
	targets, err := core.NewTargets(actors)
	require.NoError(t, err)
	s, err := core.SubmitRef(t.Context(), targets, f, ref, core.FailFast)
	require.NoError(t, err)
	return s
}

func TestResultsOfADeadNodeAreThereOrLost(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	actors := spawn(t, sys, 2)
	s := submit(t.Context(), t, actors, (*probe).Make, 2*core.InlineMax)
	require.NoError(t, s.Wait(bounded(t), 2))
	read := get(t, core.RefAt[[]byte](s, 0))
	coretest.KillNode(t, sys, 1)
	for range 2 {
		for i := range 2 {
			v, err := core.RefAt[[]byte](s, i).Get(bounded(t))
			if err != nil {
				require.ErrorIs(t, err, core.ErrObjectLost)
				require.Zero(t, i, "the other node lives")
				continue
			}
			require.Equal(t, read, v)
		}
		err := core.CallRef(t.Context(), actors[1], (*probe).Length, core.RefAt[[]byte](s, 0)).Err(bounded(t))
		if err != nil {
			require.ErrorIs(t, err, core.ErrObjectLost)
		}
	}
	s.Release()
	nothingIsLeft(t, sys)
}

func TestAStoppedNodeIsLostAfterTheHeartbeatTimeout(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2), core.Heartbeat(20*time.Millisecond, 400*time.Millisecond))
	actors := spawn(t, sys, 4)
	coretest.StopNode(t, sys, 1)
	s := submit(t.Context(), t, actors, (*probe).Sum, ones(large))
	require.NoError(t, s.Wait(bounded(t), 4))
	for i, want := range []error{core.ErrNodeLost, core.ErrNodeLost, nil, nil} {
		require.ErrorIs(t, s.Err(i), want)
	}
	require.ErrorContains(t, s.Err(0), "silent")
	require.ErrorIs(t, core.Call(t.Context(), actors[0], (*probe).Ping, core.Void{}).Err(t.Context()), core.ErrNodeLost)
	get(t, core.Call(t.Context(), actors[3], (*probe).Ping, core.Void{}))
	nothingIsLeft(t, sys)                                                             // the stopped process was ended, so it holds nothing
	require.NoError(t, sys.Shutdown(bounded(t)), "nothing is left of it to wait for") // or it would have had to be killed
}

func TestAStoppedNodeIsLostAlsoWhenItsControlStreamIsFull(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2), core.Heartbeat(20*time.Millisecond, 400*time.Millisecond))
	coretest.StopNode(t, sys, 1)
	failed := make(chan error, 2)
	for range cap(failed) {
		go func() {
			_, err := probes.Spawn(t.Context(), sys, 2, setup{Padding: ones(20 << 10)})
			failed <- err
		}()
	}
	for range cap(failed) {
		require.ErrorIs(t, <-failed, core.ErrNodeLost)
	}
	spawn(t, sys, 2)
}

func TestRequestsToAStoppedNodeEndWithTheirContext(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2), core.Heartbeat(20*time.Millisecond, 2*time.Second))
	actors := spawn(t, sys, 2)
	coretest.StopNode(t, sys, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, actors[0].Kill(ctx), context.DeadlineExceeded)
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := core.Call(ctx, actors[0], (*probe).Ping, core.Void{}).Get(t.Context())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	// A Spawn that is given up waits until it is known what becomes of its actors.
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = probes.Spawn(ctx, sys, 2, setup{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	get(t, core.Call(t.Context(), actors[1], (*probe).Ping, core.Void{}))
}

func TestANodeThatDoesNotReadBlocksNobodyForLongerThanTheirContext(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	actors := spawn(t, sys, 2)
	coretest.StopNode(t, sys, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	x := ones(core.InlineMax/4 - 100)
	var refs []*core.Ref[float64]
	for ctx.Err() == nil { // until the link takes no more, and then until the context ends
		refs = append(refs, core.Call(ctx, actors[0], (*probe).Sum, x))
	}
	require.Greater(t, len(refs), 100)
	for _, ref := range refs[10:] { // it may have answered the first before it came to a stop
		require.ErrorIs(t, ref.Err(bounded(t)), context.DeadlineExceeded)
	}
	get(t, core.Call(t.Context(), actors[1], (*probe).Sum, x))
}

func TestShutdownWithAStoppedNodeKeepsToItsContext(t *testing.T) {
	sys, err := core.Start(t.Context(), core.LocalNodes(3))
	require.NoError(t, err)
	coretest.StopNode(t, sys, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err = sys.Shutdown(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "node 2")
	require.Empty(t, sessionDirs(t))
	requireEnded(t, sys)
}

// A node that is lost once the shutdown has begun is ended, and not waited for like one that was asked to end.
func TestANodeThatIsLostAmidAShutdownIsEnded(t *testing.T) {
	sys, err := core.Start(t.Context(), core.LocalNodes(3), core.Heartbeat(20*time.Millisecond, 200*time.Millisecond))
	require.NoError(t, err)
	coretest.StopNode(t, sys, 2)
	require.NoError(t, sys.Shutdown(bounded(t)))
	require.Empty(t, sessionDirs(t))
	requireEnded(t, sys)
}

// requireEnded checks that the processes of a system's nodes are no more.
func requireEnded(t *testing.T, sys *core.System) {
	t.Helper()
	d := &driver{}
	for _, n := range sys.Nodes() {
		d.nodes = append(d.nodes, n.PID)
	}
	require.Zero(t, d.alive())
}

func TestShutdownWithAStubbornMethodKeepsToItsContext(t *testing.T) {
	for name, opt := range map[string]core.Option{"in process": core.InProcess(2), "processes": core.LocalNodes(2)} {
		t.Run(name, func(t *testing.T) {
			sys, err := core.Start(t.Context(), opt)
			require.NoError(t, err)
			actors := spawn(t, sys, 2, core.Concurrency(2))
			stubborn := core.Call(t.Context(), actors[0], (*probe).Stubborn, 2*time.Second)
			eventually(t, "it runs", func() bool {
				return get(t, core.Call(t.Context(), actors[0], (*probe).Counts, core.Void{})).Started == 1
			})
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			err = sys.Shutdown(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded) // nil, had it waited for the method
			require.ErrorIs(t, stubborn.Err(t.Context()), core.ErrClosed)
			require.Empty(t, sessionDirs(t))
			if name == "processes" {
				requireEnded(t, sys)
			}
		})
	}
}

func TestStartingAndShuttingDownLeavesNothing(t *testing.T) {
	leakcheck.Check(t)
	for i := range 20 {
		opt := core.InProcess(2)
		if i%4 == 0 {
			opt = core.LocalNodes(2)
		}
		sys, err := core.Start(t.Context(), opt)
		require.NoError(t, err)
		actors := spawn(t, sys, 4)
		s := submit(t.Context(), t, actors, (*probe).Echo, ones(large))
		require.NoError(t, s.Wait(bounded(t), 4))
		core.Call(t.Context(), actors[0], (*probe).Block, core.Void{})
		require.NoError(t, sys.Shutdown(bounded(t)))
		require.Empty(t, sessionDirs(t))
	}
}

func TestAViewThatWasNotReleasedEndsWithTheSystem(t *testing.T) {
	leakcheck.Check(t)
	sys, err := core.Start(t.Context())
	require.NoError(t, err)
	ref, err := core.Put(t.Context(), sys, ones(large))
	require.NoError(t, err)
	require.Len(t, get(t, ref), large)
	require.NoError(t, sys.Shutdown(bounded(t)))
	_, err = ref.Get(t.Context())
	require.ErrorIs(t, err, core.ErrClosed)
	ref.Release()
}

func TestTwoSystemsLiveInOneProcess(t *testing.T) {
	one := coretest.Start(t, core.LocalNodes(2))
	two := coretest.Start(t, core.LocalNodes(2))
	three := coretest.Start(t, core.InProcess(2))
	require.Len(t, sessionDirs(t), 3)
	all := map[*core.System][]*core.Handle[*probe]{}
	for i, sys := range []*core.System{one, two, three} {
		all[sys] = spawn(t, sys, i+2)
	}
	coretest.KillNode(t, one, 1)
	for _, sys := range []*core.System{two, three} {
		for i, a := range all[sys] {
			require.Equal(t, 1, get(t, core.Call(t.Context(), a, (*probe).Append, i)))
			require.Equal(t, []int{i}, get(t, core.Call(t.Context(), a, (*probe).Log, core.Void{})))
		}
	}
	get(t, core.Call(t.Context(), all[one][1], (*probe).Ping, core.Void{}))
	_, err := core.NewTargets(append(all[one], all[two]...))
	require.ErrorIs(t, err, core.ErrMixed)
}

func TestCallsShutdownsAndDeathsMayMeet(t *testing.T) {
	for range 5 {
		sys, err := core.Start(t.Context(), core.LocalNodes(2))
		require.NoError(t, err)
		actors := spawn(t, sys, 8)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				err := core.Call(t.Context(), actors[0], (*probe).Sum, ones(large)).Err(t.Context())
				if errors.Is(err, core.ErrClosed) {
					return
				}
				if err != nil && !errors.Is(err, core.ErrNodeLost) {
					t.Error(err)
				}
			}
		}()
		coretest.KillNode(t, sys, 1)
		require.NoError(t, sys.Shutdown(bounded(t)))
		<-done
	}
}
