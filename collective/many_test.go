// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective_test

import (
	"context"
	"math/bits"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/collective"
	"github.com/tutti-go/tutti/collective/flight"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// Connections returns how many other nodes the member's node is connected to.
func (m *member) Connections(ctx context.Context, name string) (int, error) {
	g, err := collective.FromContext(ctx, name)
	if err != nil {
		return 0, err
	}
	return g.Connections(), nil
}

// A group of processes is ready within one batch call, and opens the connections that its schedules take and no others.
// TUTTI_PROCESSES=400 is the size that is promised; make group-400 prints its figures.
func TestGroupOfManyProcesses(t *testing.T) {
	n := 16
	if text := os.Getenv("TUTTI_PROCESSES"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	start := time.Now()
	sys := coretest.Start(t, core.LocalNodes(n))
	actors := spawn(t, sys, n)
	up := time.Since(start)

	count := func() (total int) {
		refs, err := batch.Call(t.Context(), batch.New(actors), (*member).Connections, "g")
		require.NoError(t, err)
		counts, err := refs.Get(t.Context())
		require.NoError(t, err)
		for _, c := range counts {
			total += c
		}
		return total
	}
	start = time.Now()
	_, err := collective.NewGroup(t.Context(), "g", actors)
	require.NoError(t, err)
	ready := time.Since(start)
	require.Equal(t, n, count(), "none but those to the driver")

	start = time.Now()
	for _, op := range []string{"barrier", "sum", "broadcast", "reduce", "all-gather"} {
		_, err = run(t, actors, Task{Group: "g", Op: op, Length: 1000, Odd: -1})
		require.NoError(t, err)
	}
	first := time.Since(start)
	total := (count() - n) / 2 // each is seen from both ends
	bound := n * bits.Len(uint(n-1)) * 2
	t.Logf("%d processes up in %v; the group ready in %v; five first operations in %v; %d connections between members, bound %d, a mesh has %d",
		n, up.Round(time.Millisecond), ready.Round(time.Millisecond), first.Round(time.Millisecond), total, bound, n*(n-1)/2)
	require.LessOrEqual(t, total, bound)
	if os.Getenv("TUTTI_PROCESSES") != "" {
		require.Less(t, ready, 2*time.Second)
	}
}

// What a member did last can be read when its process was killed, and shows who differs.
func TestTheRecordOfAKilledMemberIsReadable(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(collective.EnvFlight, dir)
	sys := coretest.Start(t, core.LocalNodes(3))
	actors := spawn(t, sys, 6)
	_, err := collective.NewGroup(t.Context(), "g", actors)
	require.NoError(t, err)
	_, err = run(t, actors, Task{Group: "g", Op: "sum", Length: 100, Odd: -1})
	require.NoError(t, err)
	refs, err := batch.Call(t.Context(), batch.New(actors[:4]), (*member).Run, Task{Group: "g", Op: "barrier", Odd: -1})
	require.NoError(t, err)
	timer := time.NewTimer(200 * time.Millisecond)
	<-timer.C
	coretest.KillNode(t, sys, 3)
	_, err = refs.Get(t.Context())
	require.Error(t, err)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	logs, err := flight.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, logs, 6)
	text := flight.Analyze(logs)[0].String()
	require.Contains(t, text, "the members differ first in operation 2 (of 2)")
	require.Contains(t, text, "ranks 0-3: Barrier")
	require.Contains(t, text, "ranks 4-5: has not called it")
}

// The root's memory is that of another process, if the system lets members read it.
func TestLongBlocksAreScatteredBetweenProcesses(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(3))
	actors := spawn(t, sys, 5)
	_, err := collective.NewGroup(t.Context(), "g", actors)
	require.NoError(t, err)
	for root := range actors {
		_, err = run(t, actors, Task{Group: "g", Op: "scatter", Length: 100_000, Root: root, Odd: -1})
		require.NoError(t, err)
	}
}

func TestBlocksOfAnyLengthAreExchangedBetweenProcesses(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(3))
	actors := spawn(t, sys, 6)
	_, err := collective.NewGroup(t.Context(), "g", actors)
	require.NoError(t, err)
	for _, length := range []int{0, 50, 5000, 300_000, 50} {
		_, err = run(t, actors, Task{Group: "g", Op: "uneven-all-to-all", Length: length, Odd: -1})
		require.NoError(t, err)
	}
}
