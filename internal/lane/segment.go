// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package lane

import (
	"slices"
	"sync"
)

// Owner is told what becomes of its segments.
type Owner interface {
	// Sent says that the system has taken a segment over, and that its memory is free; or that it was not sent, and why. It must
	// not block. It is not called for a segment that was withdrawn.
	Sent(s *Segment, err error)
}

// Segment is one frame on its way. It may be used again after Sent.
type Segment struct {
	Owner Owner
	Head  []byte   // in front of the body; the set's until Sent, also of a segment that was withdrawn
	Body  [][]byte // memory of the owner's

	mu struct {
		sync.Mutex

		state state
		rest  [][]byte // what is left to write, of the one that is being written
		whole [][]byte // what rest is cut from
	}
}

type state uint8

const (
	queued    state = iota
	writing         // some bytes may be out: the rest must follow
	withdrawn       // Sent is not called
)

// Withdraw takes a segment's body back: when it returns nobody reads it any more, and Sent is not called. If a part of it is on its way
// the rest is copied, so that what arrives is whole.
func (s *Segment) Withdraw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.state == writing {
		s.mu.rest = [][]byte{slices.Concat(s.mu.rest...)}
	}
	s.mu.state = withdrawn
}

// begin makes a segment the one that is written, unless it was withdrawn.
func (s *Segment) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.state == withdrawn {
		return false
	}
	s.mu.state = writing
	s.mu.whole = append(append(s.mu.whole[:0], s.Head), s.Body...)
	s.mu.rest = s.mu.whole
	return true
}

// copyRest appends what is left to b.
func (s *Segment) copyRest(b []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, piece := range s.mu.rest {
		b = append(b, piece...)
	}
	s.mu.rest = nil
	return b
}

// end tells the owner.
func (s *Segment) end(err error) {
	s.mu.Lock()
	told := s.mu.state == withdrawn
	s.mu.state = queued
	s.mu.rest = nil
	clear(s.mu.whole)
	s.mu.Unlock()
	if !told {
		s.Owner.Sent(s, err)
	}
}
