// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package batch_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// A node is lost amid batches to actors that may be made anew: each slot tells what became of its call, calls that are idempotent
// run on the other node, and later batches reach all actors.
func TestABatchToActorsOfALostNodeThatAreMadeAnew(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	actors, err := workers.Spawn(t.Context(), sys, 6, core.Void{}, core.Restarts(1)) // with the number -1, so that BlockOdd blocks
	require.NoError(t, err)
	r := batch.New(actors)
	blocked, err := batch.Call(t.Context(), r, (*worker).BlockOdd, core.Void{})
	require.NoError(t, err)
	plain, err := batch.Call(t.Context(), r, (*worker).Sum, ones(3))
	require.NoError(t, err)
	marked, err := batch.Call(t.Context(), r, (*worker).Sum, ones(4), batch.Idempotent)
	require.NoError(t, err)
	var gone []bool
	for _, a := range actors {
		gone = append(gone, a.Node() == 1)
	}
	coretest.KillNode(t, sys, 1)
	for i := range actors {
		if gone[i] {
			for _, err := range []error{blocked.At(i).Err(bounded(t)), plain.At(i).Err(bounded(t))} {
				require.ErrorIs(t, err, core.ErrNodeLost)
				require.ErrorIs(t, err, core.ErrMadeAnew)
			}
			sum, err := marked.At(i).Get(bounded(t))
			require.NoError(t, err, "it goes on elsewhere")
			require.InDelta(t, 4, sum, 0)
		}
	}
	blocked.Cancel()
	for i := range actors {
		if !gone[i] {
			require.ErrorIs(t, blocked.At(i).Err(bounded(t)), context.Canceled)
			require.NoError(t, plain.At(i).Err(bounded(t)), "others are unaffected")
			require.NoError(t, marked.At(i).Err(bounded(t)))
		}
	}
	later, err := batch.Call(t.Context(), r, (*worker).Sum, ones(5))
	require.NoError(t, err)
	sums, err := later.Get(bounded(t))
	require.NoError(t, err)
	require.Equal(t, []float64{5, 5, 5, 5, 5, 5}, sums)
}
