// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
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
	require.Eventually(t, func() bool { return sys.Stats().Calls == n }, 10*time.Second, time.Millisecond)
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
