// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestNamedActorsAreFound(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	a := one(t, sys, core.Named("boss"))
	get(t, core.Call(t.Context(), a, (*probe).Append, 7))
	b, err := core.Lookup[*probe](t.Context(), sys, "boss")
	require.NoError(t, err)
	require.Equal(t, a.ID(), b.ID())
	require.Equal(t, []int{7}, get(t, core.Call(t.Context(), b, (*probe).Log, core.Void{})))
	require.Contains(t, sys.Actors(), core.ActorInfo{ID: a.ID(), Node: a.Node(), Kind: "probe", Name: "boss"})

	_, err = core.Lookup[pinger](t.Context(), sys, "boss")
	require.ErrorIs(t, err, core.ErrInvalid)
	require.ErrorContains(t, err, `is of kind "probe", of *core_test.probe, not core_test.pinger`)
	_, err = core.Lookup[*probe](t.Context(), sys, "nobody")
	require.ErrorIs(t, err, core.ErrNoName)
	_, err = leftPingers.Spawn(t.Context(), sys, 1, core.Void{}, core.Named("boss"))
	require.ErrorIs(t, err, core.ErrNameTaken)
	require.ErrorContains(t, err, `"boss", by actor `+a.ID().String()+` of kind "probe"`)
	require.Equal(t, 1, sys.Stats().Actors)

	require.NoError(t, a.Kill(t.Context()))
	_, err = core.Lookup[*probe](t.Context(), sys, "boss")
	require.ErrorIs(t, err, core.ErrNoName)
	c := one(t, sys, core.Named("boss"))
	require.NotEqual(t, a.ID(), c.ID())
}

func TestNamesOfWhatWasNotMadeAreFree(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	_, err := probes.Spawn(t.Context(), sys, 1, setup{Fail: "on purpose"}, core.Named("x"))
	require.Error(t, err)
	a := one(t, sys, core.Named("x"), core.OnNodes(2))
	require.Equal(t, uint32(2), a.Node())
	coretest.KillNode(t, sys, 2)
	one(t, sys, core.Named("x"))
	for _, name := range []string{"", strings.Repeat("x", 257)} {
		_, err = probes.Spawn(t.Context(), sys, 1, setup{}, core.Named(name))
		require.ErrorIs(t, err, core.ErrInvalid)
	}
	_, err = probes.Spawn(t.Context(), sys, 2, setup{}, core.Named("y"))
	require.ErrorIs(t, err, core.ErrInvalid)
}

func TestPlacement(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(3))
	nodes := func(n int, opts ...core.SpawnOption) (on []uint32) {
		for _, a := range spawn(t, sys, n, opts...) {
			on = append(on, a.Node())
		}
		return on
	}
	require.Equal(t, []uint32{1, 2, 3}, nodes(3))
	require.Equal(t, []uint32{1, 1, 1, 1}, nodes(4, core.Pack))
	require.Equal(t, []uint32{2, 2}, nodes(2, core.Pack), "where there are fewest")
	require.Equal(t, []uint32{3, 3, 1, 1}, nodes(4, core.OnNodes(3, 1)))
	require.Equal(t, []uint32{1, 2, 3}, nodes(3, core.Pack, core.Spread), "the last one counts")
	for _, bad := range []core.SpawnOption{core.OnNodes(), core.OnNodes(9), core.OnNodes(1, 1), core.Placement(7), core.Restarts(-1)} {
		_, err := probes.Spawn(t.Context(), sys, 1, setup{}, bad)
		require.ErrorIs(t, err, core.ErrInvalid)
	}
	coretest.KillNode(t, sys, 2)
	_, err := probes.Spawn(t.Context(), sys, 1, setup{}, core.OnNodes(1, 2))
	require.ErrorIs(t, err, core.ErrNodeLost)
	require.Equal(t, []uint32{1, 3}, nodes(2))
}
