// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestActorsAreSpreadInBlocks(t *testing.T) {
	eachSystem(t, 3, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, 7)
		nodes := make([]uint32, len(actors))
		for i, a := range actors {
			nodes[i] = a.Node()
			require.Equal(t, "probe", a.Kind())
			require.Same(t, sys, a.System())
			require.Equal(t, a.ID(), sys.Actors()[i].ID)
		}
		require.Equal(t, []uint32{1, 1, 2, 2, 3, 3, 3}, nodes)
		require.Equal(t, "3/2", actors[6].ID().String())
		var spread []int
		for _, n := range sys.Nodes() {
			require.True(t, n.Alive)
			spread = append(spread, n.Actors)
		}
		require.Equal(t, []int{2, 2, 3}, spread)
		require.Equal(t, 3, sys.Stats().Nodes)
		require.Equal(t, 7, sys.Stats().Actors)
		require.Equal(t, "probe", sys.Actors()[0].Kind)
		require.Equal(t, "probe", probes.Name())
	})
}

func TestNodesAreWhereTheyWereAskedFor(t *testing.T) {
	pids := func(sys *core.System) map[int]bool {
		set := map[int]bool{}
		for i, a := range spawn(t, sys, 3) {
			pid := get(t, core.Call(t.Context(), a, (*probe).PID, core.Void{}))
			require.Equal(t, sys.Nodes()[i].PID, pid)
			set[pid] = true
		}
		return set
	}
	require.Equal(t, map[int]bool{os.Getpid(): true}, pids(coretest.Start(t, core.InProcess(3))))
	processes := pids(coretest.Start(t, core.LocalNodes(3)))
	require.Len(t, processes, 3)
	require.NotContains(t, processes, os.Getpid())
}

func TestSpawnKeepsNothingIfAConstructorFails(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		for _, tt := range []struct {
			setup  setup
			failed int
			say    string
		}{
			{setup{Fail: "no luck"}, 6, "no luck"},
			{setup{Panic: "no luck"}, 6, "panicked: no luck"},
			{setup{Goexit: true}, 6, "runtime.Goexit"},
			{setup{Fail: t.Name(), Only: true}, 0, t.Name()}, // one on each process
		} {
			actors, err := probes.Spawn(bounded(t), sys, 6, tt.setup)
			require.Empty(t, actors)
			all, ok := errors.AsType[*core.SpawnError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, 6, all.Count)
			require.Equal(t, "probe", all.Kind)
			if tt.failed > 0 {
				require.Len(t, all.Failed, tt.failed)
			} else {
				require.NotEmpty(t, all.Failed)
				require.Less(t, len(all.Failed), 6)
			}
			require.ErrorContains(t, err, tt.say)
			_, own := errors.AsType[*core.ActorError](err)
			require.True(t, own)
			require.Zero(t, sys.Stats().Actors)
		}
		firsts.Clear()
		get(t, core.Call(t.Context(), spawn(t, sys, 4)[3], (*probe).Ping, core.Void{}))
	})
}

func TestASpawnThatIsGivenUpLeavesNothing(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		before := spawn(t, sys, 1)[0]
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		actors, err := probes.Spawn(ctx, sys, 4, setup{Wait: true})
		require.Empty(t, actors)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, sys.Stats().Actors)
		// The constructors of process nodes end because the actors were killed, and come to nothing.
		get(t, core.Call(t.Context(), before, (*probe).Ping, core.Void{}))
	})
}

func TestActorsByTheTenThousands(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	const n = 80_000 // on each node more than one request may kill
	actors := spawn(t, sys, n)
	s := submit(t.Context(), t, actors, (*probe).Ping, core.Void{})
	require.NoError(t, s.Wait(bounded(t), n))
	for i := range n {
		require.NoError(t, s.Err(i))
	}
	_, err := probes.Spawn(t.Context(), sys, n, setup{Fail: "all of them"})
	failed, ok := errors.AsType[*core.SpawnError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, n, failed.Count)
	require.Equal(t, n, sys.Stats().Actors)
	get(t, core.Call(t.Context(), actors[n-1], (*probe).Ping, core.Void{}))
}
