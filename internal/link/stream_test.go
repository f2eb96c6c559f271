// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/wire"
)

// script is a connection from which bytes can be read, in pieces of at most step bytes. Writes vanish.
type script struct {
	io.Reader
	step int
}

func (s *script) Read(p []byte) (int, error)       { return s.Reader.Read(p[:min(len(p), s.step)]) }
func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return nil }
func (s *script) RemoteAddr() net.Addr             { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// A connection without a descriptor takes the path of systems other than Linux: the goroutine writes all.
func TestStreamWithoutDescriptor(t *testing.T) {
	const senders, frames = 8, 100
	x, y := net.Pipe()
	a, b := newStream(x), newStream(y)
	b.Trust()
	require.Nil(t, a.raw)
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range frames {
				body := bytes.Repeat([]byte{byte(s), byte(i)}, i*37)
				if !assert.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall, Caller: uint64(s), Seq: uint64(i)}, body)) {
					return
				}
			}
		})
	}
	next := make([]uint64, senders)
	for range senders * frames {
		f, err := b.Recv()
		require.NoError(t, err)
		require.Equal(t, next[f.Caller], f.Seq)
		next[f.Caller]++
		require.True(t, bytes.Equal(bytes.Repeat([]byte{byte(f.Caller), byte(f.Seq)}, int(f.Seq)*37), f.Body))
	}
	wg.Wait()
	require.NoError(t, a.Close())
	_, err := b.Recv()
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall}), ErrClosed)
	require.NoError(t, b.Close())
}

// However the bytes are cut into reads, the same frames come out, and those handed out earlier stay as they were.
func TestFramesDoNotDependOnHowTheBytesArrive(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var whole []byte
	var sent []wire.Frame
	for i := range 200 {
		n := rng.IntN(300)
		if rng.IntN(10) == 0 {
			n = arenaSize - 200 + rng.IntN(400)
		}
		f := wire.Frame{Header: wire.Header{Kind: wire.KindBlock, Seq: uint64(i), Length: uint32(n)}}
		if n > 0 {
			f.Body = bytes.Repeat([]byte{byte(i)}, n)
		}
		whole = append(f.Append(whole), f.Body...)
		sent = append(sent, f)
	}
	for _, step := range []int{13, 64, 1000, arenaSize, 1 << 30} {
		s := newStream(&script{bytes.NewReader(whole), step})
		s.Trust()
		var got []wire.Frame
		for range sent {
			f, err := s.Recv()
			require.NoError(t, err)
			got = append(got, f)
		}
		_, err := s.Recv()
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, sent, got, "in steps of %d", step)
		require.NoError(t, s.Close())
	}
}

// Whatever arrives, Recv ends with a typed error, and what it made frames of are the bytes that arrived. A header that
// promises much is the only thing that makes it allocate much, and no more than wire.MaxBody.
func FuzzRecv(f *testing.F) {
	h := wire.Header{Kind: wire.KindCall, Length: 3}
	one := append(h.Append(nil), "abc"...)
	f.Add(one, 1)
	f.Add(append(one, one...), 7)
	f.Add(one[:66], 64)
	f.Add(append(one, "something else, of sixty-four bytes or more, that is not a header."...), 1000)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		b = bytes.Clone(b)
		if len(b) >= 12 {
			b[11] = 0 // a body of 16 MiB or more is not there anyway and costs time
		}
		s := newStream(&script{bytes.NewReader(b), max(1, step)})
		s.Trust()
		again := []byte{}
		for {
			f, err := s.Recv()
			if err != nil {
				require.True(t, errors.Is(err, ErrClosed) || errors.Is(err, wire.ErrFrame), "%v", err)
				break
			}
			again = append(f.Append(again), f.Body...)
		}
		require.Equal(t, b[:len(again)], again)
		require.Less(t, len(b)-len(again), wire.HeaderSize+wire.MaxBody)
		require.NoError(t, s.Close())
	})
}

// Frames without a body take no memory for good, and a short body as much as itself.
func TestHeadersLeaveNothingBehind(t *testing.T) {
	const frames = 10_000
	for _, c := range []struct{ body, bound int }{{0, 1}, {5, 9}} {
		h := wire.Header{Kind: wire.KindReply, Length: uint32(c.body)}
		one := append(h.Append(nil), make([]byte, c.body)...)
		s := newStream(&script{bytes.NewReader(bytes.Repeat(one, frames)), len(one)})
		s.Trust()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range frames {
			_, err := s.Recv()
			require.NoError(t, err)
		}
		runtime.ReadMemStats(&after)
		each := int(after.TotalAlloc-before.TotalAlloc-arenaSize) / frames
		assert.LessOrEqual(t, each, c.bound, "bytes for each frame with a body of %d", c.body)
	}
}
