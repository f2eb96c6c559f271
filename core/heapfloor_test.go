// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"os"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestHeapGrowsToTheFloorAndNoFurther(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 400}, {1 << 20, 400}, {3 << 20, 400}, {4 << 20, 200}, {5 << 20, 200}, {6 << 20, 100}, {16 << 20, 100}, {1 << 40, 100}} {
		require.Equal(t, c.want, core.PercentFor(c.live), "%d bytes live", c.live)
	}
}

// heap tells how its process is collected.
type heap struct{ kept []byte }

func newHeap(context.Context, core.Void) (*heap, error) { return &heap{}, nil }

// Percent returns GOGC as it is after two collections with n more bytes live: what the first finds may be set while the second runs.
func (h *heap) Percent(_ context.Context, n int) (int, error) {
	h.kept = make([]byte, n)
	p := 0
	for range 100 { // cleanups run some time after a collection
		debug.FreeOSMemory()
		p = debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		if (n == 0) == (p == 400) {
			break
		}
	}
	return p, nil
}

var heaps = core.Register("heap", newHeap, core.Method((*heap).Percent))

func TestNodeProcessKeepsTheHeapFloorUnlessTheUserSetsGOGC(t *testing.T) {
	percent := func(t *testing.T, live int) int {
		sys := coretest.Start(t, core.LocalNodes(1))
		h, err := heaps.Spawn(t.Context(), sys, 1, core.Void{})
		require.NoError(t, err)
		got, err := core.Call(t.Context(), h[0], (*heap).Percent, live).Get(t.Context())
		require.NoError(t, err)
		return got
	}
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		require.Equal(t, 400, percent(t, 0))
		require.Equal(t, 100, percent(t, 32<<20))
	}
	t.Setenv("GOGC", "150")
	require.Equal(t, 150, percent(t, 32<<20))
}
