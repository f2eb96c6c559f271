// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/collective"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// Batches and collectives over processes that have joined over TCP, two on each of three hosts on an address of its own.
func TestNodesThatHaveJoinedOverTCPWorkTogether(t *testing.T) {
	sys := coretest.StartHosts(t, 3, 2, core.FanOut(2))
	actors := spawn(t, sys, 12)
	g, err := collective.NewGroup(t.Context(), "joined", actors)
	require.NoError(t, err)
	for _, n := range []int{8, 100, 600_000} { // within a message, and beyond
		got, err := run(t, actors, Task{Group: g.Name(), Op: "sum", Length: n, Odd: -1})
		require.NoError(t, err)
		for _, x := range got {
			require.Len(t, x, n)
			for i, v := range x {
				if want := float32(12*8*i + 66); v != want && n <= 100 { // beyond, floats round
					t.Fatalf("element %d is %v, want %v", i, v, want)
				}
			}
			require.Equal(t, got[0], x, "all have the same bits")
		}
	}
	for _, op := range []string{"broadcast", "all-gather", "reduce-scatter", "all-to-all", "barrier"} {
		_, err := run(t, actors, Task{Group: g.Name(), Op: op, Length: 96, Odd: -1})
		require.NoError(t, err, op)
	}
	refs, err := batch.CallEach(t.Context(), batch.New(actors), (*member).Size, slices.Repeat([]string{g.Name()}, len(actors)))
	require.NoError(t, err)
	require.LessOrEqual(t, refs.Stats().Messages, 6)
	sizes, err := refs.Get(t.Context())
	require.NoError(t, err)
	for _, n := range sizes {
		require.Equal(t, len(actors), n)
	}
}
