// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestMain(m *testing.M) { coretest.Main(m) }

func TestBenchPrintsALineForEachPoint(t *testing.T) {
	for _, tc := range []struct {
		args  string
		lines int
	}{
		{"bench collectives -in goroutines -members 3 -seconds 0.001 -sizes 4,1KiB", 5 + 12*2*2},
		{"bench collectives -members 2 -seconds 0.001 -sizes 64KiB -operations broadcast,reduce,allgather -buffers reused -shared", 4 + 3},
	} {
		text, err := tutti(strings.Fields(tc.args)...)
		require.NoError(t, err)
		assert.Equal(t, tc.lines, strings.Count(text, "\n")-1, text)
		assert.Contains(t, text, "busbw GB/s")
	}
	text, err := tutti(strings.Fields("bench collectives -in goroutines -members 2 -limit 1ns -sizes 4 -buffers reused")...)
	require.NoError(t, err)
	assert.Equal(t, 13, strings.Count(text, "left out: 1ns were over"))
	text, err = tutti(strings.Fields("bench collectives -in goroutines -members 2 -memory 1MiB -sizes 4,1MiB -operations allreduce -buffers reused")...)
	require.NoError(t, err)
	assert.Equal(t, 1, strings.Count(text, "left out: the buffers of its 2 members"))
	assert.Contains(t, text, "would take 2 MiB, and may take 1\n")
}

func TestBenchMeasuresNodesThatHaveJoined(t *testing.T) {
	m, err := parseBench(strings.Fields("-in nodes -operations barrier,allreduce -sizes 4 -seconds 0.001"), nil)
	require.NoError(t, err)
	sys := coretest.Start(t, core.LocalNodes(4), core.SimulatedHosts(2))
	var out strings.Builder
	require.NoError(t, m.measure(t.Context(), sys, &out))
	assert.Contains(t, out.String(), "# 4 members, 4 nodes, 2 hosts\n")
	assert.Contains(t, out.String(), "allreduce       fresh            4  ")
}

func TestWrongCallsOfBenchAreRefused(t *testing.T) {
	for args, want := range map[string]string{
		"bench":                                 "tutti bench collectives",
		"bench core":                            "tutti bench collectives",
		"bench collectives now":                 `what is ["now"]`,
		"bench collectives -members -1":         "--members is -1, want 1 to 1048576",
		"bench collectives -in threads":         `want processes, goroutines or nodes, not "threads"`,
		"bench collectives -rounds 1000":        "1000 rounds",
		"bench collectives -memory 0":           "want more than nothing",
		"bench collectives -memory much":        "want a size such as",
		"bench collectives -sizes 5":            "multiple of 4 bytes",
		"bench collectives -operations scan":    "want some of barrier",
		"bench collectives -limit -1s -sizes 4": "a limit of -1s",
		"bench collectives -buffers new,reused": "want some of reused, fresh",
	} {
		_, err := tutti(strings.Fields(args)...)
		require.ErrorIs(t, err, errUsage, args)
		require.ErrorContains(t, err, want, args)
	}
	text, err := tutti("bench", "collectives", "-h")
	require.ErrorIs(t, err, flag.ErrHelp)
	assert.Contains(t, text, "TUTTI_WAIT_NODES")
}
