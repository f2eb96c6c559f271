// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestMain(m *testing.M) { coretest.Main(m) }

// Every member checks its data at every point, so that a line means that it was right.
func TestEveryOperationIsMeasured(t *testing.T) {
	p := plan{operations: operations(), sizes: []int{4, 4096}, modes: []string{"reused", "fresh"}}
	for name, nodes := range map[string]core.Option{"processes": core.LocalNodes(3), "goroutines": core.InProcess(1)} {
		t.Run(name, func(t *testing.T) {
			sys := coretest.Start(t, nodes)
			var out bytes.Buffer
			require.NoError(t, measure(t.Context(), sys, name, 3, p, &out))
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			require.Len(t, lines, 8*2*2+1)
			for _, text := range lines {
				l, err := parseLine(text)
				require.NoError(t, err)
				assert.Equal(t, text, l.String())
				assert.Equal(t, 3, l.members)
				assert.Equal(t, 2, l.rounds)
				assert.LessOrEqual(t, l.least, l.mean)
				assert.LessOrEqual(t, l.mean, l.most)
				assert.Positive(t, l.span)
			}
		})
	}
}

func TestWrongDataIsFound(t *testing.T) {
	for _, op := range operations()[:8] {
		s := shapeOf(op, 64, 0, 4)
		out := make([]float32, s.out)
		for i := range out {
			out[i] = expected(op, i, 0, 4, s.block)
		}
		require.NoError(t, check(op, s, out, 0, 4))
		out[s.checked-1]++
		require.ErrorContains(t, check(op, s, out, 0, 4), "at rank 0 is")
	}
	assert.Equal(t, shape{1, 4, 1, 1}, shapeOf("reduce-scatter", 4, 3, 4), "a block has an element at least")
	assert.Equal(t, shape{16, 0, 16, 0}, shapeOf("reduce", 64, 1, 4))
}

func TestTimingsOfAllMembersBecomeOneLine(t *testing.T) {
	l := summary([]Timing{
		{Begins: []int64{1000, 11000, 21000}, Ends: []int64{3000, 14000, 22000}},
		{Begins: []int64{2000, 10000, 21000}, Ends: []int64{4000, 13000, 30000}},
	})
	assert.Equal(t, line{rounds: 3, least: 2, mean: 3.3333333333333335, most: 4.666666666666667, span: 4}, l)
	l = line{operation: "allreduce", bytes: 1 << 20, members: 4, span: 1000}
	algorithm, bus := l.rate()
	assert.InDelta(t, 1.048576, algorithm, 1e-9)
	assert.InDelta(t, 1.048576*1.5, bus, 1e-9)
}

// script is a library whose program is a script of the shell.
func script(name, text string) contender {
	return contender{name: name, commands: func(string, string, int, plan) ([][]string, error) {
		return [][]string{{"sh", "-c", text}}, nil
	}}
}

func TestALibraryThatHangsOrFailsOrIsNotHereKeepsNobodyFromBeingMeasured(t *testing.T) {
	_, c, err := parse([]string{"-members", "2", "-sizes", "4,64", "-operations", "allreduce", "-modes", "reused", "-timeout", "1s", "-out", t.TempDir(), "-peers", t.TempDir()})
	require.NoError(t, err)
	var out, progress bytes.Buffer
	require.NoError(t, c.compare(t.Context(), []contender{
		script("tutti-processes", "echo tutti-processes,default,allreduce,4,reused,2,9,1,2,3,4"),
		script("openmpi", "echo openmpi,default,allreduce,4,reused,2,9,5,6,7,8; echo out of luck >&2; exit 3"),
		script("mpich", "echo mpich,default,allreduce,4,reused,2,9,1,2,3,10; sleep 1000 & sleep 1000"),
		{name: "gloo", compiler: "no-such-compiler", packages: "one two"},
		script("tutti-goroutines", "echo nonsense"),
	}, &out, &progress))
	for _, want := range []string{
		"openmpi, 2 members: ended after 1 points: sh: exit status 3: out of luck",
		"mpich, 2 members: ended after 1 points: it took longer than 1s",
		"gloo: not measured: no-such-compiler is not here: apt-get install one two",
		`tutti-goroutines, 2 members: ended after 0 points: "nonsense" has 1 fields, want 11`,
		"the best MPI over tutti-processes, 2 members, reused buffers\n  bytes                   4        64\n  allreduce            2.00          \n",
		"         4  mpich             default                 1.0        2.0        3.0          10.0       0.000       0.000    2.50\n",
	} {
		assert.Contains(t, out.String(), want)
	}
	assert.Contains(t, progress.String(), "gloo: not measured")
	for _, name := range []string{"collectives.txt", "collectives.csv", "collectives-raw.txt", "collectives-2.svg"} {
		text, err := os.ReadFile(filepath.Join(c.out, name))
		require.NoError(t, err)
		assert.NotEmpty(t, text)
	}
}

func TestACompilerThatFailsIsNamedInOneLine(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.c"), nil, 0o600))
	c := contender{name: "x", compiler: "false", source: "x.c", packages: "libx-dev"}
	require.EqualError(t, c.prepare(t.Context(), dir, dir), "false: exit status 1: : apt-get install libx-dev")
	c.source = "y.c"
	require.ErrorIs(t, c.prepare(t.Context(), dir, dir), os.ErrNotExist)
}

func TestWhenOneProcessFailsAllEnd(t *testing.T) {
	began := time.Now()
	err := together(context.Background(), [][]string{{"sleep", "1000"}, {"false"}}, io.Discard)
	require.EqualError(t, err, "false: exit status 1: ")
	assert.Less(t, time.Since(began), 500*time.Second)
}

func TestFlagsAreChecked(t *testing.T) {
	for want, args := range map[string][]string{
		`-sizes: "6": want a multiple of 4, at least 4`:       {"-sizes", "4,6"},
		`-members: "0": want a multiple of 1, at least 1`:     {"-members", "0"},
		`-modes: "old": want some of reused, fresh`:           {"-modes", "old"},
		`-libraries: "nccl": want some of tutti-processes`:    {"-libraries", "nccl"},
		`-way: "threads": want some of processes, goroutines`: {"-way", "threads"},
		`-operations: "scan": want some of allreduce`:         {"-operations", "scan"},
	} {
		_, _, err := parse(args)
		require.ErrorContains(t, err, want)
	}
	_, c, err := parse([]string{"-memory", "1000", "-sizes", "4,64,128", "-members", "8"})
	require.NoError(t, err)
	assert.Equal(t, []int{4}, c.fitting(8))
	assert.Equal(t, []int{4, 64}, c.fitting(7))
}
