// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/benchmark"
	"github.com/tutti-go/tutti/collective/schedule"
)

func tutti(args ...string) (string, error) {
	var out bytes.Buffer
	err := dispatch(args, &out)
	return out.String(), err
}

func TestHelpListsEveryCommand(t *testing.T) {
	for _, args := range [][]string{nil, {"help"}, {"-h"}} {
		text, err := tutti(args...)
		require.NoError(t, err)
		for _, c := range commands() {
			assert.Contains(t, text, c.name)
		}
	}
	text, err := tutti("sim", "-h")
	require.ErrorIs(t, err, flag.ErrHelp)
	assert.Contains(t, text, "-oversubscription")
	text, err = tutti("version")
	require.NoError(t, err)
	assert.Contains(t, text, "go1.")
}

func TestSimPrintsEveryAlgorithmAndWhatWasSimulated(t *testing.T) {
	for op := schedule.AllReduce; op <= schedule.AllToAll; op++ {
		text, err := tutti("sim", op.String(), "--ranks", "37", "--size", "64KiB", "--net", "25gbit,20us", "--root", "5")
		require.NoError(t, err, "%v", op)
		for _, a := range schedule.Algorithms(op) {
			assert.Contains(t, text, a.Name)
		}
		assert.Contains(t, text, "completed after")
	}
	text, err := tutti("sim", "allreduce", "--ranks", "64", "--size", "1MB", "--algorithm", "ring", "--per-rack", "16", "--oversubscription", "4")
	require.NoError(t, err)
	assert.Contains(t, text, "* ring: named by --algorithm")
	assert.Contains(t, text, "between racks")
	assert.Contains(t, text, "bus bandwidth")
}

func TestSimTellsOfFaults(t *testing.T) {
	text, err := tutti("sim", "allreduce", "--ranks", "20", "--fail", "3=10us")
	require.NoError(t, err)
	assert.Contains(t, text, "19 survivors wait for ever")
	text, err = tutti("sim", "allreduce", "--ranks", "20", "--fail", "3=10us", "--detect", "1s", "--late", "1=1ms", "--slow", "2=3")
	require.NoError(t, err)
	assert.Contains(t, text, "know of the failure after 1.0")
	text, err = tutti("sim", "alltoall", "--ranks", "5000", "--size", "1GiB", "--algorithm", "pairwise")
	require.NoError(t, err)
	assert.Contains(t, text, "too many to simulate one by one")
}

func TestWrongArgumentsAreNamed(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"dance", `no command "dance"`},
		{"version now", "no arguments"},
		{"sim", `no operation ""`},
		{"sim allpass", `no operation "allpass"`},
		{"sim allreduce --ranks 0", "--ranks is 0"},
		{"sim allreduce --root 400", "--root is 400, want 0 to 399"},
		{"sim allreduce --size 5parsec", `not "5parsec"`},
		{"sim allreduce --size -5", `not "-5"`},
		{"sim allreduce --net 25gbit", `not "25gbit"`},
		{"sim allreduce --net fast,20us", `not "fast,20us"`},
		{"sim allreduce --net 25gbit,-20us", `not "25gbit,-20us"`},
		{"sim allreduce --algorithm bruck", `all-reduce has no algorithm "bruck", only circulant`},
		{"sim allreduce --cores -1", "Cores is -1"},
		{"sim allreduce --late 3", `not "3"`},
		{"sim allreduce --fail 3=soon", `not "soon"`},
		{"sim allreduce --slow 3=0", `not "0"`},
		{"sim allreduce now", "now"},
		{"sim allreduce --speed 3", "speed"},
	} {
		_, err := tutti(strings.Fields(tc.args)...)
		require.ErrorIs(t, err, errUsage, tc.args)
		require.ErrorContains(t, err, tc.want, tc.args)
	}
}

func TestSizesAndNetworks(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "8": 8, "8B": 8, "64KiB": 65536, "1mb": 1e6, "1GiB": 1 << 30} {
		got, err := benchmark.ParseSize(text)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	var l schedule.Link
	require.NoError(t, parseNet("25gbit,20us", &l))
	assert.Equal(t, schedule.Link{Latency: 20 * time.Microsecond, PerByte: 0.32}, l)
	require.NoError(t, parseNet("100Mbit,1ms,7us", &l))
	assert.Equal(t, schedule.Link{Latency: time.Millisecond, Overhead: 7 * time.Microsecond, PerByte: 80}, l)
}

func FuzzUnits(f *testing.F) {
	for _, text := range []string{"64MiB", "25gbit,20us", "25gbit,20us,5us", "7=10ms", "7=2.5", "", "=", "9999999999999999999GiB", "1e300gbit,1h"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := benchmark.ParseSize(text); err == nil {
			require.GreaterOrEqual(t, n, 0)
		}
		m := schedule.Model{}
		if parseNet(text, &m.Network) == nil {
			require.NoError(t, m.Validate())
		}
		var late map[int]time.Duration
		if durations(&late)(text) == nil {
			require.Len(t, late, 1)
		}
		var slow map[int]float64
		if factors(&slow)(text) == nil {
			require.Len(t, slow, 1)
		}
	})
}
