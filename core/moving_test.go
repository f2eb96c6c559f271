// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package core_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// Handles, names, Targets that were made before and configurations of both sizes go on working when a node is lost.
func TestActorsOfALostNodeAreMadeAnewElsewhere(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(3))
	unleaked(t, sys)
	for i, n := range []int{small, large} {
		lost := uint32(i + 1)
		actors, err := probes.Spawn(t.Context(), sys, 9, setup{Padding: ones(n)}, core.Restarts(2))
		require.NoError(t, err)
		boss, err := probes.Spawn(t.Context(), sys, 1, setup{}, core.Named("boss"), core.Restarts(1), core.OnNodes(lost, 3))
		require.NoError(t, err)
		targets, err := core.NewTargets(actors)
		require.NoError(t, err)
		pids := map[int]bool{}
		coretest.KillNode(t, sys, lost)

		s, err := core.Submit(bounded(t), targets, (*probe).SumKept, core.Void{})
		require.NoError(t, err, "it waits until the actors are there")
		require.NoError(t, s.Wait(bounded(t), len(actors)))
		for i, a := range actors {
			require.NoError(t, s.Err(i))
			require.Equal(t, a.ID(), s.Actor(i))
			require.InDelta(t, n, get(t, core.RefAt[float64](s, i)), 0)
			require.NotEqual(t, lost, a.Node())
			require.Equal(t, a.Node(), targets.Node(i))
			pids[get(t, core.Call(bounded(t), a, (*probe).PID, core.Void{}))] = true
		}
		require.Len(t, pids, 2-i, "spread over all nodes that are left")
		found, err := core.Lookup[*probe](t.Context(), sys, "boss")
		require.NoError(t, err)
		require.Equal(t, boss[0].ID(), found.ID())
		get(t, core.Call(bounded(t), found, (*probe).Ping, core.Void{}))
		if boss[0].ID().Node() == lost {
			require.Equal(t, uint32(3), found.Node())
			require.Contains(t, sys.Actors(), core.ActorInfo{ID: found.ID(), Node: 3, Kind: "probe", Name: "boss"})
		}
		require.Len(t, sys.Actors(), 10)
		for _, a := range append(actors, found) {
			require.NoError(t, a.Kill(bounded(t)))
			require.ErrorIs(t, core.Call(bounded(t), a, (*probe).Ping, core.Void{}).Err(bounded(t)), core.ErrActorDead, "killed is killed")
		}
		require.Empty(t, sys.Actors())
	}
}

// What was under way when the node was lost fails, unless it is idempotent.
func TestCallsOnALostNodeGoOnElsewhereIfTheyAreIdempotent(t *testing.T) {
	for _, n := range []int{small, large} {
		sys := coretest.Start(t, core.LocalNodes(2))
		unleaked(t, sys)
		actors := spawn(t, sys, 4, core.Restarts(1), core.Concurrency(3), core.OnNodes(2, 1)) // the first two live on node 2
		targets, err := core.NewTargets(actors)
		require.NoError(t, err)
		plain := submit(t.Context(), t, actors, (*probe).BlockOn, ones(n))
		cancelled, cancel := context.WithCancel(t.Context())
		blocked, err := core.Submit(cancelled, targets, (*probe).BlockOn, ones(n), core.Idempotent())
		require.NoError(t, err)
		for _, a := range actors {
			eventually(t, "both run", func() bool { return get(t, core.Call(t.Context(), a, (*probe).Counts, core.Void{})).Started == 2 })
		}
		made, err := core.Submit(t.Context(), targets, (*probe).Slow, n, core.Idempotent())
		require.NoError(t, err)
		coretest.KillNode(t, sys, 2)

		require.NoError(t, plain.Wait(bounded(t), 2))
		for i, a := range actors {
			if i >= 2 {
				require.NoError(t, plain.Err(i), "others are unaffected")
				continue
			}
			require.ErrorIs(t, plain.Err(i), core.ErrNodeLost)
			require.ErrorIs(t, plain.Err(i), core.ErrMadeAnew)
			require.False(t, core.Gone(plain.Err(i)))
			eventually(t, "the marked one runs again", func() bool {
				return get(t, core.Call(bounded(t), a, (*probe).Counts, core.Void{})).Started == 1
			})
			require.Equal(t, uint32(1), a.Node())
		}
		_, done := blocked.Completed(0)
		require.False(t, done)
		require.NoError(t, made.Wait(bounded(t), 4))
		for i := range actors {
			require.Len(t, get(t, core.RefAt[[]byte](made, i)), n, "results arrive, also such as stay on the other node")
		}
		cancel()
		plain.Cancel(context.Canceled)
		require.NoError(t, blocked.Wait(bounded(t), 4))
		for i, a := range actors {
			require.ErrorIs(t, blocked.Err(i), context.Canceled)
			eventually(t, "its heirs are cancelled with it", func() bool {
				c := get(t, core.Call(bounded(t), a, (*probe).Counts, core.Void{}))
				return c.Started == c.Ended
			})
		}
		made.Release()
	}
}

// An actor whose restarts are used up, or that may live on no node that is left, is gone with its node: its name is free.
func TestActorsThatAreNotMadeAnewAreGone(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	unleaked(t, sys)
	spent, err := probes.Spawn(t.Context(), sys, 1, setup{}, core.Named("spent"), core.Restarts(1), core.OnNodes(2))
	require.NoError(t, err)
	bound, err := probes.Spawn(t.Context(), sys, 1, setup{Padding: ones(large)}, core.Named("bound"), core.Restarts(9), core.OnNodes(2))
	require.NoError(t, err)
	plain, err := probes.Spawn(t.Context(), sys, 1, setup{}, core.Named("plain"), core.OnNodes(2))
	require.NoError(t, err)
	require.Error(t, core.Call(t.Context(), spent[0], (*probe).Panic, "on purpose").Err(bounded(t)))
	get(t, core.Call(t.Context(), spent[0], (*probe).Ping, core.Void{}))
	coretest.KillNode(t, sys, 2)
	for _, a := range []*core.Handle[*probe]{spent[0], bound[0], plain[0]} {
		err := core.Call(t.Context(), a, (*probe).Ping, core.Void{}).Err(bounded(t))
		require.ErrorIs(t, err, core.ErrNodeLost)
		require.True(t, core.Gone(err))
		require.NoError(t, a.Kill(bounded(t)))
	}
	require.Empty(t, sys.Actors())
	for _, name := range []string{"spent", "bound", "plain"} {
		_, err := core.Lookup[*probe](t.Context(), sys, name)
		require.ErrorIs(t, err, core.ErrNoName)
		one(t, sys, core.Named(name))
	}
}

// The driver knows that an actor has used its restarts up when its last call has failed.
func TestTheDriverHearsOfDeaths(t *testing.T) {
	eachSystem(t, 1, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		for range 3 {
			a := one(t, sys, core.Named("boss"), core.Restarts(1))
			require.Error(t, core.Call(t.Context(), a, (*probe).Panic, "on purpose").Err(bounded(t)))
			get(t, core.Call(t.Context(), a, (*probe).Ping, core.Void{}))
			require.Len(t, sys.Actors(), 1)
			require.Error(t, core.Call(t.Context(), a, (*probe).Panic, "once too often").Err(bounded(t)))
			require.Empty(t, sys.Actors())
			_, err := core.Lookup[*probe](t.Context(), sys, "boss")
			require.ErrorIs(t, err, core.ErrNoName)
			targets, err := core.NewTargets([]*core.Handle[*probe]{a})
			require.NoError(t, err)
			require.ErrorIs(t, targets.Check(), core.ErrActorDead)
			require.ErrorIs(t, core.Call(t.Context(), a, (*probe).Ping, core.Void{}).Err(bounded(t)), core.ErrActorDead)
		}
	})
}

// Nodes are lost one behind the other, also while what they had is on its way to the next.
func TestActorsOutliveManyNodes(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(5))
	unleaked(t, sys)
	actors := spawn(t, sys, 40, core.Restarts(4))
	targets, err := core.NewTargets(actors)
	require.NoError(t, err)
	slow, err := core.Submit(t.Context(), targets, (*probe).Slow, small, core.Idempotent())
	require.NoError(t, err)
	for node := range uint32(4) {
		coretest.KillNode(t, sys, node+1)
	}
	require.NoError(t, slow.Wait(bounded(t), len(actors)))
	for i, a := range actors {
		require.NoError(t, slow.Err(i))
		get(t, core.Call(bounded(t), a, (*probe).Ping, core.Void{}))
		require.Equal(t, uint32(5), a.Node())
	}
	coretest.KillNode(t, sys, 5)
	require.ErrorIs(t, core.Call(bounded(t), actors[0], (*probe).Ping, core.Void{}).Err(bounded(t)), core.ErrNodeLost)
	require.Empty(t, sys.Actors())
}

// Whoever calls while the new node does not answer waits as long as it likes, and what it has called is sent nowhere.
func TestCallsWaitWhileAnActorMoves(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(3), core.Heartbeat(100*time.Millisecond, time.Second))
	actors := spawn(t, sys, 1, core.Restarts(2), core.OnNodes(1, 2, 3))
	spawn(t, sys, 1, core.OnNodes(3)) // so that the next home is node 2
	coretest.StopNode(t, sys, 2)
	coretest.KillNode(t, sys, 1)
	eventually(t, "it is moved", func() bool { return actors[0].Node() != 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, core.Call(ctx, actors[0], (*probe).Ping, core.Void{}).Err(bounded(t)), context.Canceled)
	get(t, core.Call(bounded(t), actors[0], (*probe).Ping, core.Void{}))
	require.Equal(t, uint32(3), actors[0].Node(), "node 2 was lost before it had it")
	require.Error(t, core.Call(t.Context(), actors[0], (*probe).Panic, "the second death").Err(bounded(t)))
	get(t, core.Call(bounded(t), actors[0], (*probe).Ping, core.Void{}))
}

// A call that waits for an actor to be made anew ends with the system, though its context does not.
func TestCallsThatWaitForAnActorThatMovesEndWithTheSystem(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	a := one(t, sys, core.OnNodes(1, 2), core.Restarts(2))
	home := a.Node()
	stopped := sys.Nodes()[2-home]
	coretest.StopNode(t, sys, stopped.ID) // which does not answer when it is to make the actor
	coretest.KillNode(t, sys, home)
	eventually(t, "it is moved", func() bool { return a.Node() != home })
	waits := make(chan error, 1)
	go func() {
		waits <- core.Call(context.WithoutCancel(t.Context()), a, (*probe).Ping, core.Void{}).Err(bounded(t))
	}()
	ended := make(chan error, 1)
	go func() { ended <- sys.Shutdown(bounded(t)) }()
	require.ErrorIs(t, <-waits, core.ErrClosed)
	require.NoError(t, syscall.Kill(stopped.PID, syscall.SIGCONT))
	require.NoError(t, <-ended)
}
