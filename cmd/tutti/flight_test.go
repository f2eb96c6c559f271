// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/flight"
)

func TestMembersThatDifferArePrinted(t *testing.T) {
	dir := t.TempDir()
	for rank := range 3 {
		r, err := flight.Create(dir, flight.Head{Group: "dp", ID: 1, Epoch: 4, Rank: rank, Size: 3})
		require.NoError(t, err)
		r.Begin(1, 7, "Barrier")
		r.End(flight.Done)
		if rank < 2 {
			r.Begin(2, 8, "AllReduce(sum, int x 1)")
		}
		require.NoError(t, r.Close(true))
	}
	var out strings.Builder
	require.ErrorIs(t, dispatch([]string{"flight", "-v", dir}, &out), errDiffer)
	for _, want := range []string{
		`group "dp" epoch 4, 3 members: the members differ first in operation 2 (of 2)`,
		"ranks 0-1: AllReduce(sum, int x 1) [00000008]: running", "rank 2: has not called it",
		`group "dp" epoch 4 rank 2:`, "not ended",
	} {
		assert.Contains(t, out.String(), want)
	}
}

func TestWrongCallsOfFlightAreRefused(t *testing.T) {
	for _, args := range [][]string{nil, {"-x"}} {
		require.ErrorIs(t, flightRecords(args, &strings.Builder{}), errUsage)
	}
	require.ErrorIs(t, flightRecords([]string{"-h"}, &strings.Builder{}), flag.ErrHelp)
	require.ErrorContains(t, flightRecords([]string{t.TempDir()}, &strings.Builder{}), "there are no records")
	require.Error(t, flightRecords([]string{"/no/such/directory"}, &strings.Builder{}))
}
