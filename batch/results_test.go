// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package batch_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
)

// A slot is a reference like any other: inline or in the store, pending or complete, waited for alone or among others.
func TestASlotIsTheArgumentOfFurtherCalls(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, 4)
		r := batch.New(actors)
		for _, n := range []int{10, 1 << 20} { // inline, and in the store
			made, err := batch.Call(t.Context(), r, (*worker).Make, n)
			require.NoError(t, err)
			lengths, err := batch.CallRef(t.Context(), r, (*worker).Length, made.At(3))
			require.NoError(t, err)
			all, err := lengths.Get(bounded(t))
			require.NoError(t, err)
			require.Equal(t, []int{n, n, n, n}, all)
			require.NoError(t, core.CallRef(t.Context(), actors[0], (*worker).Length, made.At(0)).Err(bounded(t)))

			ready, rest, err := core.Wait(bounded(t), made.Refs(), 4)
			require.NoError(t, err)
			require.Len(t, ready, 4)
			require.Empty(t, rest)

			made.At(3).Release()
			_, err = made.At(3).Get(bounded(t))
			if n > core.InlineMax {
				require.ErrorIs(t, err, core.ErrObjectLost)
			}
			_, err = made.At(2).Get(bounded(t))
			require.NoError(t, err, "one slot's release is its own")
		}
		failed, err := batch.Call(t.Context(), r, (*worker).OnlyEven, core.Void{})
		require.NoError(t, err)
		_, err = batch.CallRef(t.Context(), r, (*worker).SetNumber, failed.At(1))
		require.ErrorContains(t, err, "odd", "the error of the call that should have made the argument")
	})
}

func TestErrWaitsAndLeavesValuesWhereTheyAre(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		r := batch.New(spawn(t, sys, 4))
		made, err := batch.Call(t.Context(), r, (*worker).Make, 1<<20)
		require.NoError(t, err)
		require.NoError(t, made.Err(bounded(t)))
		made.Release()
		failed, err := batch.Call(t.Context(), r, (*worker).OnlyEven, core.Void{})
		require.NoError(t, err)
		var some *batch.Error
		require.ErrorAs(t, failed.Err(bounded(t)), &some)
		require.Equal(t, 4, some.Total)
		require.ErrorContains(t, some.At(1), "odd")
		require.NoError(t, some.At(2))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		waiting, err := batch.Call(t.Context(), r, (*worker).BlockOdd, core.Void{})
		require.NoError(t, err)
		require.ErrorIs(t, waiting.Err(ctx), context.Canceled)
		waiting.Cancel()
		nothingIsLeft(t, sys)
	})
}
