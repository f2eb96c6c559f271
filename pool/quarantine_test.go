// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/pool"
)

func TestQuarantineBeginsAndEndsWithTheSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys, err := core.Start(t.Context(), core.InProcess(2))
		require.NoError(t, err)
		defer func() { require.NoError(t, sys.Shutdown(context.WithoutCancel(t.Context()))) }()
		p, h := poolOn(t, sys, 2, pool.Quarantine(time.Hour))
		defer p.Close()
		start := time.Now()
		// Node 1 is silent from second 10 to second 30.
		pool.WatchSilence(p, func() []core.NodeInfo {
			now := time.Since(start)
			n := core.NodeInfo{ID: h[0].Node()}
			if now >= 10*time.Second && now < 30*time.Second {
				n.Silent = now - 10*time.Second
			}
			return []core.NodeInfo{n, {ID: h[1].Node()}}
		}, 4*time.Second)
		served := func() map[core.ActorID]int {
			ids := map[core.ActorID]int{}
			for range 4 {
				id, err := pool.Submit(t.Context(), p, (*worker).Self, core.Void{}).Get(t.Context())
				require.NoError(t, err)
				ids[id]++
			}
			return ids
		}
		both := map[core.ActorID]int{h[0].ID(): 2, h[1].ID(): 2}
		at := func(d time.Duration) { time.Sleep(d - time.Since(start)) }
		at(13500 * time.Millisecond)
		require.Equal(t, both, served(), "silent for less than 4 s")
		at(15500 * time.Millisecond)
		require.Equal(t, map[core.ActorID]int{h[1].ID(): 4}, served())
		at(29500 * time.Millisecond)
		require.Equal(t, map[core.ActorID]int{h[1].ID(): 4}, served())
		at(31500 * time.Millisecond)
		require.Equal(t, both, served(), "heard of again")
	})
}

func TestWaitingCallsGoOutWhenTheSilenceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys, err := core.Start(t.Context(), core.InProcess(1))
		require.NoError(t, err)
		defer func() { require.NoError(t, sys.Shutdown(context.WithoutCancel(t.Context()))) }()
		p, _ := poolOn(t, sys, 1, pool.Quarantine(time.Hour))
		defer p.Close()
		start := time.Now()
		pool.WatchSilence(p, func() []core.NodeInfo {
			if time.Since(start) < 30*time.Second {
				return []core.NodeInfo{{ID: 1, Silent: time.Minute}}
			}
			return []core.NodeInfo{{ID: 1}}
		}, 4*time.Second)
		time.Sleep(2 * time.Second)
		ref := pool.Submit(t.Context(), p, (*worker).Echo, 7)
		require.NoError(t, ref.Err(t.Context()))
		require.Equal(t, 30*time.Second, time.Since(start))
	})
}
