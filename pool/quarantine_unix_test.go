// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pool_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/pool"
)

// quarantined returns how many members of a pool are in quarantine.
func quarantined(p *pool.Pool[*worker]) int {
	n := 0
	for _, m := range p.Stats().Members {
		if m.Quarantined {
			n++
		}
	}
	return n
}

func TestStoppedNodeGetsNoCallsUntilItGoesOn(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2), core.Heartbeat(20*time.Millisecond, time.Minute))
	p, h := poolOn(t, sys, 4, pool.Quarantine(100*time.Millisecond))
	stopped := h[0].Node()
	coretest.StopNode(t, sys, stopped)
	require.Eventually(t, func() bool { return quarantined(p) == 2 }, 10*time.Second, time.Millisecond)
	for id, err := range pool.Map(t.Context(), p, (*worker).Self, repeat(core.Void{}, 200)) {
		require.NoError(t, err)
		require.NotEqual(t, stopped, id.Node())
	}
	require.Equal(t, 4, p.Len(), "nobody is lost")
	require.NoError(t, syscall.Kill(sys.Nodes()[stopped-1].PID, syscall.SIGCONT))
	require.Eventually(t, func() bool { return quarantined(p) == 0 }, 10*time.Second, time.Millisecond)
	served := map[uint32]bool{}
	for id, err := range pool.Map(t.Context(), p, (*worker).Self, repeat(core.Void{}, 200)) {
		require.NoError(t, err)
		served[id.Node()] = true
	}
	require.Len(t, served, 2)
}

func TestCallsWaitWhileAllNodesAreSilent(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(1), core.Heartbeat(20*time.Millisecond, time.Minute))
	p, h := poolOn(t, sys, 1, pool.Quarantine(60*time.Millisecond))
	coretest.StopNode(t, sys, h[0].Node())
	require.Eventually(t, func() bool { return quarantined(p) == 1 }, 10*time.Second, time.Millisecond)
	ref := pool.Submit(t.Context(), p, (*worker).Echo, 7)
	require.Equal(t, 1, p.Stats().Waiting)
	require.False(t, p.HasFree())
	require.Nil(t, p.PopIdle())
	require.NoError(t, syscall.Kill(sys.Nodes()[0].PID, syscall.SIGCONT))
	v, err := ref.Get(t.Context())
	require.NoError(t, err)
	require.Equal(t, 7, v)
}

func TestSilentNodeThatIsLostTakesItsWaitingCallsAlong(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(1), core.Heartbeat(20*time.Millisecond, 400*time.Millisecond))
	p, h := poolOn(t, sys, 1, pool.Quarantine(60*time.Millisecond))
	coretest.StopNode(t, sys, h[0].Node())
	require.Eventually(t, func() bool { return quarantined(p) == 1 }, 10*time.Second, time.Millisecond)
	ref := pool.Submit(t.Context(), p, (*worker).Echo, 7)
	require.ErrorIs(t, ref.Err(t.Context()), core.ErrNoActors, "nothing waits for ever")
}

func TestQuarantineMustBePositive(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	_, err := pool.New(spawn(t, sys, 1), pool.Quarantine(0))
	require.ErrorIs(t, err, core.ErrInvalid)
}
