// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestCastsCompleteOnSubmissionAndRun(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		actors := spawn(t, sys, 6)
		targets, err := core.NewTargets(actors)
		require.NoError(t, err)
		for i := range 10 {
			s, err := core.Submit(t.Context(), targets, (*probe).Append, i, core.NoReply())
			require.NoError(t, err)
			_, last := s.Completed(5)
			require.True(t, last, "complete when submitted")
			require.Zero(t, get(t, core.RefAt[int](s, 3)), "with the zero value")
		}
		for _, a := range actors {
			require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, get(t, core.Call(t.Context(), a, (*probe).Log, core.Void{})),
				"in the order of submission, before calls that came later")
		}
		require.Zero(t, sys.Stats().InFlight)
	})
}

func TestFailuresOfCastsAreCounted(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, 6)
		targets, err := core.NewTargets(actors)
		require.NoError(t, err)
		require.NoError(t, actors[5].Kill(t.Context()))
		_, err = core.Submit(t.Context(), targets, (*probe).Fail, "on purpose", core.NoReply())
		require.NoError(t, err)
		_, err = core.Submit(t.Context(), targets, (*probe).Ping, core.Void{}, core.NoReply())
		require.NoError(t, err)
		eventually(t, "all have ended", func() bool {
			stats, err := sys.NodeStats(t.Context())
			require.NoError(t, err)
			return stats[0].Casts == 6 && stats[0].CastsFailed == 3 && stats[1].Casts == 6 && stats[1].CastsFailed == 4
		})
	})
}

// An argument in the store outlasts a cast that has not run, and goes afterwards, even if a node is lost.
func TestArgumentsOfCastsOutlastThem(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	unleaked(t, sys)
	actors := spawn(t, sys, 4)
	for range 3 {
		targets, err := core.NewTargets(actors)
		require.NoError(t, err)
		blocked := submit(t.Context(), t, actors, (*probe).Stubborn, 1)
		s, err := core.Submit(t.Context(), targets, (*probe).Sum, ones(large), core.NoReply())
		require.NoError(t, err)
		require.NoError(t, s.Wait(t.Context(), 4))
		s.Cancel(t.Context().Err()) // too late to have an effect
		require.NoError(t, blocked.Wait(bounded(t), 4))
		ref, err := core.Put(t.Context(), sys, ones(large))
		require.NoError(t, err)
		_, err = core.SubmitRef(t.Context(), targets, (*probe).Sum, ref, core.NoReply())
		require.NoError(t, err)
		ref.Release()
		_, err = core.SubmitEach(t.Context(), targets, (*probe).Sum, [][]float32{ones(1), ones(large), nil, ones(large)}, core.NoReply())
		require.NoError(t, err)
	}
	eventually(t, "all have ended", func() bool {
		stats, err := sys.NodeStats(t.Context())
		require.NoError(t, err)
		require.Zero(t, stats[0].CastsFailed+stats[1].CastsFailed)
		return stats[0].Casts == 18 && stats[1].Casts == 18
	})
	coretest.StopNode(t, sys, 2)
	targets, err := core.NewTargets(actors)
	require.NoError(t, err)
	_, err = core.Submit(t.Context(), targets, (*probe).Sum, ones(large), core.NoReply())
	require.NoError(t, err)
	coretest.KillNode(t, sys, 2)
}

func TestQuorumOfSubmissions(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(3))
	actors := spawn(t, sys, 6)
	targets, err := core.NewTargets(actors)
	require.NoError(t, err)
	for _, m := range []int{0, 7} {
		_, err := core.Submit(t.Context(), targets, (*probe).Ping, core.Void{}, core.Quorum(m))
		require.ErrorIs(t, err, core.ErrInvalid)
	}
	coretest.KillNode(t, sys, 2)
	for m, want := range map[int]error{1: nil, 4: nil, 5: core.ErrNodeLost} {
		s, err := core.Submit(t.Context(), targets, (*probe).Ping, core.Void{}, core.Quorum(m))
		require.ErrorIs(t, err, want)
		if want != nil {
			require.ErrorContains(t, err, "submitted to 4 actors of 6, the quorum is 5: submit probe.Ping to node 2 (2 actors): ")
		}
		require.NoError(t, s.Wait(bounded(t), 6))
		for i, want := range []error{nil, nil, core.ErrNodeLost, core.ErrNodeLost, nil, nil} {
			require.ErrorIs(t, s.Err(i), want, "those that were submitted stay so")
		}
	}
	s, err := core.Submit(t.Context(), targets, (*probe).Ping, core.Void{}, core.Quorum(6), core.BestEffort)
	require.NoError(t, err, "the last policy counts")
	require.NoError(t, s.Wait(bounded(t), 6))
}
