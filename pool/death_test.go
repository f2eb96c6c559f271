// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/pool"
)

// awaitCalls waits until n calls were sent.
func awaitCalls(t *testing.T, sys *core.System, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return sys.Stats().Pending == n }, 10*time.Second, time.Millisecond)
}

func TestKilledActorIsTakenOutAndItsCallFails(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	p, h := poolOn(t, sys, 3)
	var refs []*core.Ref[int]
	for i := range 3 {
		refs = append(refs, pool.Submit(t.Context(), p, (*worker).Block, i))
	}
	awaitCalls(t, sys, 3)
	require.NoError(t, h[1].Kill(t.Context()))
	ready, rest, err := core.Wait(t.Context(), refs, 1)
	require.NoError(t, err)
	require.Len(t, rest, 2)
	require.ErrorIs(t, ready[0].Err(t.Context()), core.ErrActorDead)
	require.Equal(t, 2, p.Len())
	for _, m := range p.Stats().Members {
		require.NotEqual(t, h[1].ID(), m.Actor)
	}
}

func TestActorKnownToBeDeadCostsNoCall(t *testing.T) {
	p, h := newPool(t, 3)
	require.NoError(t, h[0].Kill(t.Context()))
	require.NoError(t, h[2].Kill(t.Context()))
	i := 0
	for v, err := range pool.Map(t.Context(), p, (*worker).Echo, count(50)) {
		require.NoError(t, err)
		require.Equal(t, i, v)
		i++
	}
	require.Equal(t, 50, i)
	require.Equal(t, 1, p.Len())
}

func TestBatchRemoteIsASnapshotOfTheLiving(t *testing.T) {
	p, h := newPool(t, 3)
	all := p.BatchRemote()
	require.NoError(t, h[1].Kill(t.Context()))
	left := p.BatchRemote(batch.BestEffort)
	require.Equal(t, 3, all.Len())
	require.Equal(t, 2, left.Len())
	refs, err := batch.Call(t.Context(), left, (*worker).Self, core.Void{})
	require.NoError(t, err)
	ids, err := refs.Get(t.Context())
	require.NoError(t, err)
	require.Equal(t, []core.ActorID{h[0].ID(), h[2].ID()}, ids)
	require.NoError(t, h[0].Kill(t.Context()))
	require.NoError(t, h[2].Kill(t.Context()))
	require.Zero(t, p.Len())
	_, err = batch.Call(t.Context(), p.BatchRemote(), (*worker).Self, core.Void{})
	require.ErrorIs(t, err, core.ErrNoActors)
}

func TestLostNodeTakesItsActorsAlong(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	p, h := poolOn(t, sys, 4, pool.Queue(8))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var refs []*core.Ref[int]
	for i := range 4 {
		refs = append(refs, pool.Submit(ctx, p, (*worker).Block, i))
	}
	waiting := pool.Submit(t.Context(), p, (*worker).Echo, 4)
	awaitCalls(t, sys, 4)
	coretest.KillNode(t, sys, h[0].Node())
	ready, rest, err := core.Wait(t.Context(), refs, 2)
	require.NoError(t, err)
	require.Len(t, ready, 2)
	require.Len(t, rest, 2)
	for _, r := range ready {
		require.ErrorIs(t, r.Err(t.Context()), core.ErrNodeLost)
	}
	require.Equal(t, 2, p.Len())
	cancel() // frees the others
	require.NoError(t, waiting.Err(t.Context()))
	for _, err := range pool.Map(t.Context(), p, (*worker).Echo, count(100)) {
		require.NoError(t, err)
	}
}

func TestMapDuringTheDeathOfANodeAccountsForEveryItem(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(3))
	p, h := poolOn(t, sys, 12, pool.InFlight(2))
	const n, at = 3000, 500
	i, lost := 0, 0
	for v, err := range pool.Map(t.Context(), p, (*worker).Echo, count(n)) {
		if err != nil {
			require.ErrorIs(t, err, core.ErrNodeLost)
			lost++
		} else {
			require.Equal(t, i, v)
		}
		if i++; i == at {
			coretest.KillNode(t, sys, h[0].Node())
		}
	}
	require.Equal(t, n, i)
	require.LessOrEqual(t, lost, 4*2, "no more than were in flight there")
	require.Equal(t, 8, p.Len())
}

func TestStoppedNodeHoldsUpNobodyElse(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2), core.Heartbeat(50*time.Millisecond, time.Second))
	p, h := poolOn(t, sys, 4)
	for _, err := range pool.Map(t.Context(), p, (*worker).Echo, count(100)) {
		require.NoError(t, err)
	}
	coretest.StopNode(t, sys, h[0].Node())
	done, lost := 0, 0
	for _, err := range pool.MapUnordered(t.Context(), p, (*worker).Echo, count(1000)) {
		if err == nil {
			done++
			continue
		}
		require.ErrorIs(t, err, core.ErrNodeLost)
		require.Greater(t, done, 500, "the others went on meanwhile")
		lost++
	}
	require.Equal(t, 1000, done+lost)
	require.LessOrEqual(t, lost, 2)
	require.Equal(t, 2, p.Len())
}

func TestCloseDoesNotWaitForAStoppedNode(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(1), core.Heartbeat(100*time.Millisecond, 2*time.Second))
	p, h := poolOn(t, sys, 1, pool.Queue(100))
	coretest.StopNode(t, sys, h[0].Node())
	var refs []*core.Ref[int]
	for range 100 { // far more than a link takes without being read
		refs = append(refs, pool.Submit(t.Context(), p, (*worker).Len, make([]byte, core.InlineMax/2)))
	}
	start := time.Now()
	p.Close()
	require.Less(t, time.Since(start), time.Second)
	for _, r := range refs {
		require.ErrorIs(t, r.Err(t.Context()), pool.ErrClosed)
	}
}

// TestNodesDieAtRandom kills node processes while users submit and map, until one is left.
func TestNodesDieAtRandom(t *testing.T) {
	const nodes = 5
	sys := coretest.Start(t, core.LocalNodes(nodes))
	p, _ := poolOn(t, sys, 4*nodes, pool.InFlight(3))
	rng := rand.New(rand.NewPCG(1, 1))
	var users sync.WaitGroup
	stop := make(chan struct{})
	for u := range 3 {
		users.Go(func() {
			opts := [][]pool.CallOption{nil, {pool.Idempotent}}[u%2]
			seq := func(yield func(int) bool) {
				for i := 0; yield(i); i++ {
					select {
					case <-stop:
						return
					default:
					}
				}
			}
			i := 0
			for v, err := range pool.Map(t.Context(), p, (*worker).Echo, seq, opts...) {
				switch {
				case err == nil && v != i:
					t.Errorf("item %d became %d", i, v)
				case err != nil && (len(opts) > 0 || !errors.Is(err, core.ErrNodeLost)):
					t.Errorf("item %d: %v", i, err)
				}
				i++
			}
		})
	}
	for _, n := range rng.Perm(nodes)[1:] {
		before := p.Stats().Done
		require.Eventually(t, func() bool { return p.Stats().Done > before+500 }, 20*time.Second, time.Millisecond)
		coretest.KillNode(t, sys, uint32(n+1))
	}
	before := p.Stats().Done
	require.Eventually(t, func() bool { return p.Stats().Done > before+500 }, 20*time.Second, time.Millisecond)
	close(stop)
	users.Wait()
	require.Equal(t, 4, p.Len())
	require.Zero(t, p.Stats().Waiting)
}

func TestNothingWaitsForAnActorWhenNoneIsLeft(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(1))
	p, h := poolOn(t, sys, 2, pool.Queue(10))
	var refs []*core.Ref[int]
	for i := range 10 {
		refs = append(refs, pool.Submit(t.Context(), p, (*worker).Block, i))
	}
	coretest.KillNode(t, sys, h[0].Node())
	lost := 0
	for _, r := range refs {
		switch err := r.Err(t.Context()); {
		case core.Gone(err):
			lost++
		default:
			require.ErrorIs(t, err, core.ErrNoActors)
		}
	}
	require.LessOrEqual(t, lost, 2)
	require.ErrorIs(t, pool.Submit(t.Context(), p, (*worker).Echo, 1).Err(t.Context()), core.ErrNoActors)
	n := 0
	for _, err := range pool.Map(t.Context(), p, (*worker).Echo, count(20)) {
		require.ErrorIs(t, err, core.ErrNoActors)
		n++
	}
	require.Equal(t, 20, n)
}

func TestActorThatIsMadeAnewStaysInThePool(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	h, err := workers.Spawn(t.Context(), sys, 1, core.Void{}, core.Restarts(1))
	require.NoError(t, err)
	p, err := pool.New(h, pool.InFlight(3), pool.Queue(8))
	require.NoError(t, err)
	defer p.Close()
	g, key := newGate(t, 1)
	dies := pool.Submit(t.Context(), p, (*worker).EnterAndPanic, key)
	waits := pool.Submit(t.Context(), p, (*worker).Echo, 1)
	again := pool.Submit(t.Context(), p, (*worker).Echo, 2, pool.Idempotent)
	g.await(1)
	awaitCalls(t, sys, 3)
	close(g.open)
	require.ErrorContains(t, dies.Err(t.Context()), "on purpose")
	if err := waits.Err(t.Context()); err != nil { // else it came when the actor had been made anew
		require.ErrorIs(t, err, core.ErrMadeAnew)
	}
	require.NoError(t, again.Err(t.Context()))
	require.Equal(t, 1, p.Len())
	require.NoError(t, pool.Submit(t.Context(), p, (*worker).Echo, 3).Err(t.Context()))
}

func TestBatchRemoteReportsTheDeadIfItIsTold(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	p, h := poolOn(t, sys, 3, pool.ReportDead())
	require.NoError(t, h[1].Kill(t.Context()))
	require.Equal(t, 2, p.Len())
	refs, err := batch.Call(t.Context(), p.BatchRemote(batch.BestEffort), (*worker).Self, core.Void{})
	require.NoError(t, err)
	ids, err := refs.Get(t.Context())
	require.ErrorIs(t, err, core.ErrActorDead)
	require.Equal(t, []core.ActorID{h[0].ID(), h[2].ID(), 0}, ids, "the dead come last")
	require.NotNil(t, p.PopIdle())
	require.Equal(t, 2, p.BatchRemote().Len(), "who was taken out is not dead")
}

func TestReplacedActorIsNotReported(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	p, h := poolOn(t, sys, 2, pool.ReportDead(), pool.Replace(func(ctx context.Context, gone []*core.Handle[*worker]) ([]*core.Handle[*worker], error) {
		return workers.Spawn(ctx, sys, len(gone), core.Void{})
	}))
	require.NoError(t, h[0].Kill(t.Context()))
	require.Equal(t, 1, p.Len())
	require.Eventually(t, func() bool { return p.Len() == 2 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 2, p.BatchRemote().Len())
}
