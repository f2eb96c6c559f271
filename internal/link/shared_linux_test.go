// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/wire"
)

// strangerAt listens with [Shared] and returns a plain socket that is connected to it, and the connection that it became.
func strangerAt(t *testing.T) (*net.UnixConn, Conn) {
	t.Helper()
	leakcheck.Check(t)
	dir, err := os.MkdirTemp("", "link") //nolint:usetesting // short enough for a socket
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	l, err := Shared{}.Listen(filepath.Join(dir, "s"))
	require.NoError(t, err)
	raw, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	require.NoError(t, err)
	c, err := l.Accept()
	require.NoError(t, err)
	require.NoError(t, l.Close())
	t.Cleanup(func() {
		_ = raw.Close() // the test may have closed it
		assert.NoError(t, c.Close())
	})
	return raw, c
}

// dialled offers memory on a plain socket, and returns the side that dialled with the connection at the other end.
func dialled(t *testing.T) (*sharedConn, Conn) {
	t.Helper()
	raw, c := strangerAt(t)
	p, err := offer(raw)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() }) // the test may have closed it
	return p, c
}

func frame(h wire.Header, body string) []byte {
	h.Length = uint32(len(body))
	return append(h.Append(nil), body...)
}

// send writes into the ring without a stream.
func send(t *testing.T, c *sharedConn, b []byte) {
	t.Helper()
	n, err := c.tryWrite(net.Buffers{b})
	require.NoError(t, err)
	require.Len(t, b, n)
	c.ring()
}

// docs/wire.md draws the layout; another one needs another number.
func TestLayoutIsTheOneThatIsDocumented(t *testing.T) {
	var m memory
	assert.Equal(t, 262400, memoryBytes)
	assert.EqualValues(t, 131200, unsafe.Offsetof(m.rings)+unsafe.Sizeof(m.rings[0]))
	r := &m.rings[0]
	assert.Equal(t, []uintptr{0, 8, 16, 64, 72, 128}, []uintptr{
		unsafe.Offsetof(r.tail), unsafe.Offsetof(r.base), unsafe.Offsetof(r.full), unsafe.Offsetof(r.head), unsafe.Offsetof(r.hungry),
		unsafe.Offsetof(r.data),
	})
	assert.Len(t, r.data, 131072)
	assert.Equal(t, 2, sharedLayout)
}

// A peer that offers no memory is understood over the socket, in both directions.
func TestFramesOverTheSocketWhereNoMemoryIsOffered(t *testing.T) {
	raw, c := strangerAt(t)
	_, err := raw.Write(frame(wire.Header{Kind: wire.KindCall, Seq: 7}, "plain"))
	require.NoError(t, err)
	f, err := c.Recv()
	require.NoError(t, err)
	assert.EqualValues(t, 7, f.Seq)
	assert.Equal(t, "plain", string(f.Body))
	require.NoError(t, c.Send(t.Context(), &wire.Header{Kind: wire.KindReply, Seq: 8}, []byte("too")))
	answer := make([]byte, wire.HeaderSize+3)
	_, err = io.ReadFull(raw, answer)
	require.NoError(t, err)
	assert.Equal(t, frame(wire.Header{Kind: wire.KindReply, Seq: 8}, "too"), answer)
}

// What is sent before the peer has said what it understands waits for it.
func TestSendBeforeTheOfferArrivesAfterIt(t *testing.T) {
	raw, c := strangerAt(t)
	require.NoError(t, c.Send(t.Context(), &wire.Header{Kind: wire.KindReply, Seq: 3}, []byte("early")))
	p, err := offer(raw)
	require.NoError(t, err)
	s := newStream(p)
	defer func() { require.NoError(t, s.Close()) }()
	f, err := s.Recv()
	require.NoError(t, err)
	assert.Equal(t, "early", string(f.Body))
}

func TestBadOffersAreRefused(t *testing.T) {
	memfd := func(size int64, seals int) int {
		fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		require.NoError(t, err)
		require.NoError(t, unix.Ftruncate(fd, size))
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
		require.NoError(t, err)
		return fd
	}
	for _, tt := range []struct {
		name string
		fds  func() []int
		text string
	}{
		{"no descriptors", func() []int { return nil }, "with 0 descriptors"},
		{"one descriptor", func() []int { return []int{memfd(int64(memoryBytes), sharedSeals)} }, "with 1 descriptors"},
		{"memory that may shrink", func() []int {
			return []int{memfd(int64(memoryBytes), unix.F_SEAL_GROW), memfd(0, 0), memfd(0, 0)}
		}, "is not sealed"},
		{"too little memory", func() []int {
			return []int{memfd(int64(memoryBytes)-1, sharedSeals), memfd(0, 0), memfd(0, 0)}
		}, "the memory of a link has"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw, c := strangerAt(t)
			fds := tt.fds()
			defer closeAll(fds)
			_, _, err := raw.WriteMsgUnix([]byte{sharedLayout}, unix.UnixRights(fds...), nil)
			require.NoError(t, err)
			for range 2 {
				_, err = c.Recv()
				require.ErrorContains(t, err, tt.text)
				require.ErrorIs(t, err, wire.ErrFrame)
				require.ErrorIs(t, err, ErrClosed)
			}
		})
	}
}

func TestRingThatLiesEndsTheConnection(t *testing.T) {
	for name, lie := range map[string]struct {
		lie  func(*memory)
		text string
	}{
		"more written than fits":    {func(m *memory) { m.rings[0].tail.Store(2 * ringSize) }, "wait in a ring of"},
		"less written than before":  {func(m *memory) { m.rings[0].tail.Store(0) }, "wait in a ring of"},
		"more read than was sent":   {func(m *memory) { m.rings[1].head.Store(1 << 40) }, ""},
		"bytes that are no frame":   {func(m *memory) { m.rings[0].tail.Store(1000) }, "not a tutti link"},
		"everything at once, at -1": {func(m *memory) { m.rings[0].tail.Store(^uint64(0)); m.rings[1].head.Store(^uint64(0)) }, "wait in a ring of"},
	} {
		t.Run(name, func(t *testing.T) {
			p, c := dialled(t)
			send(t, p, frame(wire.Header{Kind: wire.KindCall}, "fine"))
			_, err := c.Recv()
			require.NoError(t, err)
			lie.lie(p.mem)
			if lie.text == "" {
				for err == nil {
					err = c.Send(t.Context(), &wire.Header{Kind: wire.KindReply}, make([]byte, 1000))
				}
				require.ErrorIs(t, err, ErrClosed)
				require.ErrorIs(t, err, wire.ErrFrame)
				return
			}
			strike(p.peer)
			_, err = c.Recv()
			require.ErrorContains(t, err, lie.text)
			require.ErrorIs(t, err, wire.ErrFrame)
		})
	}
}

// A peer that dies leaves what it wrote completely, and perhaps a part of a frame behind it.
func TestWhatADeadPeerLeftInTheRingIsRead(t *testing.T) {
	p, c := dialled(t)
	whole := frame(wire.Header{Kind: wire.KindCall}, "all of it")
	send(t, p, append(whole, whole[:70]...))
	require.NoError(t, p.sock.Close()) // as the kernel does for a process that was killed
	f, err := c.Recv()
	require.NoError(t, err)
	assert.Equal(t, "all of it", string(f.Body))
	for range 2 {
		_, err = c.Recv()
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
	require.ErrorIs(t, c.Send(t.Context(), &wire.Header{Kind: wire.KindReply}), ErrClosed)
}

// A peer that does not read holds up who sends to it, as far as MaxQueued goes, and its end sets them free.
func TestAPeerThatStopsReadingHoldsUpItsSendersOnly(t *testing.T) {
	p, c := dialled(t)
	send(t, p, frame(wire.Header{Kind: wire.KindHello}, ""))
	_, err := c.Recv()
	require.NoError(t, err)
	results := make(chan error, 1)
	var sent atomic.Int64
	go func() {
		for {
			if err := c.Send(t.Context(), &wire.Header{Kind: wire.KindReply}, make([]byte, 1<<20)); err != nil {
				results <- err
				return
			}
			sent.Add(1)
		}
	}()
	require.Eventually(t, func() bool { return sent.Load() >= MaxQueued>>20-1 }, 10*time.Second, time.Millisecond)
	select {
	case err := <-results:
		t.Fatalf("nobody reads, and Send returned %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	assert.LessOrEqual(t, sent.Load(), int64(MaxQueued>>20+1))
	send(t, p, frame(wire.Header{Kind: wire.KindCall}, "still heard"))
	f, err := c.Recv()
	require.NoError(t, err)
	assert.Equal(t, "still heard", string(f.Body))
	require.NoError(t, p.Close())
	require.ErrorIs(t, <-results, ErrClosed)
}

func TestAnOfferThatNeverComesGivesWayToClose(t *testing.T) {
	_, c := strangerAt(t)
	done := make(chan error, 2)
	go func() {
		_, err := c.Recv()
		done <- err
	}()
	go func() { done <- c.Send(t.Context(), &wire.Header{Kind: wire.KindReply}) }()
	time.Sleep(time.Millisecond) // so that they mostly wait; the outcome is the same if not
	require.NoError(t, c.Close())
	for range 2 {
		if err := <-done; err != nil { // Send may have been accepted before
			require.ErrorIs(t, err, ErrClosed)
		}
	}
	_, err := c.Recv()
	require.ErrorIs(t, err, ErrClosed)
}
