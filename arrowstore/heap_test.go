// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// checkHeap verifies what must hold between any two calls: spans tile the segments, neighbours agree, free ranges are
// coalesced, and every free node can be found.
func checkHeap(t *testing.T, h *heap) {
	t.Helper()
	unused := map[int32]bool{}
	for n := h.spare; n != 0; n = h.nodes[n].next {
		unused[n] = true
	}
	listed := map[int32]bool{}
	for top := range h.lists {
		for sub, n := range h.lists[top] {
			require.Equal(t, n != 0, h.subs[top]&(1<<sub) != 0)
			for ; n != 0; n = h.nodes[n].next {
				gotTop, gotSub := listOf(h.nodes[n].units)
				require.Equal(t, []int{top, sub}, []int{gotTop, gotSub})
				require.True(t, h.nodes[n].free)
				listed[n] = true
			}
		}
		require.Equal(t, h.subs[top] != 0, h.tops&(1<<top) != 0)
	}
	for i := 1; i < len(h.nodes); i++ {
		n := int32(i)
		if unused[n] {
			continue
		}
		at := h.nodes[n]
		require.Equal(t, at.free, listed[n])
		if at.after != 0 {
			require.Equal(t, n, h.nodes[at.after].before)
			require.Equal(t, at.off+at.units, h.nodes[at.after].off)
			require.False(t, at.free && h.nodes[at.after].free, "neighbours not joined")
		}
	}
}

func TestHeapAgainstModel(t *testing.T) {
	const segUnits = 1 << 16
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 1))
		h := newHeap()
		owner := [3][segUnits]int{} // which live span has each unit
		for seg := range uint32(3) {
			h.addSegment(seg, segUnits)
		}
		live := map[int]span{}
		next := 1
		for step := range 2000 {
			if rng.IntN(5) < 3 {
				units := uint32(1 + rng.IntN(80))
				if rng.IntN(8) == 0 {
					units = uint32(1 + rng.IntN(segUnits/4))
				}
				sp, ok := h.take(units)
				if !ok {
					continue
				}
				require.GreaterOrEqual(t, sp.units, units)
				if units > slabMaxUnits {
					require.Equal(t, units, sp.units, "large spans are exact")
				}
				for u := sp.off; u < sp.off+sp.units; u++ {
					if owner[sp.seg][u] != 0 {
						t.Fatalf("unit %d handed out twice", u)
					}
					owner[sp.seg][u] = next
				}
				live[next] = sp
				next++
			} else {
				for id, sp := range live {
					for u := sp.off; u < sp.off+sp.units; u++ {
						owner[sp.seg][u] = 0
					}
					h.give(sp)
					delete(live, id)
					break
				}
			}
			if step%100 == 0 {
				checkHeap(t, h)
			}
		}
		for _, sp := range live {
			h.give(sp)
		}
		h.trim(func(span) {})
		checkHeap(t, h)
		for range 3 {
			sp, ok := h.take(segUnits)
			require.True(t, ok, "everything given back makes whole segments again")
			require.Equal(t, uint32(segUnits), sp.units)
		}
	}
}

func TestHeapFindsAnExactFit(t *testing.T) {
	for _, units := range []uint32{33, 1023, 1025, 4097, 1<<20 - 1} {
		h := newHeap()
		h.addSegment(7, units)
		sp, ok := h.take(units)
		require.True(t, ok)
		require.Equal(t, span{seg: 7, units: units, node: sp.node}, sp)
	}
}

func TestSlabClassesCoverSmallSizes(t *testing.T) {
	for units := range uint32(slabMaxUnits + 1) {
		c, ok := slabClass(units)
		require.True(t, ok)
		require.GreaterOrEqual(t, slabSize(c), units)
		if c > 0 {
			require.Less(t, slabSize(c-1), max(units, 1))
		}
	}
	_, ok := slabClass(slabMaxUnits + 1)
	require.False(t, ok)
}
