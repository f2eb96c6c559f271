// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestMain(m *testing.M) { coretest.Main(m) }

func TestEveryWayReachesAllActors(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	all, err := NewFleet(t.Context(), sys, 10)
	require.NoError(t, err)
	defer func() { require.NoError(t, all.Close()) }()
	always := map[string]Way{"Batch": (*Fleet).Batch, "LoopValue": (*Fleet).LoopValue, "LoopGRPC": (*Fleet).LoopGRPC}
	objects := map[string]Way{"LoopRef": (*Fleet).LoopRef, "LoopObject": (*Fleet).LoopObject, "BatchObject": (*Fleet).BatchObject}
	for _, f := range []*Fleet{all, all.Of(3)} {
		for _, size := range []int{0, 10, 200 << 10} {
			arg, err := f.NewArgument(t.Context(), size)
			require.NoError(t, err)
			for name, way := range always {
				c, err := way(f, t.Context(), arg)
				require.NoError(t, err, "%s with %d bytes", name, size)
				assert.Positive(t, c.Submit, name)
				assert.GreaterOrEqual(t, c.Complete, c.Submit, name)
			}
			for name, way := range objects {
				_, err := way(f, t.Context(), arg)
				if size == 0 {
					require.ErrorIs(t, err, errObject, name)
				} else {
					require.NoError(t, err, name)
				}
			}
			arg.Release()
		}
	}
}

func TestPartOfAFleetIsSpreadEvenly(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(4))
	handles, err := workers.Spawn(t.Context(), sys, 950, core.Void{})
	require.NoError(t, err)
	f := &Fleet{sys: sys, handles: handles}
	for _, n := range []int{1, 4, 50, 400, 949, 950} {
		part := f.Of(n)
		require.Equal(t, n, part.Len())
		ids, nodes := map[core.ActorID]bool{}, map[uint32]int{}
		for _, h := range part.handles {
			ids[h.ID()] = true
			nodes[h.Node()]++
		}
		assert.Len(t, ids, n, "no actor twice")
		for _, count := range nodes {
			assert.InDelta(t, float64(n)/4, count, 1)
		}
	}
}
