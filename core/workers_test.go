// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// However many methods block, compute or have ended their goroutines, a call to another actor of the node runs.
func TestNoMethodHoldsUpOtherActors(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	blocked := spawn(t, sys, 500)
	targets, err := core.NewTargets(blocked)
	require.NoError(t, err)
	block, err := core.Submit(t.Context(), targets, (*probe).Block, core.Void{}, core.FailFast)
	require.NoError(t, err)
	busy := spawn(t, sys, 4*runtime.GOMAXPROCS(0)) // each computes until it is cancelled, for nobody meets it
	targets, err = core.NewTargets(busy)
	require.NoError(t, err)
	meet, err := core.Submit(t.Context(), targets, (*probe).Meet, 1000, core.FailFast)
	require.NoError(t, err)

	other := spawn(t, sys, 1)[0]
	for range 20 {
		_, err := core.Call(bounded(t), other, (*probe).Goexit, core.Void{}).Get(bounded(t))
		require.ErrorContains(t, err, "Goexit")
		_, err = core.Call(bounded(t), other, (*probe).Ping, core.Void{}).Get(bounded(t))
		require.NoError(t, err)
	}
	for _, s := range []*core.Slots{block, meet} {
		_, ok := s.Completed(0)
		require.False(t, ok, "they go on")
		s.Cancel(errors.New("enough"))
		require.NoError(t, s.Wait(bounded(t), s.Len()))
	}
}

// A node keeps a few goroutines for calls to come, not as many as there were at once.
func TestGoroutinesOfACrowdAreNotKept(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	targets, err := core.NewTargets(spawn(t, sys, 500))
	require.NoError(t, err)
	before := runtime.NumGoroutine()
	block, err := core.Submit(t.Context(), targets, (*probe).Block, core.Void{}, core.FailFast)
	require.NoError(t, err)
	eventually(t, "all run at once", func() bool { return runtime.NumGoroutine() >= 500 }) // before may count some that were ending
	block.Cancel(errors.New("enough"))
	eventually(t, "most have ended", func() bool { return runtime.NumGoroutine() <= before+100 })
	s, err := core.Submit(t.Context(), targets, (*probe).Ping, core.Void{}, core.FailFast)
	require.NoError(t, err)
	require.NoError(t, s.Wait(bounded(t), s.Len()))
	eventually(t, "the crowd of the second call has ended, too", func() bool { return runtime.NumGoroutine() <= before+100 })
}
