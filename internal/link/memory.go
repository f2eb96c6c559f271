// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tutti-go/tutti/internal/wire"
)

// Memory is the transport inside one process: any address is as good as another. It moves
// no bytes, has no descriptors, and may be used under testing/synctest. The zero value is ready.
type Memory struct {
	mu struct {
		sync.Mutex
		listeners map[string]*memListener
	}
}

var _ Transport = (*Memory)(nil)

// Listen implements Transport.
func (m *Memory) Listen(addr string) (Listener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.mu.listeners[addr]; ok {
		return nil, fmt.Errorf("link: listen on %s: address in use", addr)
	}
	l := &memListener{net: m, addr: addr, backlog: make(chan *memConn), closed: make(chan struct{})}
	if m.mu.listeners == nil {
		m.mu.listeners = map[string]*memListener{}
	}
	m.mu.listeners[addr] = l
	return l, nil
}

// Dial implements Transport.
func (m *Memory) Dial(ctx context.Context, addr string) (Conn, error) {
	m.mu.Lock()
	l := m.mu.listeners[addr]
	m.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("link: dial %s: nobody listens", addr)
	}
	a, b := pipe()
	select {
	case l.backlog <- b:
		return a, nil
	case <-l.closed:
		return nil, fmt.Errorf("link: dial %s: %w", addr, ErrClosed)
	case <-ctx.Done():
		return nil, fmt.Errorf("link: dial %s: %w", addr, context.Cause(ctx))
	}
}

type memListener struct {
	net     *Memory
	addr    string
	backlog chan *memConn
	once    sync.Once
	closed  chan struct{}
}

func (l *memListener) Accept() (Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, fmt.Errorf("%w: accept on %s", ErrClosed, l.addr)
	}
}

func (l *memListener) Addr() string { return l.addr }

func (l *memListener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.mu.listeners, l.addr)
		l.net.mu.Unlock()
		close(l.closed)
	})
	return nil
}

// Pipe returns the two ends of a connection in memory.
func Pipe() (Conn, Conn) {
	a, b := pipe()
	return a, b
}

func pipe() (*memConn, *memConn) {
	done := make(chan struct{})
	once := new(sync.Once)
	ab, ba := newMemQueue(), newMemQueue()
	return &memConn{in: ba, out: ab, done: done, once: once}, &memConn{in: ab, out: ba, done: done, once: once}
}

type memConn struct {
	in, out *memQueue
	done    chan struct{} // shared by both ends
	once    *sync.Once
	closed  atomic.Bool // by Close of this end: Recv hands out no more
	trusted bool        // used by Recv
	bad     error       // used by Recv: what a stranger sent
}

// Send implements Conn.
func (c *memConn) Send(ctx context.Context, h *wire.Header, body ...[]byte) error {
	n := bodyLen(body)
	if n > wire.MaxBody {
		return fmt.Errorf("%w: %v frame with a body of %d bytes, the bound is %d", ErrTooLarge, h.Kind, n, wire.MaxBody)
	}
	h.Length = uint32(n)
	f := wire.Frame{Header: *h}
	f.Normalize()
	switch {
	case n == 0:
	case len(body) == 1:
		f.Body = slices.Clip(body[0])
	default:
		f.Body = slices.Concat(body...)
	}
	for {
		select {
		case <-c.done:
			return ErrClosed
		default:
		}
		room := c.out.push(f)
		if room == nil {
			return nil
		}
		select {
		case <-room:
		case <-c.done:
		case <-ctx.Done():
			return fmt.Errorf("link: peer does not read, %d bytes wait: %w", MaxQueued, context.Cause(ctx))
		}
	}
}

// Recv implements Conn. Frames that were sent before the peer closed the connection are still delivered.
func (c *memConn) Recv() (wire.Frame, error) {
	for {
		if c.closed.Load() {
			return wire.Frame{}, ErrClosed
		}
		if c.bad != nil {
			return wire.Frame{}, c.bad
		}
		f, ok, ready := c.in.pop()
		if ok {
			return c.check(f)
		}
		select {
		case <-ready:
		case <-c.done:
			if f, ok, _ := c.in.pop(); ok && !c.closed.Load() {
				return c.check(f)
			}
			return wire.Frame{}, ErrClosed
		}
	}
}

// check refuses what a stranger may not send.
func (c *memConn) check(f wire.Frame) (wire.Frame, error) {
	if !c.trusted && len(f.Body) > MaxStranger {
		c.bad = fmt.Errorf("%w: %v frame has a body of %d bytes, the bound is %d", wire.ErrFrame, f.Kind, len(f.Body), MaxStranger)
		return wire.Frame{}, c.bad
	}
	return f, nil
}

// Trust implements Conn.
func (c *memConn) Trust() { c.trusted = true }

// Binding implements Conn.
func (c *memConn) Binding() ([]byte, error) { return nil, nil }

// Close implements Conn.
func (c *memConn) Close() error {
	c.closed.Store(true)
	c.once.Do(func() { close(c.done) })
	return nil
}

// memQueue is one direction of a connection in memory.
type memQueue struct {
	mu struct {
		sync.Mutex
		frames []wire.Frame
		queued int
		room   chan struct{} // closed when room appears; nil while nobody waits
	}
	ready chan struct{} // holds a token while frames wait
}

func newMemQueue() *memQueue { return &memQueue{ready: make(chan struct{}, 1)} }

// push queues f, or returns a channel that closes when it is worth trying again.
func (q *memQueue) push(f wire.Frame) (room <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(f.Body) + wire.HeaderSize
	if q.mu.queued > 0 && q.mu.queued+n > MaxQueued {
		if q.mu.room == nil {
			q.mu.room = make(chan struct{})
		}
		return q.mu.room
	}
	q.mu.frames = append(q.mu.frames, f)
	q.mu.queued += n
	select {
	case q.ready <- struct{}{}:
	default:
	}
	return nil
}

func (q *memQueue) pop() (f wire.Frame, ok bool, ready <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.mu.frames) == 0 {
		return wire.Frame{}, false, q.ready
	}
	f = q.mu.frames[0]
	q.mu.frames[0] = wire.Frame{}
	q.mu.frames = q.mu.frames[1:]
	q.mu.queued -= len(f.Body) + wire.HeaderSize
	if q.mu.room != nil {
		close(q.mu.room)
		q.mu.room = nil
	}
	if len(q.mu.frames) > 0 {
		select {
		case q.ready <- struct{}{}:
		default:
		}
	}
	return f, true, nil
}
