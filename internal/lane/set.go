// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package lane

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/tutti-go/tutti/internal/wire"
)

// Most is how many connections a set may have.
const Most = 8

// ErrClosed says that a set is closed.
var ErrClosed = errors.New("lane: closed")

// Set is the lanes to one peer.
type Set struct {
	most  int
	open  func() (net.Conn, error)
	start func(func()) bool

	mu struct {
		sync.Mutex

		queue   []*Segment // from head on
		head    int
		lanes   int // that write, or wait for something to write
		idle    int // of them, those that wait
		opening bool
		enough  bool // another could not be opened: there will be no more
		err     error
	}
	ready sync.Cond // on mu: there is something in the queue, or err
}

// NewSet returns a set of up to most connections, without one so far. open opens one to the peer, and takes as long as it takes; what it returns is the
// caller's to close, which must be before or with Close of the set. start runs a function on a goroutine that the caller waits for, or
// says that it does not.
func NewSet(most int, open func() (net.Conn, error), start func(func()) bool) *Set {
	s := &Set{most: max(1, min(most, Most)), open: open, start: start}
	s.ready.L = &s.mu
	return s
}

// Send puts a segment behind those that wait. It does not block. Without an error Sent follows.
func (s *Set) Send(seg *Segment) error {
	s.mu.Lock()
	if s.mu.err != nil {
		defer s.mu.Unlock()
		return s.mu.err
	}
	s.mu.queue = append(s.mu.queue, seg)
	waiting := len(s.mu.queue) - s.mu.head
	more := !s.mu.opening && !s.mu.enough && s.mu.lanes < s.most && waiting > s.mu.idle
	if more {
		s.mu.opening = true
	}
	s.mu.Unlock()
	s.ready.Signal()
	if more && !s.start(s.run) {
		s.Close(ErrClosed)
	}
	return nil
}

// Lanes returns how many connections there are.
func (s *Set) Lanes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.lanes
}

// Close makes cause the outcome of all that was not sent. It does not block; goroutines of the set end when their connections do.
func (s *Set) Close(cause error) {
	s.mu.Lock()
	if s.mu.err != nil {
		s.mu.Unlock()
		return
	}
	s.mu.err = cause
	left := s.mu.queue[s.mu.head:]
	s.mu.queue, s.mu.head = nil, 0
	s.mu.Unlock()
	s.ready.Broadcast()
	for _, seg := range left {
		seg.end(cause)
	}
}

// run opens a connection and writes what comes until the end.
func (s *Set) run() {
	nc, err := s.open()
	s.mu.Lock()
	s.mu.opening = false
	switch {
	case err != nil && s.mu.lanes == 0:
		s.mu.Unlock()
		s.Close(fmt.Errorf("open a lane: %w", err))
		return
	case err != nil:
		s.mu.enough = true
		s.mu.Unlock()
		return
	}
	s.mu.lanes++
	s.mu.Unlock()
	w := newWriter(nc)
	for {
		seg := s.next()
		if seg == nil {
			return
		}
		if !seg.begin() {
			seg.end(nil)
			continue
		}
		err := w.write(seg)
		if err != nil {
			err = fmt.Errorf("lane broke: %w", err)
			s.Close(err)
		}
		seg.end(err)
	}
}

// next waits for the next segment; nil at the end.
func (s *Set) next() *Segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.mu.err == nil && s.mu.head == len(s.mu.queue) {
		s.mu.idle++
		s.ready.Wait()
		s.mu.idle--
	}
	if s.mu.err != nil {
		return nil
	}
	seg := s.mu.queue[s.mu.head]
	s.mu.queue[s.mu.head] = nil
	if s.mu.head++; s.mu.head == len(s.mu.queue) {
		s.mu.queue, s.mu.head = s.mu.queue[:0], 0
	}
	return seg
}

// writer writes segments to one connection.
type writer struct {
	nc   net.Conn
	raw  syscall.RawConn // nil: everything is copied
	copy []byte
	step func(fd uintptr) bool
	seg  *Segment // that step writes
	err  error    // of step
}

func newWriter(nc net.Conn) *writer {
	keepNear(nc)
	w := &writer{nc: nc, raw: rawOf(nc)}
	w.step = w.try
	return w
}

func (w *writer) write(seg *Segment) error {
	if w.raw == nil {
		w.copy = seg.copyRest(w.copy[:0])
		_, err := w.nc.Write(w.copy)
		return err
	}
	w.seg, w.err = seg, nil
	err := w.raw.Write(w.step)
	w.seg = nil
	return errors.Join(err, w.err)
}

// try writes what the socket takes, and reports whether that is all or there is an error. Memory of the owner's is only read here.
func (w *writer) try(fd uintptr) bool {
	mu := &w.seg.mu
	mu.Lock()
	defer mu.Unlock()
	for len(mu.rest) > 0 {
		n, err := writev(fd, mu.rest)
		switch {
		case again(err):
			return false
		case err != nil:
			w.err = err
			return true
		}
		mu.rest = wire.Skip(mu.rest, n)
	}
	return true
}
