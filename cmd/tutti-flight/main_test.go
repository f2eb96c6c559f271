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
	differ, err := run([]string{"-v", dir}, &out)
	require.NoError(t, err)
	require.True(t, differ)
	for _, want := range []string{
		`group "dp" epoch 4, 3 members: the members differ first in operation 2 (of 2)`,
		"ranks 0-1: AllReduce(sum, int x 1) [00000008]: running", "rank 2: has not called it",
		`group "dp" epoch 4 rank 2:`, "not ended",
	} {
		assert.Contains(t, out.String(), want)
	}
}

func TestWrongCallsAreRefused(t *testing.T) {
	for _, args := range [][]string{nil, {"-x"}} {
		_, err := run(args, &strings.Builder{})
		require.ErrorIs(t, err, errUsage)
	}
	_, err := run([]string{"-h"}, &strings.Builder{})
	require.ErrorIs(t, err, flag.ErrHelp)
	_, err = run([]string{t.TempDir()}, &strings.Builder{})
	require.ErrorContains(t, err, "there are no records")
	_, err = run([]string{"/no/such/directory"}, &strings.Builder{})
	require.Error(t, err)
}
