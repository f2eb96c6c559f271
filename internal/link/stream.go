// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tutti-go/tutti/internal/wire"
)

const (
	// inlineBody is the size up to which a body is copied behind its header, which saves an entry of
	// the vectored write.
	inlineBody = 2 << 10
	// arenaSize is how much Recv reads at a time. Small bodies are slices of the arena.
	arenaSize = 64 << 10
	// shortBody is the size in bytes up to which a body that was read is moved to where nothing lies between it and those before it.
	shortBody = 512
	// bodyAlign is what short bodies are aligned to, and others that are read by themselves.
	bodyAlign = 8
	// strangerArena is the same before Trust.
	strangerArena = 256
)

// stream frames a byte stream.
//
// Whoever sends while nobody writes becomes the writer: it tries one write without blocking, in its
// own goroutine, which spares the common case a hand-over between goroutines. What the socket does not
// take, and what others queued meanwhile, is left to a goroutine that lives until the queue is empty.
type stream struct {
	nc  net.Conn        // to read and write
	end net.Conn        // to close: nc, or what it encrypts for
	raw syscall.RawConn // nil if nc has no descriptor
	tls bool            // every write makes a record, and none is the kernel's before it returns
	try tryWriter       // nc, if it is one

	scratch []byte      // of the writer, for a small frame that is copied on at once
	vector  net.Buffers // likewise

	mu struct {
		sync.Mutex
		queue   net.Buffers
		queued  int  // bytes in queue and in the write under way
		writing bool // somebody is the writer
		err     error
		shut    bool          // the socket is closed, not only the sending half
		ending  bool          // Close waits for the writer: nothing more is queued
		stopped chan struct{} // closed when the writer stops; nil while nobody waits
		room    chan struct{} // closed when room appears; nil while nobody waits
	}
	writers sync.WaitGroup

	closed  atomic.Bool // by Close: Recv hands out no more
	room    []byte      // what is read into
	taken   int         // bytes of room, from its beginning, that belong to those who were handed frames
	arena   []byte      // bytes read and not yet handed out; the rest of room is behind them
	trusted bool        // used by Recv
	trust   func()      // if not nil, told of Trust
}

func newStream(nc net.Conn) *stream {
	s := &stream{nc: nc, end: nc}
	s.try, _ = nc.(tryWriter)
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	return s
}

// Send implements Conn.
func (s *stream) Send(ctx context.Context, h *wire.Header, body ...[]byte) error {
	return s.send(h, body, func(n int) error { return s.acquireRoom(ctx, n) }, true)
}

// Hold implements Holder.
func (s *stream) Hold(h *wire.Header, body ...[]byte) error { return s.send(h, body, s.tryRoom, false) }

// Ring implements Holder.
func (s *stream) Ring() {
	if s.try != nil {
		s.try.ring()
	}
}

// send queues a frame when acquire has found room for it and locked s.mu.
func (s *stream) send(h *wire.Header, body [][]byte, acquire func(n int) error, ring bool) error {
	n := bodyLen(body)
	if n > wire.MaxBody {
		return fmt.Errorf("%w: %v frame with a body of %d bytes, the bound is %d", ErrTooLarge, h.Kind, n, wire.MaxBody)
	}
	h.Length = uint32(n)
	if err := acquire(n + wire.HeaderSize); err != nil {
		return err
	}
	if n <= inlineBody {
		if !s.mu.writing && len(s.mu.queue) == 0 {
			s.mu.writing = true
			s.mu.Unlock()
			s.scratch = appendFrame(s.scratch[:0], h, body)
			s.vector = append(s.vector[:0], s.scratch)
			s.writeInline(s.vector, ring, true)
			return nil
		}
		s.mu.queue = append(s.mu.queue, appendFrame(make([]byte, 0, wire.HeaderSize+n), h, body))
		body = nil
	} else {
		s.mu.queue = append(s.mu.queue, h.Append(make([]byte, 0, wire.HeaderSize)))
	}
	for _, b := range body {
		if len(b) > 0 {
			s.mu.queue = append(s.mu.queue, b)
		}
	}
	if s.mu.writing {
		s.mu.Unlock()
		return nil
	}
	s.mu.writing = true
	q := s.mu.queue
	s.mu.queue = nil
	s.mu.Unlock()
	s.writeInline(q, ring, false)
	return nil
}

func appendFrame(dst []byte, h *wire.Header, body [][]byte) []byte {
	dst = h.Append(dst)
	for _, b := range body {
		dst = append(dst, b...)
	}
	return dst
}

// tryRoom is acquireRoom without waiting.
func (s *stream) tryRoom(n int) error {
	s.mu.Lock()
	err := s.mu.err
	if err == nil && s.mu.queued > 0 && s.mu.queued+n > MaxQueued {
		err = ErrNoRoom
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	s.mu.queued += n
	return nil
}

// acquireRoom waits until n more bytes may be queued. On success it returns with s.mu locked.
func (s *stream) acquireRoom(ctx context.Context, n int) error {
	s.mu.Lock()
	for s.mu.err == nil && !s.mu.ending && s.mu.queued > 0 && s.mu.queued+n > MaxQueued {
		if s.mu.room == nil {
			s.mu.room = make(chan struct{})
		}
		room := s.mu.room
		s.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("link: peer does not read, %d bytes wait: %w", MaxQueued, context.Cause(ctx))
		}
		s.mu.Lock()
	}
	err := s.mu.err
	if err == nil && s.mu.ending {
		err = ErrClosed
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	s.mu.queued += n
	return nil
}

// writeInline makes one attempt to write q without blocking and leaves the rest to a goroutine: a copy of it, if q is the writer's scratch.
func (s *stream) writeInline(q net.Buffers, ring, scratch bool) {
	n, err := s.tryWrite(q)
	if ring {
		s.Ring()
	}
	if err != nil {
		s.failSending(err)
		return
	}
	rest := net.Buffers(wire.Skip(q, n))
	if scratch && len(rest) > 0 {
		rest = net.Buffers{bytes.Clone(rest[0])}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked(n)
	if len(rest) > 0 {
		s.mu.queue = append(rest, s.mu.queue...)
	}
	if s.mu.err != nil || len(s.mu.queue) == 0 {
		s.stopLocked()
		return
	}
	s.writers.Go(s.writeLoop)
}

// tryWriter is a stream of bytes that takes some without blocking. What it took reaches a peer that waits when ring is called.
type tryWriter interface {
	tryWrite(q net.Buffers) (int, error)
	ring()
}

func (s *stream) tryWrite(q net.Buffers) (int, error) {
	if s.try != nil {
		return s.try.tryWrite(q)
	}
	return tryWrite(s.raw, q)
}

func (s *stream) writeLoop() {
	for {
		s.mu.Lock()
		q := s.mu.queue
		s.mu.queue = nil
		if s.mu.err != nil || len(q) == 0 {
			s.stopLocked()
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		if s.tls {
			q = coalesce(q)
		}
		n, err := q.WriteTo(s.nc)
		if err != nil {
			s.failSending(err)
			return
		}
		s.mu.Lock()
		s.releaseLocked(int(n))
		s.mu.Unlock()
	}
}

// stopLocked says that nobody writes any more.
func (s *stream) stopLocked() {
	s.mu.writing = false
	if s.mu.stopped != nil {
		close(s.mu.stopped)
		s.mu.stopped = nil
	}
}

func (s *stream) releaseLocked(n int) {
	s.mu.queued -= n
	if s.mu.room != nil {
		close(s.mu.room)
		s.mu.room = nil
	}
}

// fail makes cause the outcome of all further calls and closes the socket. Only the first cause counts; what
// it became is returned. A nil cause stands for Close.
func (s *stream) fail(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(cause)
	if !s.mu.shut {
		s.mu.shut = true
		if err := s.end.Close(); err != nil {
			s.mu.err = errors.Join(s.mu.err, err)
		}
	}
	return s.mu.err
}

// failSending makes cause the outcome of all further calls of Send. The socket stays open for reading: a peer that
// closed may have sent something before. A peer that did not close reads the end of the stream and will.
func (s *stream) failSending(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(cause)
	if half, ok := s.end.(interface{ CloseWrite() error }); ok && !s.mu.shut {
		_ = half.CloseWrite() // it fails if the peer is gone, which Recv finds as well
	}
}

func (s *stream) failLocked(cause error) {
	switch {
	case s.mu.err != nil:
		return
	case cause == nil:
		s.mu.err = ErrClosed
	default:
		s.mu.err = fmt.Errorf("%w: %w", ErrClosed, cause)
	}
	s.mu.queue = nil
	s.releaseLocked(0)
	if s.mu.stopped != nil {
		s.stopLocked()
	}
}

// Recv implements Conn.
func (s *stream) Recv() (wire.Frame, error) {
	if s.closed.Load() {
		return wire.Frame{}, ErrClosed
	}
	if err := s.fill(wire.HeaderSize); err != nil {
		return wire.Frame{}, s.fail(err)
	}
	bound := wire.MaxBody
	if !s.trusted {
		bound = MaxStranger
	}
	h, err := wire.ParseHeader(s.arena, bound)
	if err != nil {
		return wire.Frame{}, err
	}
	s.arena = s.arena[wire.HeaderSize:]
	n := int(h.Length)
	if err := s.fill(n); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: %v frame cut off: %w", wire.ErrFrame, h.Kind, io.ErrUnexpectedEOF)
		}
		s.arena = nil // the rest of a body must not be taken for a header
		return wire.Frame{}, s.fail(err)
	}
	if n == 0 {
		return wire.Frame{Header: h}, nil
	}
	body := s.arena[:n:n]
	s.arena = s.arena[n:]
	if begin := alignedUp(s.taken); n <= shortBody && begin+n <= len(s.room)-cap(s.arena) {
		copy(s.room[begin:], body) // over its header, or earlier ones
		s.taken = begin + n
		return wire.Frame{Header: h, Body: s.room[begin:s.taken:s.taken]}, nil
	}
	s.taken = len(s.room) - cap(s.arena)
	return wire.Frame{Header: h, Body: body}, nil
}

// fill makes the arena hold at least n bytes. It returns io.EOF if the stream ended before the first.
func (s *stream) fill(n int) error {
	if len(s.arena) < n {
		s.rewind()
	}
	for len(s.arena) < n {
		if cap(s.arena) < n || cap(s.arena) == 0 {
			// What was handed out of the old arena stays valid: it is left to the collector.
			size := arenaSize
			if !s.trusted {
				size = strangerArena
			}
			s.room, s.taken = make([]byte, max(n, size)), 0
			s.arena = s.room[:copy(s.room, s.arena)]
		}
		m, err := s.nc.Read(s.arena[len(s.arena):cap(s.arena)])
		s.arena = s.arena[:len(s.arena)+m]
		if err != nil && len(s.arena) < n {
			if len(s.arena) > 0 && errors.Is(err, io.EOF) {
				return fmt.Errorf("%w: %w", wire.ErrFrame, io.ErrUnexpectedEOF)
			}
			return err
		}
	}
	return nil
}

// rewind makes room of headers that were read: most frames are short, and of many of them the header is all there is.
func (s *stream) rewind() {
	if begin := alignedUp(s.taken); len(s.arena) <= shortBody && begin < len(s.room)-cap(s.arena) {
		s.arena = s.room[begin : begin+copy(s.room[begin:], s.arena)]
	}
}

func alignedUp(n int) int { return (n + bodyAlign - 1) &^ (bodyAlign - 1) }

// Trust implements Conn.
func (s *stream) Trust() {
	s.trusted = true
	if s.trust != nil {
		s.trust()
	}
}

// Binding implements Conn.
func (s *stream) Binding() ([]byte, error) { return binding(s.nc) }

// Detach implements Detacher.
func (s *stream) Detach() (net.Conn, error) {
	s.writers.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.err != nil {
		return nil, s.mu.err
	}
	rest := s.arena
	s.arena, s.room = nil, nil
	if len(rest) == 0 {
		return s.nc, nil
	}
	return &detached{Conn: s.nc, rest: rest}, nil
}

// detached is a stream of bytes of which some have been read ahead.
type detached struct {
	net.Conn
	rest []byte
}

func (d *detached) Read(b []byte) (int, error) {
	if len(d.rest) == 0 {
		return d.Conn.Read(b)
	}
	n := copy(b, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// CloseWrite ends the sending half.
func (d *detached) CloseWrite() error {
	if half, ok := d.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close implements Conn.
func (s *stream) Close() error {
	s.closed.Store(true)
	s.drain()
	_ = s.fail(nil) // ErrClosed is what was wanted
	s.writers.Wait()
	return nil
}

// lingerTime is how long Close lets a writer finish that stands between Send and the kernel.
const lingerTime = 100 * time.Millisecond

// drain lets the writer hand to the kernel what was sent, where Send cannot do so itself.
func (s *stream) drain() {
	s.mu.Lock()
	if !s.tls || s.mu.err != nil || !s.mu.writing {
		s.mu.Unlock()
		return
	}
	s.mu.ending = true
	if s.mu.stopped == nil {
		s.mu.stopped = make(chan struct{})
	}
	stopped := s.mu.stopped
	s.releaseLocked(0)
	s.mu.Unlock()
	_ = s.end.SetWriteDeadline(time.Now().Add(lingerTime)) // if it fails, so does the writer
	<-stopped
}

// maxCoalesced is the size up to which neighbours are written as one where every write costs: an encrypted record holds that much.
const maxCoalesced = 16 << 10

// coalesce joins small neighbours of q, so that a header does not become a record of its own.
func coalesce(q net.Buffers) net.Buffers {
	var joined net.Buffers
	for i := 0; i < len(q); {
		n, j := len(q[i]), i+1
		for j < len(q) && n+len(q[j]) <= maxCoalesced {
			n += len(q[j])
			j++
		}
		if j == i+1 {
			joined = append(joined, q[i])
		} else {
			joined = append(joined, slices.Concat(q[i:j]...))
		}
		i = j
	}
	return joined
}
