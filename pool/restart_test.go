// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/pool"
)

// lastingPool is a pool of actors that may be made anew once.
func lastingPool(t *testing.T, sys *core.System, actors int, opts ...pool.Option) (*pool.Pool[*worker], []*core.Handle[*worker]) {
	t.Helper()
	handles, err := workers.Spawn(t.Context(), sys, actors, core.Void{}, core.Restarts(1))
	require.NoError(t, err)
	p, err := pool.New(handles, opts...)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p, handles
}

// doneBy returns how many calls every member has answered.
func doneBy[A any](p *pool.Pool[A]) map[core.ActorID]uint64 {
	done := map[core.ActorID]uint64{}
	for _, m := range p.Stats().Members {
		done[m.Actor] = m.Done
	}
	return done
}

// A node is killed amid a map over actors that may be made anew: none leaves the pool, all get work again, no idempotent item is
// lost, and of the others only those that were there.
func TestMapOverActorsThatAreMadeAnewElsewhere(t *testing.T) {
	for name, opts := range map[string][]pool.CallOption{"at most once": nil, "idempotent": {pool.Idempotent}} {
		t.Run(name, func(t *testing.T) {
			sys := coretest.Start(t, core.LocalNodes(3))
			p, h := lastingPool(t, sys, 12, pool.InFlight(2))
			const n, at = 3000, 500
			i, lost := 0, 0
			var before map[core.ActorID]uint64
			for v, err := range pool.Map(t.Context(), p, (*worker).Echo, count(n), opts...) {
				if err != nil {
					require.ErrorIs(t, err, core.ErrNodeLost)
					require.ErrorIs(t, err, core.ErrMadeAnew)
					lost++
				} else {
					require.Equal(t, i, v)
				}
				if i++; i == at {
					coretest.KillNode(t, sys, h[0].Node())
					before = doneBy(p)
				}
			}
			require.Equal(t, n, i)
			if opts == nil {
				require.LessOrEqual(t, lost, 4*2, "no more than were in flight there")
			} else {
				require.Zero(t, lost)
			}
			require.Equal(t, 12, p.Len())
			for id, done := range doneBy(p) {
				require.Greater(t, done, before[id], "%v has work where it is now", id)
			}
			for _, a := range h {
				require.NotEqual(t, uint32(1), a.Node())
			}
		})
	}
}

// Calls that run on a node when it is killed say what became of their actor, or go on elsewhere; those that wait for a member are not
// touched.
func TestCallsOfAPoolOnALostNodeWhoseActorsAreMadeAnew(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	p, h := lastingPool(t, sys, 2, pool.Queue(10))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	blocked := []*core.Ref[int]{pool.Submit(ctx, p, (*worker).Block, 0), pool.Submit(ctx, p, (*worker).Block, 1)}
	waiting := make([]*core.Ref[int], 10)
	for i := range waiting {
		waiting[i] = pool.Submit(t.Context(), p, (*worker).Echo, i)
	}
	awaitCalls(t, sys, 2)
	coretest.KillNode(t, sys, h[0].Node())
	ready, rest, err := core.Wait(t.Context(), blocked, 1)
	require.NoError(t, err)
	require.Len(t, rest, 1, "the other goes on")
	err = ready[0].Err(t.Context())
	require.ErrorIs(t, err, core.ErrNodeLost)
	require.ErrorIs(t, err, core.ErrMadeAnew)
	for i, r := range waiting { // by the actor that was made anew, for the other is busy
		v, err := r.Get(t.Context())
		require.NoError(t, err)
		require.Equal(t, i, v)
	}
	require.Equal(t, 2, p.Len())
	cancel()
	require.ErrorIs(t, rest[0].Err(t.Context()), context.Canceled)
}

// Nodes are killed one after the other, until none is left: members are made anew once, and leave the pool with their second death.
func TestAPoolOutlivesItsNodesAsLongAsItsActorsDo(t *testing.T) {
	const nodes, actors = 4, 12 // three actors on each node
	sys := coretest.Start(t, core.LocalNodes(nodes))
	p, _ := lastingPool(t, sys, actors, pool.InFlight(2))
	ctx, cancel := context.WithCancel(t.Context())
	var user sync.WaitGroup
	defer user.Wait()
	defer cancel()
	endless := func(yield func(int) bool) {
		i := 0
		for yield(i) {
			i++
		}
	}
	user.Go(func() {
		i := 0
		for v, err := range pool.Map(ctx, p, (*worker).Echo, endless, pool.Idempotent) {
			if ctx.Err() != nil {
				return
			}
			if err == nil && v != i {
				t.Errorf("item %d became %d", i, v)
			}
			if err != nil {
				t.Errorf("item %d: %v", i, err)
			}
			i++
		}
	})
	more := func() {
		before := p.Stats().Done
		require.Eventually(t, func() bool { return p.Stats().Done > before+500 }, 20*time.Second, time.Millisecond)
	}
	for node, most := range []int{actors, actors - 1, actors - 2} { // one of the first node's is on each of the others, and dies there
		more()
		coretest.KillNode(t, sys, uint32(node+1))
		more()
		require.Equal(t, len(sys.Actors()), p.Len())
		require.LessOrEqual(t, p.Len(), most)
		require.Positive(t, p.Len())
	}
	cancel()
	user.Wait()
	coretest.KillNode(t, sys, nodes)
	require.ErrorIs(t, pool.Submit(t.Context(), p, (*worker).Echo, 1).Err(t.Context()), core.ErrNoActors)
	require.Zero(t, p.Len())
}

// One of the nodes that take the actors of a lost one in is stopped: those that went to the other get calls meanwhile.
func TestAnActorThatIsMadeAnewDoesNotWaitForOneOnAStoppedNode(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(3))
	p, h := lastingPool(t, sys, 6, pool.Queue(20))
	first := h[0].Node()
	coretest.StopNode(t, sys, 3)
	coretest.KillNode(t, sys, first)
	var moved []core.ActorID
	for _, a := range h {
		if a.ID().Node() == first && a.Node() == 2 {
			moved = append(moved, a.ID())
		}
	}
	require.Len(t, moved, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range 20 { // three of them end up on, or on the way to, the node that is stopped
		pool.Submit(ctx, p, (*worker).Echo, i)
	}
	require.Eventually(t, func() bool { return doneBy(p)[moved[0]] > 0 }, 5*time.Second, time.Millisecond)
}
