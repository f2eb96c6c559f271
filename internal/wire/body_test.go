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

func randomFault(rng *rand.Rand) wire.Fault {
	fault := wire.Fault{
		Code: wire.FaultCode(rng.IntN(int(wire.FaultNoKind) + 1)), Own: rng.IntN(2) == 0,
		Message: string(randomBytes(rng, 300)), Stack: string(randomBytes(rng, 20)),
	}
	for range rng.IntN(3) {
		fault.Is = append(fault.Is, string(randomBytes(rng, 10)))
	}
	return fault
}

func TestFaultComesBackAsItWas(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 10_000 {
		fault := randomFault(rng)
		got, err := wire.ParseFault(fault.Append(nil))
		require.NoError(t, err)
		require.Equal(t, fault, got)
	}
}

func TestFaultOfANewerBuildIsSomeFault(t *testing.T) {
	for _, code := range []wire.FaultCode{wire.FaultNodeLost + 1, 255} {
		newer := wire.Fault{Code: code, Message: "a new way to fail"}
		got, err := wire.ParseFault(newer.Append(nil))
		require.NoError(t, err)
		assert.Equal(t, wire.Fault{Code: wire.FaultOther, Message: "a new way to fail"}, got)
	}
}

func TestFaultRefusals(t *testing.T) {
	for name, body := range map[string][]byte{
		"own":     {0, 2, 0, 0},
		"message": {0, 0, 5, 'a', 0},
		"stack":   {0, 0, 0, 1},
	} {
		_, err := wire.ParseFault(body)
		require.ErrorIs(t, err, wire.ErrFrame)
		require.ErrorContains(t, err, "fault: bad or missing "+name)
	}
}

func TestHelloComesBackAsItWas(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 1000 {
		h := wire.Hello{Node: rng.Uint32(), Incarnation: rng.Uint64(), Table: rng.Uint64(), Purpose: wire.Purpose(1 + rng.IntN(2))}
		copy(h.Nonce[:], randomBytes(rng, wire.NonceSize))
		got, err := wire.ParseHello(h.Append(nil))
		require.NoError(t, err)
		require.Equal(t, h, got)
	}
}

func TestAcceptComesBackAsItWas(t *testing.T) {
	for _, a := range []wire.Accept{
		{}, {Proof: [wire.ProofSize]byte{1, 2, 31: 3}}, {Fault: &wire.Fault{Code: wire.FaultBuild, Message: "no", Is: []string{"a"}}},
	} {
		got, err := wire.ParseAccept(a.Append(nil))
		require.NoError(t, err)
		require.Equal(t, a, got)
	}
}

func TestHandshakeRefusals(t *testing.T) {
	for _, purpose := range []wire.Purpose{0, 4, 1 << 31} {
		hello := wire.Hello{Purpose: purpose}
		_, err := wire.ParseHello(hello.Append(nil))
		require.ErrorContains(t, err, "hello: bad or missing purpose")
	}
	long := wire.Accept{}
	_, err := wire.ParseAccept(append(long.Append(nil), 0))
	require.ErrorContains(t, err, "accept: bad or missing proof")
	_, err = wire.ParseAccept([]byte{2})
	require.ErrorContains(t, err, "accept: bad or missing outcome")
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
