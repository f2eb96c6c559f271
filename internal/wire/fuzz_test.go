// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/wire"
)

// Every decoder either refuses with ErrFrame or gives a value whose encoding is exactly the bytes that were
// decoded: there are no two encodings of one message, and nothing that is read is lost.

func FuzzParseCall(f *testing.F) {
	rng := rand.New(rand.NewPCG(11, 1))
	for range 10 {
		c := randomCall(rng)
		f.Add(c.Append(nil))
	}
	f.Add(uvarints(1, 0, 1<<40))
	f.Add([]byte{0x80, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := wire.ParseCall(b, nil)
		require.LessOrEqual(t, cap(c.Runs)*3, len(b))
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
			return
		}
		total := 0
		for _, r := range c.Runs {
			require.NotZero(t, r.Count)
			require.LessOrEqual(t, uint64(r.Slot)+uint64(r.Count), uint64(wire.MaxTargets))
			require.GreaterOrEqual(t, r.Actor+r.Count, r.Actor, "wraps around")
			total += int(r.Count)
		}
		require.LessOrEqual(t, total, wire.MaxTargets)
		require.Equal(t, b, c.Append([]byte{}))
	})
}

func FuzzParseEach(f *testing.F) {
	two := wire.AppendEach(wire.AppendEach(nil, wire.Payload{Data: []byte("value")}), wire.Payload{Kind: wire.PayloadObject})
	f.Add(two, 2)
	f.Add(two, 1)
	f.Add([]byte{}, 0)
	f.Add([]byte{2, 0}, 1)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		if n = min(n, 1<<16); n >= 0 { // nothing is allocated for them
			if first, rest, err := wire.CutEach(b, n); err == nil {
				require.Equal(t, string(b), string(first)+string(rest))
				_, err = wire.ParseEach(first, n)
				require.NoError(t, err)
			}
		}
		ps, err := wire.ParseEach(b, n)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
			return
		}
		require.Len(t, ps, n)
		var again []byte
		for _, p := range ps {
			again = wire.AppendEach(again, p)
		}
		require.Len(t, again, len(b))
	})
}

func FuzzParseReply(f *testing.F) {
	rng := rand.New(rand.NewPCG(11, 2))
	for range 10 {
		f.Add(replyOf(randomReply(rng)))
	}
	f.Add([]byte{1, 1, 0x80, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		again := []byte{}
		err := wire.ParseReply(b, func(r wire.Result) bool {
			require.LessOrEqual(t, r.Status, wire.StatusFault)
			var slots []uint32
			for first, count := range r.Slots.Ranges {
				require.NotZero(t, count)
				require.LessOrEqual(t, uint64(first)+uint64(count), uint64(wire.MaxTargets))
				for i := range count {
					slots = append(slots, first+i)
				}
			}
			again = wire.AppendResult(again, r.Status, r.Data, slots...)
			return true
		})
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
			require.Equal(t, string(b[:len(again)]), string(again), "what was yielded before the error")
			return
		}
		require.Equal(t, string(b), string(again))
	})
}

func FuzzParseFault(f *testing.F) {
	rng := rand.New(rand.NewPCG(11, 3))
	for range 10 {
		fault := randomFault(rng)
		f.Add(fault.Append(nil))
	}
	f.Add([]byte{255, 1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		fault, err := wire.ParseFault(b)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
			return
		}
		again := fault.Append([]byte{})
		require.Equal(t, b[1:], again[1:])
		if fault.Code != wire.FaultOther { // else it may be a code of a newer build
			require.Equal(t, b[0], again[0])
		}
	})
}

func FuzzParseHello(f *testing.F) {
	h := wire.Hello{Node: 1, Incarnation: 2, Table: 3, Purpose: wire.PurposeControl, Nonce: [32]byte{4}}
	f.Add(h.Append(nil))
	f.Add(h.Append(nil)[:24])
	f.Add(append(h.Append(nil), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		hello, err := wire.ParseHello(b)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
			return
		}
		require.Equal(t, b, hello.Append([]byte{}))
	})
}

func FuzzParseAccept(f *testing.F) {
	proof := wire.Accept{Proof: [32]byte{1, 2, 3}}
	f.Add(proof.Append(nil))
	f.Add(proof.Append(nil)[:9])
	refused := wire.Accept{Fault: &wire.Fault{Code: wire.FaultBuild, Message: "no"}}
	f.Add(refused.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		accept, err := wire.ParseAccept(b)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
			return
		}
		again := accept.Append([]byte{})
		require.Len(t, again, len(b))
		if accept.Fault == nil || accept.Fault.Code != wire.FaultOther { // else it may be a code of a newer build
			require.Equal(t, b, again)
		}
	})
}

func FuzzParseRelease(f *testing.F) {
	f.Add(wire.AppendRelease(wire.AppendRelease(nil, []byte("one")), nil))
	f.Add([]byte{0x80, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		again := []byte{}
		err := wire.ParseRelease(b, func(id []byte) bool {
			again = wire.AppendRelease(again, id)
			return true
		})
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
		}
		require.Equal(t, b[:len(again)], again)
		require.True(t, err != nil || len(again) == len(b))
	})
}

func FuzzParseCancel(f *testing.F) {
	f.Add(wire.AppendSlots(nil, []uint32{1, 2, 3, 9}))
	f.Add([]byte{})
	f.Add([]byte{2, 7, 2, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		set, all, err := wire.ParseCancel(b)
		require.Equal(t, all, len(b) == 0)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
			return
		}
		if all {
			return
		}
		var slots []uint32
		for first, count := range set.Ranges {
			for i := range count {
				slots = append(slots, first+i)
			}
		}
		require.Equal(t, b, wire.AppendSlots([]byte{}, slots))
	})
}
