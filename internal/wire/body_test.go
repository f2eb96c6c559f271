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
// three bytes at least and becomes twelve.
const maxFactor = 4

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
		Method:  rng.Uint32() >> rng.IntN(32),
		Runs:    []wire.Run{},
		Payload: wire.Payload{Kind: wire.PayloadKind(rng.IntN(2)), Data: randomBytes(rng, 40)},
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
		got, err := wire.ParseCall(b[8:])
		require.NoError(t, err)
		require.Equal(t, c, got)
	}
}

func TestCallWithTheLargestNumbers(t *testing.T) {
	c := wire.Call{
		Method:  math.MaxUint32,
		Runs:    []wire.Run{{Slot: 0, Actor: math.MaxUint32 - wire.MaxTargets, Count: wire.MaxTargets}},
		Payload: wire.Payload{Kind: wire.PayloadObject, Data: []byte{}},
	}
	got, err := wire.ParseCall(c.Append(nil))
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
		{"no number of runs", uvarints(1), "number of runs"},
		{"more runs than bytes", uvarints(1, 2, 0, 0, 1), "number of runs"},
		{"as many runs as a number can say", uvarints(1, math.MaxUint64), "number of runs"},
		{"run cut off", append(uvarints(1, 1, 0, 0), 0x80), "count of a run"},
		{"slot at the bound", append(uvarints(1, 1, most, 0, 1), 0), "slot"},
		{"slots past the bound", append(uvarints(1, 1, most-1, 0, 2), 0), "run"},
		{"actor of 33 bits", append(uvarints(1, 1, 0, 1<<32, 1), 0), "actor"},
		{"actors past 32 bits", append(uvarints(1, 1, 0, math.MaxUint32, 1), 0), "run"},
		{"empty run", append(uvarints(1, 1, 0, 0, 0), 0), "run"},
		{"run beyond the bound", append(uvarints(1, 1, 0, 0, most+1), 0), "count of a run"},
		{"runs beyond the bound together", append(uvarints(1, 2, 0, 0, most, 0, 0, 1), 0), "run"},
		{"no payload kind", uvarints(1, 1, 0, 0, 1), "payload kind"},
		{"unknown payload kind", append(uvarints(1, 1, 0, 0, 1), 3), "payload kind"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := wire.ParseCall(tt.body)
			require.ErrorIs(t, err, wire.ErrFrame)
			require.ErrorContains(t, err, "call: bad or missing "+tt.want)
		})
	}
}

func TestTruncatedBodiesAreRefused(t *testing.T) {
	c := wire.Call{Method: 300, Runs: []wire.Run{{Slot: 1000, Actor: 70000, Count: 5}}}
	for n := range len(c.Append(nil)) {
		_, err := wire.ParseCall(c.Append(nil)[:n])
		require.ErrorIs(t, err, wire.ErrFrame, "call of %d bytes", n)
	}
	fault := wire.Fault{Code: wire.FaultPanic, Own: true, Message: "no", Stack: "here"}
	for n := range len(fault.Append(nil)) {
		_, err := wire.ParseFault(fault.Append(nil)[:n])
		require.ErrorIs(t, err, wire.ErrFrame, "fault of %d bytes", n)
	}
	hello := wire.Hello{Node: 1, Incarnation: 2, Secret: []byte("abc"), Table: 3}
	for n := range len(hello.Append(nil)) {
		_, err := wire.ParseHello(hello.Append(nil)[:n])
		require.ErrorIs(t, err, wire.ErrFrame, "hello of %d bytes", n)
	}
	one := wire.AppendResult(nil, wire.Result{Slot: 300, Count: 1, Status: wire.StatusInline, Data: []byte("xyz")})
	for n := 1; n < len(one); n++ { // a reply without entries is one
		require.ErrorIs(t, wire.ParseReply(one[:n], func(wire.Result) bool { return true }), wire.ErrFrame, "reply of %d bytes", n)
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
	hello := wire.Hello{}
	_, err = wire.ParseHello(append(hello.Append(nil), 1, 2))
	require.ErrorIs(t, err, wire.ErrFrame)
	require.ErrorContains(t, err, "2 bytes left over")
}

func randomReply(rng *rand.Rand) []wire.Result {
	results := make([]wire.Result, rng.IntN(20))
	for i := range results {
		r := wire.Result{Slot: rng.Uint32N(wire.MaxTargets), Count: 1, Status: wire.Status(rng.IntN(4))}
		if r.Status == wire.StatusEmpty {
			r.Count = 1 + rng.Uint32N(wire.MaxTargets-r.Slot)
		} else {
			r.Data = randomBytes(rng, 30)
		}
		results[i] = r
	}
	return results
}

func appendReply(dst []byte, results []wire.Result) []byte {
	for _, r := range results {
		dst = wire.AppendResult(dst, r)
	}
	return dst
}

// parseReply returns the entries, and what comes in front of a malformed one.
func parseReply(b []byte) ([]wire.Result, error) {
	results := []wire.Result{}
	err := wire.ParseReply(b, func(r wire.Result) bool {
		results = append(results, r)
		return true
	})
	return results, err
}

func TestReplyComesBackAsItWas(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 10_000 {
		results := randomReply(rng)
		got, err := parseReply(appendReply(nil, results))
		require.NoError(t, err)
		require.Equal(t, results, got)
	}
}

func TestReplyRefusals(t *testing.T) {
	const most = wire.MaxTargets
	good := wire.Result{Slot: 5, Count: 1, Status: wire.StatusInline, Data: []byte("fine")}
	for _, tt := range []struct {
		name  string
		entry []byte
		want  string
	}{
		{"unknown status", append([]byte{4}, uvarints(1, 0)...), "status"},
		{"no slot", []byte{1}, "slot"},
		{"slot at the bound", append([]byte{0}, uvarints(most, 1)...), "slot"},
		{"no slot at all", append([]byte{0}, uvarints(1, 0)...), "count"},
		{"slots past the bound", append([]byte{0}, uvarints(most-1, 2)...), "count"},
		{"data longer than the frame", append([]byte{1}, uvarints(1, 2, 0)...), "data"},
		{"data as long as a number can say", append([]byte{1}, uvarints(1, math.MaxUint64)...), "data"},
		{"length with a byte too many", []byte{1, 1, 0x80, 0x00}, "data"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseReply(append(wire.AppendResult(nil, good), tt.entry...))
			require.ErrorIs(t, err, wire.ErrFrame)
			require.ErrorContains(t, err, "reply: bad or missing "+tt.want)
			assert.Equal(t, []wire.Result{good}, got, "what stands in front has been yielded, what is bad has not")
		})
	}
}

func TestReplyAndReleaseStopWhenTold(t *testing.T) {
	body := append(appendReply(nil, []wire.Result{{Count: 1}, {Slot: 1, Count: 1}}), 99)
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
	for _, code := range []wire.FaultCode{wire.FaultNoKind + 1, 255} {
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
		h := wire.Hello{Node: rng.Uint32(), Incarnation: rng.Uint64(), Secret: randomBytes(rng, 64), Table: rng.Uint64()}
		got, err := wire.ParseHello(h.Append(nil))
		require.NoError(t, err)
		require.Equal(t, h, got)
	}
}

func TestHelloRefusals(t *testing.T) {
	hello := wire.Hello{Secret: []byte("abc")}
	node := hello.Append(nil)
	node[20] = 1
	_, err := wire.ParseHello(node)
	require.ErrorContains(t, err, "hello: bad or missing node")
	secret := hello.Append(nil)
	secret[24] = 4
	_, err = wire.ParseHello(secret)
	require.ErrorIs(t, err, wire.ErrFrame)
	require.ErrorContains(t, err, "hello: bad or missing secret")
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
	runs := wire.Call{Runs: slices.Repeat([]wire.Run{{Count: 1}}, 50_000)}
	promise := append(uvarints(1, 50_000), make([]byte, 150_000)...) // empty runs: refused at the first
	fault := wire.Fault{Message: strings.Repeat("m", 50_000), Stack: strings.Repeat("s", 50_000)}
	for name, tt := range map[string]struct {
		input  []byte
		decode func([]byte)
	}{
		"call":        {runs.Append(nil), func(b []byte) { _, _ = wire.ParseCall(b) }},
		"refused":     {promise, func(b []byte) { _, _ = wire.ParseCall(b) }},
		"call's lie":  {uvarints(1, 1<<40), func(b []byte) { _, _ = wire.ParseCall(b) }},
		"fault":       {fault.Append(nil), func(b []byte) { _, _ = wire.ParseFault(b) }},
		"fault's lie": {append([]byte{0, 0}, uvarints(1<<40)...), func(b []byte) { _, _ = wire.ParseFault(b) }},
		"reply's lie": {append([]byte{1}, uvarints(1, 1<<40)...), func(b []byte) { _, _ = parseReply(b) }},
		"hello's lie": {append(make([]byte, 24), uvarints(1<<40)...), func(b []byte) { _, _ = wire.ParseHello(b) }},
	} {
		t.Run(name, func(t *testing.T) { requireThrift(t, tt.input, func() { tt.decode(tt.input) }) })
	}
}
