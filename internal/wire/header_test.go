// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/wire"
)

// kinds returns every kind there is.
func kinds() []wire.Kind {
	var all []wire.Kind
	for k := wire.KindHello; k.String() != unknown(k); k++ {
		all = append(all, k)
	}
	return all
}

func unknown(k wire.Kind) string { return fmt.Sprintf("kind(%d)", uint8(k)) }

func randomHeader(rng *rand.Rand) wire.Header {
	// Zero, all ones and anything between are equally likely.
	u := func(limit uint64) uint64 {
		switch rng.IntN(3) {
		case 0:
			return 0
		case 1:
			return limit
		}
		return rng.Uint64() & limit
	}
	all := kinds()
	return wire.Header{
		Kind: all[rng.IntN(len(all))], Length: uint32(u(wire.MaxBody-1) + u(1)), Step: uint32(u(math.MaxUint32)),
		Caller: u(math.MaxUint64), Seq: u(math.MaxUint64), Deadline: time.Duration(u(math.MaxInt64)), Group: u(math.MaxUint64),
		Epoch: uint32(u(math.MaxUint32)), From: uint32(u(math.MaxUint32)), To: uint32(u(math.MaxUint32)), Hash: uint32(u(math.MaxUint32)),
	}
}

func TestHeaderComesBackAsItWas(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		h := randomHeader(rng)
		b := h.Append([]byte("in front"))
		require.Len(t, b, 8+wire.HeaderSize)
		require.Equal(t, "in front", string(b[:8]))
		got, err := wire.ParseHeader(append(b[8:], "behind"...), wire.MaxBody)
		require.NoError(t, err)
		require.Equal(t, h, got)
	}
}

func TestPassedDeadlineIsOneNanosecond(t *testing.T) {
	for _, d := range []time.Duration{-1, -time.Hour, math.MinInt64} {
		h := wire.Header{Kind: wire.KindCall, Deadline: d}
		got, err := wire.ParseHeader(h.Append(nil), 0)
		require.NoError(t, err)
		assert.EqualValues(t, 1, got.Deadline)
		h.Normalize()
		assert.Equal(t, got, h)
	}
	h := wire.Header{Kind: wire.KindCall}
	h.Normalize()
	assert.Zero(t, h.Deadline, "none stays none")
}

func TestHeaderRefusals(t *testing.T) {
	full := wire.Header{Kind: wire.KindCall, Length: 100, Deadline: 5}
	for _, tt := range []struct {
		name string
		edit func(b []byte) []byte
		max  int
		want string
	}{
		{"nothing", func([]byte) []byte { return nil }, 100, "header has 0 of 64 bytes"},
		{"truncated", func(b []byte) []byte { return b[:63] }, 100, "header has 63 of 64 bytes"},
		{"first magic byte", func(b []byte) []byte { b[0] = 't'; return b }, 100, "starts with 74 75, not a tutti link"},
		{"second magic byte", func(b []byte) []byte { b[1] = 0; return b }, 100, "starts with 54 00, not a tutti link"},
		{"older version", func(b []byte) []byte { b[2] = wire.Version - 1; return b }, 100, fmt.Sprintf("peer speaks frame version %d, this build speaks %d", wire.Version-1, wire.Version)},
		{"newer version", func(b []byte) []byte { b[2] = wire.Version + 1; return b }, 100, fmt.Sprintf("peer speaks frame version %d, this build speaks %d", wire.Version+1, wire.Version)},
		{"kind zero", func(b []byte) []byte { b[3] = 0; return b }, 100, "unknown kind(0)"},
		{"kind behind the last", func(b []byte) []byte { b[3] = byte(len(kinds()) + 1); return b }, 100, "unknown " + unknown(wire.Kind(len(kinds())+1))},
		{"kind 255", func(b []byte) []byte { b[3] = 255; return b }, 100, "unknown kind(255)"},
		{"lowest flag", func(b []byte) []byte { b[4] = 1; return b }, 100, "reserved bits are set in a call frame"},
		{"highest flag", func(b []byte) []byte { b[5] = 0x80; return b }, 100, "reserved bits"},
		{"reserved byte 6", func(b []byte) []byte { b[6] = 1; return b }, 100, "reserved bits"},
		{"reserved byte 7", func(b []byte) []byte { b[7] = 0x80; return b }, 100, "reserved bits"},
		{"one byte too long", func(b []byte) []byte { return b }, 99, "call frame has a body of 100 bytes, the bound is 99"},
		{"no body allowed", func(b []byte) []byte { return b }, 0, "the bound is 0"},
		{"negative bound", func(b []byte) []byte { return b }, -1, "the bound is -1"},
		{"longest length", func(b []byte) []byte { copy(b[8:], "\xff\xff\xff\xff"); return b }, wire.MaxBody, "a body of 4294967295 bytes"},
		{"negative deadline", func(b []byte) []byte { b[39] = 0x80; return b }, 100, "negative deadline in a call frame"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := wire.ParseHeader(tt.edit(full.Append(nil)), tt.max)
			require.ErrorIs(t, err, wire.ErrFrame)
			require.ErrorContains(t, err, tt.want)
			assert.Zero(t, h, "nothing of a refused header comes out")
		})
	}
	got, err := wire.ParseHeader(full.Append(nil), 100)
	require.NoError(t, err)
	assert.Equal(t, full, got, "as long as the bound is allowed")
}

// The version is checked before anything whose meaning depends on it.
func TestOtherVersionIsSaidFirst(t *testing.T) {
	b := bytes.Repeat([]byte{0xff}, wire.HeaderSize)
	copy(b, "Tu")
	_, err := wire.ParseHeader(b, wire.MaxBody)
	var version *wire.VersionError
	require.ErrorAs(t, err, &version)
	assert.Equal(t, wire.VersionError{Got: 255, Want: wire.Version}, *version)
}

func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range kinds() {
		assert.NotEmpty(t, k.String())
		assert.False(t, seen[k.String()], "%v twice", k)
		seen[k.String()] = true
	}
	assert.GreaterOrEqual(t, len(seen), 8)
	assert.Equal(t, "kind(0)", wire.Kind(0).String())
	assert.Equal(t, "kind(255)", wire.Kind(255).String())
}

func TestHeaderCostsNoAllocation(t *testing.T) {
	buf := make([]byte, 0, wire.HeaderSize)
	h := randomHeader(rand.New(rand.NewPCG(3, 4)))
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := wire.ParseHeader(h.Append(buf), wire.MaxBody); err != nil {
			t.Error(err)
		}
	}))
}

func FuzzParseHeader(f *testing.F) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 10 {
		h := randomHeader(rng)
		f.Add(h.Append(nil), wire.MaxBody)
	}
	h := wire.Header{Kind: wire.KindCall}
	f.Add(h.Append(nil), -91) // as if 0: without a body it is fine
	f.Add(h.Append(nil)[:40], 100)
	f.Add([]byte("GET / HTTP/1.1\r\n"), -5)
	f.Fuzz(func(t *testing.T, b []byte, maxBody int) {
		h, err := wire.ParseHeader(b, maxBody)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
			require.Zero(t, h)
			return
		}
		require.LessOrEqual(t, int64(h.Length), int64(max(maxBody, 0)))
		require.GreaterOrEqual(t, h.Deadline, time.Duration(0))
		require.Equal(t, b[:wire.HeaderSize], h.Append(nil), "a header has one encoding")
	})
}
