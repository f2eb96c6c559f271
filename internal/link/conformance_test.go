// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

func TestHeaderAndBodyArriveAsSent(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		sent := wire.Header{
			Kind: wire.KindBlock, Step: 1, Caller: 1<<63 + 2, Seq: 3, Deadline: 4 * time.Hour,
			Group: 5, Epoch: 6, From: 7, To: 8, Hash: 9,
		}
		h := sent
		require.NoError(t, a.Send(t.Context(), &h, []byte("to"), nil, []byte("gether")))
		assert.EqualValues(t, 8, h.Length, "Send sets the length")
		h.Seq = 99 // the header is not kept
		f, err := b.Recv()
		require.NoError(t, err)
		sent.Length = 8
		assert.Equal(t, wire.Frame{Header: sent, Body: []byte("together")}, f)
	})
}

func TestDeadlineThatHasPassedStaysOne(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall, Deadline: -time.Second}))
		f, err := b.Recv()
		require.NoError(t, err)
		assert.Equal(t, time.Nanosecond, f.Deadline, "zero would mean none")
	})
}

func TestFrameWithoutBodyHasNilBody(t *testing.T) {
	for name, body := range map[string][][]byte{"none": nil, "empty part": {{}}, "two empty parts": {{}, nil}} {
		t.Run(name, func(t *testing.T) {
			eachTwin(t, func(t *testing.T, a, b link.Conn) {
				require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCancel, Length: 77}, body...))
				f, err := b.Recv()
				require.NoError(t, err)
				assert.Nil(t, f.Body)
				assert.Zero(t, f.Length)
			})
		})
	}
}

func TestBodiesOfAllSizesArriveInOrder(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		sizes := []int{
			1, 2, 63, 64, 65, 2047, 2048, 2049, 4096, 64<<10 - 65, 64<<10 - 64, 64<<10 - 63, 64 << 10, 64<<10 + 1,
			200_000, 1 << 20, 1<<20 + 1, 5 << 20,
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for i, n := range sizes {
				p := pattern(0, i, n)
				parts := [][]byte{p}
				if i%2 == 1 { // many parts, some empty
					parts = [][]byte{nil, p[:n/3], p[n/3 : n/2], {}, p[n/2:]}
				}
				if !assert.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall, Seq: uint64(i)}, parts...)) {
					return
				}
			}
		})
		for i, n := range sizes {
			f, err := b.Recv()
			require.NoError(t, err)
			require.EqualValues(t, i, f.Seq)
			require.Len(t, f.Body, n)
			checkPattern(t, 0, i, f.Body)
		}
		wg.Wait()
	})
}

// Many parts exceed what one writev call takes.
func TestBodyOfThousandsOfParts(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		whole := pattern(1, 2, 3000*7)
		var parts [][]byte
		for p := whole; len(p) > 0; p = p[7:] {
			parts = append(parts, p[:7])
		}
		require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall}, parts...))
		f, err := b.Recv()
		require.NoError(t, err)
		assert.Equal(t, whole, f.Body)
	})
}

// Every sender's frames keep their order and none is mixed up with another's, however they are coalesced.
// All bodies are kept and looked at again in the end: no later frame may overwrite an earlier one.
func TestManySendersKeepTheirOwnOrder(t *testing.T) {
	const senders, frames = 16, 200
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		var wg sync.WaitGroup
		for s := range senders {
			rng := rand.New(rand.NewPCG(1, uint64(s)))
			wg.Go(func() {
				for i := range frames {
					n := rng.IntN(300)
					switch rng.IntN(20) {
					case 0:
						n = 2000 + rng.IntN(100) // about the size up to which bodies are copied
					case 1:
						n = rng.IntN(100_000)
					}
					p := pattern(s, i, n)
					if !assert.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall, Caller: uint64(s), Seq: uint64(i)}, p[:n/2], p[n/2:])) {
						return
					}
				}
			})
		}
		next := make([]int, senders)
		var all []wire.Frame
		for range senders * frames {
			f, err := b.Recv()
			require.NoError(t, err)
			require.EqualValues(t, next[f.Caller], f.Seq, "sender %d", f.Caller)
			next[f.Caller]++
			all = append(all, f)
		}
		wg.Wait()
		for _, f := range all {
			require.Len(t, f.Body, int(f.Length))
			checkPattern(t, int(f.Caller), int(f.Seq), f.Body)
		}
	})
}

func TestReceivedBodyHasNoSpareCapacity(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		spare := append(make([]byte, 0, 100), "one"...)
		require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall}, spare))
		require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall}, []byte("two")))
		one, err := b.Recv()
		require.NoError(t, err)
		_ = append(one.Body, bytes.Repeat([]byte("x"), 90)...)
		two, err := b.Recv()
		require.NoError(t, err)
		assert.Equal(t, "two", string(two.Body))
		assert.Equal(t, make([]byte, 10), spare[3:13], "the sender's bytes behind the body")
	})
}

// Requests and answers cross, so that both sides write and read at the same time.
func TestBothDirectionsAtOnce(t *testing.T) {
	const frames = 300
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		var wg sync.WaitGroup
		for side, c := range []link.Conn{a, b} {
			wg.Go(func() {
				for i := range frames {
					n := i * 100
					if !assert.NoError(t, c.Send(t.Context(), &wire.Header{Kind: wire.KindBlock, Seq: uint64(i)}, pattern(side, i, n))) {
						return
					}
				}
			})
			wg.Go(func() {
				for i := range frames {
					f, err := c.Recv()
					if !assert.NoError(t, err) || !assert.EqualValues(t, i, f.Seq) || !assert.True(t, bytes.Equal(pattern(1-side, i, i*100), f.Body)) {
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// fillUp sends frames of 1 MiB until one does not find room within a moment, and returns how many were taken.
func fillUp(t *testing.T, c link.Conn) int {
	t.Helper()
	body := make([]byte, 1<<20)
	full := errors.New("no room")
	for n := 0; ; n++ {
		require.Less(t, n, 64, "a peer that does not read must stop the sender")
		binary.LittleEndian.PutUint32(body, uint32(n))
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, full)
		err := c.Send(ctx, &wire.Header{Kind: wire.KindBlock, Seq: uint64(n)}, bytes.Clone(body))
		cancel()
		if err != nil {
			require.ErrorIs(t, err, full, "the error names the cause")
			require.NotErrorIs(t, err, link.ErrClosed)
			return n
		}
	}
}

// Frames that were held arrive with the next Ring or Send, in their place, and a peer that does not read is no reason to wait.
func TestHeldFramesArriveInOrder(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		holder, ok := a.(link.Holder)
		if !ok {
			return // in memory nobody is woken by the system
		}
		for i := range 30 {
			require.NoError(t, holder.Hold(&wire.Header{Kind: wire.KindCall, Seq: uint64(3 * i)}, []byte("held")))
			require.NoError(t, holder.Hold(&wire.Header{Kind: wire.KindCall, Seq: uint64(3*i + 1)}))
			if i%2 == 0 {
				holder.Ring()
			} else {
				require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall, Seq: uint64(3*i + 2)}))
			}
			for j := range 2 + i%2 {
				f, err := b.Recv()
				require.NoError(t, err)
				require.EqualValues(t, 3*i+j, f.Seq)
			}
		}
		fillUp(t, a)
		require.ErrorIs(t, holder.Hold(&wire.Header{Kind: wire.KindBlock}, make([]byte, 1<<20)), link.ErrNoRoom)
		require.NoError(t, a.Close())
		require.ErrorIs(t, holder.Hold(&wire.Header{Kind: wire.KindBlock}), link.ErrClosed)
		holder.Ring()
	})
}

func TestSendBlocksWhilePeerDoesNotReadAndResumes(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		taken := fillUp(t, a)
		assert.GreaterOrEqual(t, taken, link.MaxQueued>>20-1)
		assert.LessOrEqual(t, taken, link.MaxQueued>>20+16, "the socket itself takes a little, TCP's on both sides")

		blocked := make(chan error, 1)
		go func() {
			blocked <- a.Send(t.Context(), &wire.Header{Kind: wire.KindBlock, Seq: uint64(taken)}, make([]byte, 1<<20))
		}()
		select {
		case err := <-blocked:
			require.Failf(t, "did not block", "%v", err)
		case <-time.After(20 * time.Millisecond):
		}
		for i := range taken + 1 { // what was cancelled did not leave a trace
			f, err := b.Recv()
			require.NoError(t, err)
			require.EqualValues(t, i, f.Seq)
		}
		require.NoError(t, <-blocked)
	})
}

func TestFrameLargerThanTheQueueIsTakenWhenNothingWaits(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindBlock}, make([]byte, link.MaxQueued+1)))
		f, err := b.Recv()
		require.NoError(t, err)
		assert.Len(t, f.Body, link.MaxQueued+1)
	})
}

func TestBodyBeyondTheBoundIsRefusedAndNothingIsSent(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		mib := make([]byte, 1<<20)
		parts := make([][]byte, wire.MaxBody>>20, wire.MaxBody>>20+1)
		for i := range parts {
			parts[i] = mib
		}
		err := a.Send(t.Context(), &wire.Header{Kind: wire.KindBlock}, append(parts, []byte{1})...)
		require.ErrorIs(t, err, link.ErrTooLarge)
		assert.ErrorContains(t, err, "block frame with a body of 67108865 bytes, the bound is 67108864")
		require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCancel}))
		f, err := b.Recv()
		require.NoError(t, err)
		assert.Equal(t, wire.KindCancel, f.Kind)
	})
}
