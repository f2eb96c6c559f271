// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/wire"
)

// entry is a result with its slots spelled out.
type entry struct {
	status wire.Status
	data   []byte
	slots  []uint32
}

func randomReply(rng *rand.Rand) []entry {
	entries := make([]entry, rng.IntN(20))
	for i := range entries {
		e := entry{status: wire.Status(rng.IntN(4)), slots: []uint32{rng.Uint32N(wire.MaxTargets)}}
		if e.status != wire.StatusEmpty {
			e.data = randomBytes(rng, 30)
		}
		if e.status != wire.StatusObject && rng.IntN(2) == 0 {
			e.slots = randomSlots(rng, 2+rng.IntN(50))
		}
		entries[i] = e
	}
	return entries
}

// randomSlots returns n slots in order, with runs of neighbours among them.
func randomSlots(rng *rand.Rand, n int) []uint32 {
	slots := make([]uint32, 0, n)
	next := uint32(0)
	for range n {
		if rng.IntN(3) == 0 {
			next += rng.Uint32N(uint32(wire.MaxTargets / n))
		}
		slots = append(slots, next)
		next++
	}
	return slots
}

func replyOf(entries []entry) (dst []byte) {
	for _, e := range entries {
		dst = wire.AppendResult(dst, e.status, e.data, e.slots...)
	}
	return dst
}

// parseReply returns the entries, and what comes in front of a malformed one.
func parseReply(b []byte) ([]entry, error) {
	entries := []entry{}
	err := wire.ParseReply(b, func(r wire.Result) bool {
		e := entry{status: r.Status, data: r.Data}
		for first, count := range r.Slots.Ranges {
			for i := range count {
				e.slots = append(e.slots, first+i)
			}
		}
		entries = append(entries, e)
		return true
	})
	return entries, err
}

func TestReplyComesBackAsItWas(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 10_000 {
		entries := randomReply(rng)
		got, err := parseReply(replyOf(entries))
		require.NoError(t, err)
		require.Equal(t, entries, got)
	}
}

func TestSlotsThatShareAnOutcomeCostBits(t *testing.T) {
	all := make([]uint32, 100_000)
	for i := range all {
		all[i] = uint32(len(all) - 1 - i)
	}
	assert.LessOrEqual(t, len(wire.AppendResult(nil, wire.StatusEmpty, nil, all...)), 8)
	assert.True(t, slices.IsSorted(all), "they are put in order")
	odd := make([]uint32, 0, 1000)
	for i := range uint32(1000) {
		odd = append(odd, 2*i+1)
	}
	assert.LessOrEqual(t, len(wire.AppendResult(nil, wire.StatusEmpty, nil, odd...)), 2*len(odd)+4)
}

func TestRangesStopWhenTold(t *testing.T) {
	require.NoError(t, wire.ParseReply(wire.AppendResult(nil, wire.StatusEmpty, nil, 1, 3, 5), func(r wire.Result) bool {
		var seen []uint32
		for first := range r.Slots.Ranges {
			if seen = append(seen, first); len(seen) == 2 {
				break
			}
		}
		assert.Equal(t, []uint32{1, 3}, seen)
		return true
	}))
}

func TestReplyRefusals(t *testing.T) {
	const most, many = wire.MaxTargets, 0x80
	good := entry{wire.StatusInline, []byte("fine"), []uint32{5}}
	for _, tt := range []struct {
		name  string
		entry []byte
		want  string
	}{
		{"unknown status", append([]byte{4}, uvarints(1, 0)...), "status"},
		{"objects in common", append([]byte{many | 2}, uvarints(1, 1, 2, 0)...), "status"},
		{"no slot", []byte{1}, "slot"},
		{"slot at the bound", append([]byte{0}, uvarints(most)...), "slot"},
		{"no slot at all", append([]byte{many}, uvarints(0)...), "set of slots"},
		{"one slot as a set", append([]byte{many}, uvarints(1, 7, 1)...), "set of slots"},
		{"an empty range", append([]byte{many}, uvarints(2, 7, 2, 3, 0)...), "range of slots"},
		{"two ranges that are one", append([]byte{many}, uvarints(2, 7, 2, 0, 2)...), "range of slots"},
		{"slots past the bound", append([]byte{many}, uvarints(1, most-1, 2)...), "range of slots"},
		{"ranges past the bound", append([]byte{many}, uvarints(2, 0, most-1, 1, 1)...), "range of slots"},
		{"more ranges than bytes", append([]byte{many}, uvarints(3, 7, 2, 1)...), "number of ranges"},
		{"data longer than the frame", append([]byte{1}, uvarints(1, 2, 0)...), "data"},
		{"data as long as a number can say", append([]byte{1}, uvarints(1, math.MaxUint64)...), "data"},
		{"length with a byte too many", []byte{1, 1, 0x80, 0x00}, "data"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseReply(append(replyOf([]entry{good}), tt.entry...))
			require.ErrorIs(t, err, wire.ErrFrame)
			require.ErrorContains(t, err, "reply: bad or missing "+tt.want)
			assert.Equal(t, []entry{good}, got, "what stands in front has been yielded, what is bad has not")
		})
	}
}

func TestReplyAndReleaseStopWhenTold(t *testing.T) {
	body := append(replyOf([]entry{{slots: []uint32{0}}, {slots: []uint32{1}}}), 99)
	n := 0
	require.NoError(t, wire.ParseReply(body, func(wire.Result) bool { n++; return n < 2 }), "the bad entry is not reached")
	assert.Equal(t, 2, n)
	body = append(wire.AppendRelease(wire.AppendRelease(nil, []byte("a")), []byte("b")), 99)
	n = 0
	require.NoError(t, wire.ParseRelease(body, func([]byte) bool { n++; return n < 2 }))
	assert.Equal(t, 2, n)
}
