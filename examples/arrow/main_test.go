// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestMain(m *testing.M) { coretest.Main(m) }

func TestArrowDataTravelsBothWays(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	handles, err := summers.Spawn(t.Context(), sys, 4, core.Void{})
	require.NoError(t, err)
	for _, rows := range []int{0, 10, 100_000} { // inside the message, and through the store
		q := Query{Column: 0, Rows: numbers(rows)}
		for _, h := range handles {
			sum, err := core.Call(t.Context(), h, (*Summer).Sum, q).Get(t.Context())
			require.NoError(t, err)
			require.InDelta(t, float64(rows)*float64(rows-1)/2, sum, 1)
			column, err := core.Call(t.Context(), h, (*Summer).Copy, q).Get(t.Context())
			require.NoError(t, err)
			require.True(t, array.Equal(q.Rows.Column(0), column))
			column.Release()
		}
		q.Rows.Release()
	}
	require.NoError(t, run(t.Context(), sys))
}

func TestAWrongColumnIsTheActorsOwnError(t *testing.T) {
	sys := coretest.Start(t)
	handles, err := summers.Spawn(t.Context(), sys, 1, core.Void{})
	require.NoError(t, err)
	q := Query{Column: 1, Rows: numbers(3)}
	defer q.Rows.Release()
	_, err = core.Call(t.Context(), handles[0], (*Summer).Sum, q).Get(t.Context())
	var own *core.ActorError
	require.ErrorAs(t, err, &own)
	require.NotEmpty(t, own.Stack, "Arrow panics on a column that is not there")
}
