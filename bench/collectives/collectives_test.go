// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/benchmark"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestMain(m *testing.M) { coretest.Main(m) }

func TestOurWaysPrintALineForEachPoint(t *testing.T) {
	for _, tc := range []struct {
		way    string
		points int
	}{{"processes", 1 + 12*2}, {"goroutines", 1 + 12*2}, {"shared", 10 * 2}} {
		_, c, err := parse([]string{"-members", "2", "-sizes", "4", "-seconds", "0.001", "-way", tc.way})
		require.NoError(t, err)
		sys := coretest.Start(t, ways()[tc.way].nodes(2))
		var out bytes.Buffer
		require.NoError(t, c.measure(t.Context(), sys, tc.way, &out))
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		require.Equal(t, ready, lines[0])
		lines = lines[1:]
		require.Len(t, lines, tc.points)
		for _, text := range lines {
			r, err := benchmark.ParseResult(text)
			require.NoError(t, err)
			assert.Equal(t, "tutti-"+tc.way, r.Library)
		}
		require.NoError(t, sys.Shutdown(t.Context()))
	}
}

// script is a library whose program is a script of the shell.
func script(name, text string) contender {
	return contender{name: name, commands: func(string, string, int, benchmark.Plan) ([][]string, error) {
		return [][]string{{"sh", "-c", text}}, nil
	}}
}

func TestALibraryThatIsSlowOrFailsOrIsNotHereKeepsNobodyFromBeingMeasured(t *testing.T) {
	_, c, err := parse([]string{"-members", "2", "-sizes", "4,64", "-operations", "allreduce", "-buffers", "reused", "-limit", "1s", "-turns", "2", "-out", t.TempDir(), "-peers", t.TempDir()})
	require.NoError(t, err)
	var out, progress bytes.Buffer
	require.NoError(t, c.compare(t.Context(), []contender{
		script("tutti-processes", "echo ready; echo tutti-processes,default,allreduce,4,reused,2,9,1,2,3,4"),
		script("openmpi", "echo openmpi,default,allreduce,4,reused,2,9,5,6,7,8; echo out of luck >&2; exit 3"),
		script("mpich", "echo mpich,default,allreduce,4,reused,2,9,1,2,3,10; echo mpich,default,allreduce,64,reused,2,0,0,0,0,0"),
		{name: "gloo", compiler: "no-such-compiler", packages: "one two"},
		script("tutti-shared", "echo nonsense; echo more of it"),
		script("tutti-goroutines", "echo tutti-goroutines,default,allreduce,4,reused,2,9,1,2,3,2; echo ==== BAD; echo out of luck >&2; exit 3"),
	}, &out, &progress))
	for _, want := range []string{
		"# until all members had started and met: tutti-processes ",
		"# openmpi, 2 members: ended after 1 results: sh: exit status 3: out of luck\n",
		"# mpich, 2 members: left out, for 1s were over: allreduce of 64 B\n",
		"# gloo: not measured: no-such-compiler is not here: apt-get install one two\n",
		"# tutti-shared, 2 members: ended after 0 results: \"nonsense\" has 1 fields, want 11\n",
		"# tutti-goroutines, 2 members: ended after 1 results: sh: exit status 3: out of luck\n",
		"the best MPI over tutti-processes, 2 members, reused buffers\n  bytes                   4        64\n  allreduce            2.00          \n",
		"mpich             default                   4         9        1.0        2.0        3.0          10.0       0.000       0.000    2.50\n",
	} {
		assert.Contains(t, out.String(), want)
	}
	assert.Equal(t, 1, strings.Count(progress.String(), "gloo: not measured"))
	assert.Equal(t, 2, strings.Count(progress.String(), "tutti-processes, 2 members: 1 results"))
	assert.Equal(t, 1, strings.Count(out.String(), "# mpich, 2 members: left out"))
	for _, name := range []string{"collectives-2.txt", "collectives-2.csv", "collectives-2-allreduce.svg"} {
		text, err := os.ReadFile(filepath.Join(c.out, name))
		require.NoError(t, err)
		assert.NotEmpty(t, text)
	}
}

func TestSharedResultsStandBesideABarrier(t *testing.T) {
	_, c, err := parse([]string{"-sizes", "4,64", "-operations", "barrier,gather,scatter", "-buffers", "reused"})
	require.NoError(t, err)
	r := &report{config: c, count: 2}
	for _, line := range []string{
		"tutti-processes,default,barrier,0,reused,2,9,1,2,3,40",
		"tutti-shared,default,gather,4,reused,2,9,1,2,3,20",
		"tutti-shared,default,gather,64,reused,2,9,1,2,3,50",
	} {
		l, err := benchmark.ParseResult(line)
		require.NoError(t, err)
		r.results = append(r.results, l)
	}
	var out bytes.Buffer
	r.summary(&out)
	require.Equal(t, "\ntutti-shared over the barrier of tutti-processes, 2 members, reused buffers\n  bytes                   4        64\n"+
		"  barrier                            \n  gather               0.50      1.25\n  scatter                            \n", out.String())
}

func TestALibraryThatHangsIsEndedWithAllThatItStarted(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("it was ended"))
	defer cancel()
	began := time.Now()
	lib := script("mpich", "echo mpich,default,allreduce,4,reused,2,9,1,2,3,10; sleep 1000 & echo ====; sleep 1000")
	o, err := lib.run(ctx, t.TempDir(), 2, benchmark.Plan{}, time.Hour)
	require.EqualError(t, err, "it was ended")
	assert.Len(t, o.results, 1)
	assert.Less(t, time.Since(began), 500*time.Second)
}

func TestALibraryWhoseMembersDoNotMeetIsEnded(t *testing.T) {
	o, err := script("gloo", "sleep 1000").run(t.Context(), t.TempDir(), 2, benchmark.Plan{}, time.Millisecond)
	require.EqualError(t, err, "its members had not met after 1ms")
	assert.Zero(t, o.start)
	o, err = script("gloo", "echo ready; echo gloo,default,barrier,0,reused,2,9,1,2,3,10").run(t.Context(), t.TempDir(), 2, benchmark.Plan{}, time.Hour)
	require.NoError(t, err)
	assert.Positive(t, o.start)
	assert.Len(t, o.results, 1)
	assert.Equal(t, time.Minute, startTime(8))
	assert.Equal(t, 400*time.Second, startTime(400))
}

func TestWhatWasMeasuredBeforeTheEndIsKept(t *testing.T) {
	_, c, err := parse([]string{"-members", "2", "-sizes", "4", "-operations", "allreduce", "-buffers", "reused", "-out", t.TempDir(), "-peers", t.TempDir()})
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	libraries := []contender{
		script("tutti-processes", "echo tutti-processes,default,allreduce,4,reused,2,9,1,2,3,4"),
		{name: "gloo", commands: func(string, string, int, benchmark.Plan) ([][]string, error) {
			cancel(errors.New("enough"))
			return [][]string{{"sleep", "1000"}}, nil
		}},
	}
	require.ErrorContains(t, c.compare(ctx, libraries, io.Discard, io.Discard), "enough")
	text, err := os.ReadFile(filepath.Join(c.out, "collectives-2.txt"))
	require.NoError(t, err)
	assert.Contains(t, string(text), "# ended amid gloo: enough\n")
	assert.Contains(t, string(text), "\ntutti-processes   default")
}

func TestPointsThatTakeTooMuchAreNamed(t *testing.T) {
	_, c, err := parse([]string{"-memory", "4000", "-sizes", "4,64,128", "-buffers", "reused", "-operations", "barrier,allreduce,reduce,alltoall"})
	require.NoError(t, err)
	all := c.choice.Points()
	for members, want := range map[int]string{
		10: "", 20: "reduce of 128 B", 32: "allreduce of 128 B; reduce of 64 B, 128 B; alltoall of 4 B, 64 B, 128 B",
	} {
		assert.Equal(t, want, missing(all, c.fitting(all, members)), members)
	}

	patient, spinning := contender{}, contender{spins: true}
	points := benchmark.DefaultChoice().Points()
	left, why := restrain(patient, points, 10000)
	assert.Equal(t, points, left)
	assert.Empty(t, why)
	left, why = restrain(spinning, points, 1)
	assert.Equal(t, points, left)
	assert.Empty(t, why)
	left, why = restrain(spinning, points, 10000)
	assert.Len(t, left, 1+8*3)
	assert.Contains(t, why, "up to 64 KiB, reused buffers only")
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
		`-members: "0": want a number from 1 on`:                        {"-members", "0"},
		`"old": want some of reused, fresh`:                             {"-buffers", "old"},
		`-turns: 0: want 1 at least`:                                    {"-turns", "0"},
		`-libraries: "nccl": want some of tutti-processes`:              {"-libraries", "nccl"},
		`-way: "threads": want some of processes, shared, goroutines`:   {"-way", "threads"},
		`point "allreduce:4": want operation:bytes:buffers`:             {"-points", "allreduce:4"},
		`point "allreduce:4:old": buffers are "old", want fresh or reu`: {"-points", "barrier:0:reused,allreduce:4:old"},
	} {
		_, _, err := parse(args)
		require.ErrorContains(t, err, want)
	}
	all := benchmark.DefaultChoice().Points()
	way, c, err := parse(append([]string{"-way", "shared", "-points"}, arguments(benchmark.Plan{Points: all})[0]))
	require.NoError(t, err)
	assert.Equal(t, "shared", way)
	assert.Equal(t, all, c.points)
}
