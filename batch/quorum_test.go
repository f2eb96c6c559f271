// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package batch_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestAQuorumOfValues(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	actors := spawn(t, sys, 10)
	r := batch.New(actors, batch.Quorum(10))
	refs, err := batch.Call(t.Context(), r, (*worker).BlockOdd, core.Void{})
	require.NoError(t, err)
	values, err := refs.Succeeded(bounded(t), 5)
	require.NoError(t, err)
	seen := map[int]int{}
	for _, v := range values {
		seen[v.Index] = v.Value
	}
	require.Equal(t, map[int]int{0: 0, 2: 2, 4: 4, 6: 6, 8: 8}, seen)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	values, err = refs.Succeeded(ctx, 6)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Len(t, values, 5)
	refs.Cancel()
	values, err = refs.Succeeded(bounded(t), 6)
	var failed *batch.Error
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed.Failures, 5)
	require.Len(t, values, 5)
	none, err := refs.Succeeded(bounded(t), 0)
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = refs.Succeeded(t.Context(), 11)
	require.ErrorIs(t, err, core.ErrInvalid)
	_, err = batch.Call(t.Context(), r, (*worker).Ping, core.Void{}, batch.Quorum(11))
	require.ErrorIs(t, err, core.ErrInvalid)
	_, err = batch.Call(t.Context(), r, (*worker).Ping, core.Void{}, batch.BestEffort)
	require.NoError(t, err, "what a call says goes before")
}

func TestACastIsNotAnswered(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, 10)
		r := batch.New(actors)
		refs, err := batch.Call(t.Context(), r, (*worker).SetNumber, 7, batch.NoReply)
		require.NoError(t, err)
		_, err = refs.Get(t.Context())
		require.NoError(t, err)
		refs2, err := batch.Call(t.Context(), r, (*worker).Number, core.Void{})
		require.NoError(t, err)
		numbers, err := refs2.Get(bounded(t))
		require.NoError(t, err)
		for _, n := range numbers {
			require.Equal(t, 7, n, "it ran before what was called later")
		}
	})
}
