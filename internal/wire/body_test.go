// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/wire"
)

// maxFactor bounds what a decoder may allocate for each byte of its input, beside a small constant: a run takes
// three bytes at least and becomes twelve; a share with a run takes six and becomes 52, of an array that grows by doubling.
const maxFactor = 12

// requireThrift fails if decode allocates more than its input justifies.
func requireThrift(t *testing.T, input []byte, decode func()) {
	t.Helper()
	const rounds = 5
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		decode()
	}
	runtime.ReadMemStats(&after)
	require.LessOrEqual(t, (after.TotalAlloc-before.TotalAlloc)/rounds, uint64(maxFactor*len(input)+16<<10), "for %d bytes", len(input))
}

func randomBytes(rng *rand.Rand, limit int) []byte {
	b := make([]byte, rng.IntN(limit+1))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func randomCall(rng *rand.Rand) wire.Call {
	c := wire.Call{
		Order:   1 + rng.Uint64()>>(1+rng.IntN(60)),
		Method:  rng.Uint32() >> rng.IntN(32),
		Flags:   wire.CallFlags(rng.IntN(8)),
		Runs:    []wire.Run{},
		Payload: wire.Payload{Kind: wire.PayloadKind(rng.IntN(4)), Data: randomBytes(rng, 40)},
	}
	left := uint32(wire.MaxTargets)
	for range rng.IntN(10) {
		count := 1 + rng.Uint32N(left/2)
		left -= count
		c.Runs = append(c.Runs, wire.Run{
			Slot: rng.Uint32N(wire.MaxTargets - count + 1), Actor: rng.Uint32N(math.MaxUint32 - count + 1), Count: count,
		})
	}
	return c
}

func TestCallComesBackAsItWas(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		c := randomCall(rng)
		b := c.Append([]byte("in front"))
		require.Equal(t, "in front", string(b[:8]))
		require.Equal(t, b[8:], append(c.AppendHead(nil), c.Payload.Data...))
		got, err := wire.ParseCall(b[8:], nil)
		require.NoError(t, err)
		require.Equal(t, c, got)
	}
}

func TestCallWithTheLargestNumbers(t *testing.T) {
	c := wire.Call{
		Order:   math.MaxUint64,
		Method:  math.MaxUint32,
		Runs:    []wire.Run{{Slot: 0, Actor: math.MaxUint32 - wire.MaxTargets, Count: wire.MaxTargets}},
		Payload: wire.Payload{Kind: wire.PayloadObject, Data: []byte{}},
	}
	got, err := wire.ParseCall(c.Append(nil), nil)
	require.NoError(t, err)
	assert.Equal(t, c, got)
}

// uvarints encodes numbers one after the other.
func uvarints(v ...uint64) []byte {
	var b []byte
	for _, n := range v {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func TestCallRefusals(t *testing.T) {
	const most = wire.MaxTargets
	for _, tt := range []struct {
		name string
		body []byte
		want string
	}{
		{"nothing", nil, "method"},
		{"method cut off", []byte{0x80}, "method"},
		{"method of 33 bits", uvarints(1 << 32), "method"},
		{"method with a byte too many", []byte{0x81, 0x00, 0, 0}, "method"},
		{"method of eleven bytes", bytes.Repeat([]byte{0x80}, 11), "method"},
		{"no flags", uvarints(1), "flags"},
		{"unknown flags", uvarints(1, 8, 0), "flags"},
		{"no number of runs", uvarints(1, 0), "number of runs"},
		{"more runs than bytes", uvarints(1, 0, 2, 0, 0, 1), "number of runs"},
		{"as many runs as a number can say", uvarints(1, 0, math.MaxUint64), "number of runs"},
		{"run cut off", append(uvarints(1, 0, 1, 0, 0), 0x80), "count of a run"},
		{"slot at the bound", append(uvarints(1, 0, 1, most, 0, 1), 0), "slot"},
		{"slots past the bound", append(uvarints(1, 0, 1, most-1, 0, 2), 0), "run"},
		{"actor of 33 bits", append(uvarints(1, 0, 1, 0, 1<<32, 1), 0), "actor"},
		{"actors past 32 bits", append(uvarints(1, 0, 1, 0, math.MaxUint32, 1), 0), "run"},
		{"empty run", append(uvarints(1, 0, 1, 0, 0, 0), 0), "run"},
		{"run beyond the bound", append(uvarints(1, 0, 1, 0, 0, most+1), 0), "count of a run"},
		{"runs beyond the bound together", append(uvarints(1, 0, 2, 0, 0, most, 0, 0, 1), 0), "run"},
		{"no payload kind", uvarints(1, 0, 1, 0, 0, 1), "payload kind"},
		{"unknown payload kind", append(uvarints(1, 0, 1, 0, 0, 1), 4), "payload kind"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := wire.ParseCall(append(uvarints(7), tt.body...), nil) // behind the order
			require.ErrorIs(t, err, wire.ErrFrame)
			require.ErrorContains(t, err, "call: bad or missing "+tt.want)
		})
	}
}

func TestTruncatedBodiesAreRefused(t *testing.T) {
	c := wire.Call{Order: 1, Method: 300, Runs: []wire.Run{{Slot: 1000, Actor: 70000, Count: 5}}}
	for n := range len(c.Append(nil)) {
		_, err := wire.ParseCall(c.Append(nil)[:n], nil)
		require.ErrorIs(t, err, wire.ErrFrame, "call of %d bytes", n)
	}
	fault := wire.Fault{Code: wire.FaultPanic, Own: true, Message: "no", Stack: "here"}
	for n := range len(fault.Append(nil)) {
		_, err := wire.ParseFault(fault.Append(nil)[:n])
		require.ErrorIs(t, err, wire.ErrFrame, "fault of %d bytes", n)
	}
	hello := wire.Hello{Node: 1, Incarnation: 2, Table: 3, Purpose: wire.PurposeLink}
	for n := range len(hello.Append(nil)) {
		_, err := wire.ParseHello(hello.Append(nil)[:n])
		require.ErrorIs(t, err, wire.ErrFrame, "hello of %d bytes", n)
	}
	for _, accept := range []wire.Accept{{}, {Fault: &fault}} {
		for n := range len(accept.Append(nil)) {
			_, err := wire.ParseAccept(accept.Append(nil)[:n])
			require.ErrorIs(t, err, wire.ErrFrame, "accept of %d bytes", n)
		}
	}
	for _, slots := range [][]uint32{{300}, {300, 700, 701}} {
		one := wire.AppendResult(nil, wire.StatusInline, []byte("xyz"), slots...)
		for n := 1; n < len(one); n++ { // a reply without entries is one
			require.ErrorIs(t, wire.ParseReply(one[:n], func(wire.Result) bool { return true }), wire.ErrFrame, "reply of %d bytes", n)
		}
	}
	id := wire.AppendRelease(nil, []byte("abc"))
	for n := 1; n < len(id); n++ {
		require.ErrorIs(t, wire.ParseRelease(id[:n], func([]byte) bool { return true }), wire.ErrFrame, "release of %d bytes", n)
	}
}

func TestBytesLeftOverAreRefused(t *testing.T) {
	fault := wire.Fault{Message: "no"}
	_, err := wire.ParseFault(append(fault.Append(nil), 0))
	require.ErrorIs(t, err, wire.ErrFrame)
	require.ErrorContains(t, err, "1 bytes left over")
	hello := wire.Hello{Purpose: wire.PurposeLink}
	_, err = wire.ParseHello(append(hello.Append(nil), 1, 2))
	require.ErrorIs(t, err, wire.ErrFrame)
	require.ErrorContains(t, err, "2 bytes left over")
}

func TestCancelComesBackAsItWas(t *testing.T) {
	_, all, err := wire.ParseCancel(nil)
	require.NoError(t, err)
	require.True(t, all)
	rng := rand.New(rand.NewPCG(2, 3))
	for range 1000 {
		slots := randomSlots(rng, 1+rng.IntN(20))
		set, all, err := wire.ParseCancel(wire.AppendSlots(nil, slots))
		require.NoError(t, err)
		require.False(t, all)
		var got []uint32
		for first, count := range set.Ranges {
			for i := range count {
				got = append(got, first+i)
			}
		}
		require.Equal(t, slots, got)
	}
	for name, body := range map[string][]byte{
		"set of slots":    uvarints(0),
		"range of slots":  uvarints(1, 5, 0),
		"slot":            uvarints(1, wire.MaxTargets, 1),
		"end: 1 bytes":    uvarints(1, 5, 1, 1),
		"count of slots":  uvarints(1, 5, wire.MaxTargets+1),
		"number of range": uvarints(math.MaxUint64),
	} {
		_, _, err := wire.ParseCancel(body)
		require.ErrorIs(t, err, wire.ErrFrame)
		require.ErrorContains(t, err, "cancel: bad or missing "+name)
	}
}

func TestReleaseComesBackAsItWas(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 1000 {
		var body []byte
		ids := make([][]byte, rng.IntN(10))
		for i := range ids {
			ids[i] = randomBytes(rng, 20)
			body = wire.AppendRelease(body, ids[i])
		}
		got := [][]byte{}
		require.NoError(t, wire.ParseRelease(body, func(id []byte) bool {
			got = append(got, id)
			return true
		}))
		require.Equal(t, ids, got)
	}
	require.ErrorContains(t, wire.ParseRelease([]byte{5, 1}, func([]byte) bool { return true }), "release: bad or missing identity")
}

// Whatever the slots and actors, the runs name the same pairs in the same order, and neighbours share one.
func TestRunsNameTheTargetsTheyWereMadeOf(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for range 1000 {
		var slots, actors []uint32
		slot, actor := rng.Uint32N(100), rng.Uint32N(100)
		breaks := 1
		n := 1 + rng.IntN(50)
		for i := range n {
			slots, actors = append(slots, slot), append(actors, actor)
			slot++
			actor++
			if i < n-1 && rng.IntN(5) == 0 {
				breaks++
				if rng.IntN(2) == 0 {
					slot += 1 + rng.Uint32N(10)
				} else {
					actor += 1 + rng.Uint32N(10)
				}
			}
		}
		runs := wire.AppendRuns(nil, slots, actors)
		require.Len(t, runs, breaks)
		var gotSlots, gotActors []uint32
		for _, r := range runs {
			for i := range r.Count {
				gotSlots, gotActors = append(gotSlots, r.Slot+i), append(gotActors, r.Actor+i)
			}
		}
		require.Equal(t, slots, gotSlots)
		require.Equal(t, actors, gotActors)
	}
	assert.Empty(t, wire.AppendRuns(nil, nil, nil))
	same := wire.AppendRuns(nil, []uint32{0, 1, 2}, []uint32{7, 7, 7})
	assert.Len(t, same, 3, "one actor called three times")
}

// A body that promises much and holds little must not make a decoder allocate what is promised.
func TestDecodersAllocateInProportionToTheirInput(t *testing.T) {
	runs := wire.Call{Order: 1, Runs: slices.Repeat([]wire.Run{{Count: 1}}, 50_000)}
	promise := append(uvarints(1, 1, 0, 50_000), make([]byte, 150_000)...) // empty runs: refused at the first
	fault := wire.Fault{Message: strings.Repeat("m", 50_000), Stack: strings.Repeat("s", 50_000)}
	for name, tt := range map[string]struct {
		input  []byte
		decode func([]byte)
	}{
		"call":        {runs.Append(nil), func(b []byte) { _, _ = wire.ParseCall(b, nil) }},
		"refused":     {promise, func(b []byte) { _, _ = wire.ParseCall(b, nil) }},
		"call's lie":  {uvarints(1, 0, 1<<40), func(b []byte) { _, _ = wire.ParseCall(b, nil) }},
		"fault":       {fault.Append(nil), func(b []byte) { _, _ = wire.ParseFault(b) }},
		"fault's lie": {append([]byte{0, 0}, uvarints(1<<40)...), func(b []byte) { _, _ = wire.ParseFault(b) }},
		"reply's lie": {append([]byte{1}, uvarints(1, 1<<40)...), func(b []byte) { _, _ = parseReply(b) }},
		"hello":       {make([]byte, 100_000), func(b []byte) { _, _ = wire.ParseHello(b) }},
		"accept":      {make([]byte, 100_000), func(b []byte) { _, _ = wire.ParseAccept(b) }},
	} {
		t.Run(name, func(t *testing.T) { requireThrift(t, tt.input, func() { tt.decode(tt.input) }) })
	}
}
