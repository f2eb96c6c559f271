// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// eachWorld runs a test with nodes on several hosts, in this process and in processes of their own.
func eachWorld(t *testing.T, nodes, hosts int, test func(t *testing.T, sys *core.System)) {
	t.Run("in process", func(t *testing.T) { test(t, coretest.Start(t, core.InProcess(nodes), core.SimulatedHosts(hosts))) })
	t.Run("processes", func(t *testing.T) { test(t, coretest.Start(t, core.LocalNodes(nodes), core.SimulatedHosts(hosts))) })
}

func TestArgumentsReachActorsOfOtherHosts(t *testing.T) {
	eachWorld(t, 4, 2, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		actors := spawn(t, sys, 8)
		for _, n := range []int{0, small, large, 5 << 20} {
			s := submit(t.Context(), t, actors, (*probe).Sum, ones(n))
			require.NoError(t, s.Wait(bounded(t), s.Len()))
			for i := range s.Len() {
				sum, err := core.ValueAt[float64](t.Context(), s, i)
				require.NoError(t, err)
				require.InDelta(t, float64(n), sum, 0)
			}
		}
		ref, err := core.Put(t.Context(), sys, ones(large))
		require.NoError(t, err)
		for _, a := range actors {
			require.InDelta(t, large, get(t, core.CallRef(t.Context(), a, (*probe).Sum, ref)), 0)
		}
		ref.Release()
	})
}

func TestAnArgumentOfItsOwnForEveryActorOfOtherHosts(t *testing.T) {
	eachWorld(t, 4, 4, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		actors := spawn(t, sys, 8)
		ins := make([][]float32, len(actors))
		for i := range ins {
			ins[i] = ones(large + i)
		}
		s, err := core.SubmitEach(t.Context(), mustTargets(t, actors...), (*probe).Sum, ins, core.FailFast)
		require.NoError(t, err)
		require.NoError(t, s.Wait(bounded(t), s.Len()))
		for i := range ins {
			sum, err := core.ValueAt[float64](t.Context(), s, i)
			require.NoError(t, err)
			require.InDelta(t, float64(large+i), sum, 0)
		}
	})
}

func TestConfigurationsReachOtherHosts(t *testing.T) {
	eachWorld(t, 3, 3, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		actors, err := probes.Spawn(t.Context(), sys, 6, setup{Padding: ones(large)})
		require.NoError(t, err)
		for _, a := range actors {
			require.InDelta(t, large, get(t, core.Call(t.Context(), a, (*probe).SumKept, core.Void{})), 0)
		}
		for _, a := range actors {
			require.NoError(t, a.Kill(t.Context()))
			_, err := core.Call(t.Context(), a, (*probe).Ping, core.Void{}).Get(bounded(t))
			require.ErrorIs(t, err, core.ErrActorDead)
		}
	})
}

func TestResultsOfOtherHostsAreBroughtHereAndPassedOn(t *testing.T) {
	eachWorld(t, 3, 3, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		actors := spawn(t, sys, 3)
		for _, n := range []int{1, 1 << 20, 9<<20 + 1} {
			ref := core.Call(t.Context(), actors[1], (*probe).Make, n)
			for range 2 {
				require.Len(t, get(t, ref), n)
			}
			for _, a := range actors { // here, on its own host, and on a third
				require.Equal(t, n, get(t, core.CallRef(t.Context(), a, (*probe).Length, ref)))
			}
			got := get(t, ref)
			for i := range got {
				if got[i] != byte(i) {
					t.Fatalf("byte %d of %d is %d", i, n, got[i])
				}
			}
			ref.Release()
		}
	})
}

func TestAReleasedObjectIsLostOnAllHosts(t *testing.T) {
	eachWorld(t, 2, 2, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		actors := spawn(t, sys, 2)
		ref := core.Call(t.Context(), actors[1], (*probe).Make, 1<<20)
		require.Len(t, get(t, ref), 1<<20)
		ref.Release()
		_, err := ref.Get(bounded(t))
		require.ErrorIs(t, err, core.ErrObjectLost)
	})
}

func TestResultsOfAHostThatDiedAreLostByName(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(3), core.SimulatedHosts(3))
	actors := spawn(t, sys, 3)
	ref := core.Call(t.Context(), actors[1], (*probe).Make, 1<<20)
	require.NoError(t, ref.Err(bounded(t)))
	coretest.KillNode(t, sys, actors[1].Node())
	_, err := ref.Get(bounded(t))
	require.ErrorIs(t, err, core.ErrObjectLost)
	_, err = core.CallRef(t.Context(), actors[2], (*probe).Length, ref).Get(bounded(t))
	require.ErrorIs(t, err, core.ErrObjectLost)
	require.Equal(t, 5, get(t, core.CallRef(t.Context(), actors[2], (*probe).Length, core.Call(t.Context(), actors[0], (*probe).Make, 5))))
}

// The fetch under way is ended by the death of the host that it comes from, and by the context of who waits.
func TestAFetchFromAHostThatStopsEnds(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2), core.SimulatedHosts(2), core.Heartbeat(20*time.Millisecond, 400*time.Millisecond))
	actors := spawn(t, sys, 2)
	ref := core.Call(t.Context(), actors[1], (*probe).Make, 1<<20)
	require.NoError(t, ref.Err(bounded(t)))
	coretest.StopNode(t, sys, actors[1].Node())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := ref.Get(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = ref.Get(bounded(t))
	require.ErrorIs(t, err, core.ErrObjectLost)
}

func TestAStoreWithoutRoomForACopySaysSo(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(4), core.SimulatedHosts(4), core.StoreLimit(24<<20))
	actors := spawn(t, sys, 4)
	var refs []*core.Ref[[]byte]
	for _, a := range actors[1:] { // each copy makes room for the next
		ref := core.Call(t.Context(), a, (*probe).Make, 10<<20)
		require.Len(t, get(t, ref), 10<<20)
		refs = append(refs, ref)
	}
	put, err := core.Put(t.Context(), sys, make([]byte, 20<<20))
	require.NoError(t, err, "so does what is put")
	_, err = refs[0].Get(bounded(t))
	require.ErrorIs(t, err, core.ErrNoSpace)
	put.Release()
	for _, ref := range refs {
		require.Len(t, get(t, ref), 10<<20)
	}
}
