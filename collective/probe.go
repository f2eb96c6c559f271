// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tutti-go/tutti/internal/wire"
)

// A member that waits for another asks it now and then, by a probe, what it does. The other compares the calls of the two, which
// matters where a mismatch makes all wait and nobody send; and it answers whom it waits for itself, which leads the first, probe
// by probe, to the member that all wait for.

const (
	// probeAfter is how long a member waits before it asks. It waits twice as long before it asks again, up to probeEvery; after a
	// question without an answer it asks at every tick.
	probeAfter = 100 * time.Millisecond
	probeEvery = 500 * time.Millisecond
	// maxHops bounds how many members are asked in turn. The edges that they wait on are a round apart, so that it is never
	// reached without a mistake.
	maxHops = 1000
	// nobody in an answer: the member waits for none and has done its part, or does it.
	nobody = math.MaxUint32
)

// chase is what a member knows of whom it waits for in one operation.
type chase struct {
	seq     uint64 // number of the operation
	asked   int    // the rank that was asked last and has not answered, or -1
	hops    int
	suspect int  // the rank that all wait for, as far as the last probes told, or -1
	idle    bool // the suspect said that it has not begun the operation; otherwise it does not answer
	head    int  // the rank that the last probes began with; those that the operation waits for take turns
	tails   map[int]tail
	went    bool // a tail has changed since the guard looked last

	silent int // rank of which nothing was heard since it was asked, or -1
	missed time.Duration
	heard  uint32 // from its node, for whatever member, when it began to be silent
}

// begin makes c the chase of an operation.
func (c *chase) begin(number uint64) {
	tails := c.tails
	if tails == nil {
		tails = map[int]tail{}
	}
	clear(tails)
	*c = chase{seq: number, asked: -1, suspect: -1, head: -1, silent: -1, tails: tails}
}

// tail is where probes that began with one rank came to last, and how much that member had moved.
type tail struct {
	rank  int
	moved uint64
}

// nextHeadLocked returns whom to ask next: the same as before if that led to no answer.
func (m *member) nextHeadLocked(first int, quiet bool) int {
	heads := append(make([]int, 0, 1+len(m.mu.also)), first)
	for _, f := range m.mu.also {
		heads = append(heads, f.peer)
	}
	switch i := slices.Index(heads, m.mu.chase.head); {
	case i < 0:
		return first
	case quiet:
		return heads[i]
	default:
		return heads[(i+1)%len(heads)]
	}
}

// probe starts to look for the member that this one waits for in the end. quiet says that the last question has no answer yet.
func (m *member) probe(ctx context.Context, rank int) (quiet bool, err error) {
	m.mu.Lock()
	c := &m.mu.chase
	tick, silence := m.s.bounds.tick(), m.s.bounds.Silence
	switch number := m.numberLocked(); {
	case c.seq != number:
		c.begin(number)
	case c.asked >= 0: // since the last time
		node := m.s.nodeOf(c.asked)
		c.suspect, c.idle, quiet = c.asked, false, node != m.s.hub.mesh.Self()
		heard := m.s.heardFrom(node).Load()
		if c.silent != c.asked || c.heard != heard || !quiet { // what is on this node lives, however late it answers
			c.silent, c.missed, c.heard = c.asked, 0, heard
		}
		if c.missed += tick; c.missed >= silence {
			end := m.s.silentNode(c.silent, m.rank)
			m.mu.Unlock()
			return true, end
		}
	}
	rank = m.nextHeadLocked(rank, quiet)
	c.head, c.asked, c.hops = rank, rank, 0
	k, body := m.questionLocked()
	m.mu.Unlock()
	return quiet, m.postGuarded(ctx, rank, k, body)
}

// silentNode is the end of an epoch because the node of a rank gives no sign of life.
func (s *session) silentNode(rank, by int) *ending {
	node := s.nodeOf(rank)
	return &ending{
		code: codeLost, failed: s.ranksOn(node),
		text: fmt.Sprintf("node %d of rank %d is silent for %v, as rank %d finds", node, rank, s.bounds.Silence, by),
	}
}

// pointNumbers are the numbers of Send and Recv in probes, which every member counts for itself.
const pointNumbers = 1 << 63

// numberLocked tells the operations of this member apart, in probes and their answers.
func (m *member) numberLocked() uint64 {
	if m.mu.point {
		return pointNumbers | m.mu.pointed
	}
	return m.mu.seq
}

// questionLocked makes a probe.
func (m *member) questionLocked() (mark, []byte) {
	if m.mu.point {
		return mark{step: stepPointProbe, seq: m.numberLocked()}, nil
	}
	call := m.mu.calls[m.mu.seq%remembered]
	return mark{step: stepProbe, seq: m.mu.seq, hash: call.hash}, call.append(nil)
}

// pointProbedLocked answers the probe of a member that waits in Send or Recv, which has nothing to compare.
func (m *member) pointProbedLocked(from int, f wire.Frame) {
	next := uint32(nobody)
	switch {
	case !m.mu.running && !m.mu.point:
		next = uint32(m.rank)
	case m.mu.running && m.mu.inHeap:
		if rank := m.s.heap.awaits(); rank >= 0 {
			next = uint32(rank)
		}
	case m.mu.awaits >= 0:
		next = uint32(m.mu.awaits)
	}
	m.background(from, mark{step: stepAnswer, seq: f.Seq}, answer{next, m.mu.moved}.encode())
}

// probedLocked answers a probe.
func (m *member) probedLocked(from int, f wire.Frame) *ending {
	if end := m.checkLocked(from, f); end != nil {
		return end
	}
	next := uint32(nobody)
	switch {
	case f.Seq < m.mu.seq: // this member has done its part
	case (m.mu.running || m.mu.point && f.Seq > m.mu.seq) && m.mu.awaits >= 0:
		next = uint32(m.mu.awaits)
	case f.Seq > m.mu.seq && !m.mu.running && !m.mu.point:
		next = uint32(m.rank)
	}
	m.background(from, mark{step: stepAnswer, seq: f.Seq}, answer{next, m.mu.moved}.encode())
	return nil
}

// answeredLocked follows an answer.
func (m *member) answeredLocked(from int, f wire.Frame) *ending {
	a, err := parseAnswer(f.Body)
	if err != nil {
		return &ending{code: codeOther, text: fmt.Sprintf("rank %d: of rank %d: %v", m.rank, from, err), cause: err}
	}
	c := &m.mu.chase
	if number := m.numberLocked(); f.Seq != number || c.seq != number || c.asked != from {
		return nil // of an earlier operation, or an earlier probe
	}
	c.asked = -1
	if c.suspect == from {
		c.suspect = -1
	}
	switch {
	case uint64(a.next) == uint64(from):
		c.suspect, c.idle = from, true
	case uint64(a.next) >= uint64(len(m.s.members)), uint64(a.next) == uint64(m.rank), c.hops == maxHops:
	default:
		c.asked = int(a.next)
		c.hops++
		k, body := m.questionLocked()
		m.background(c.asked, k, body)
		return nil
	}
	now := tail{from, a.moved}
	if before, known := c.tails[c.head]; known && before != now {
		c.went = true
	}
	c.tails[c.head] = now
	return nil
}

// background posts a frame from a goroutine that does not block its caller, who may be the reader of a link.
func (m *member) background(to int, k mark, body []byte) {
	m.s.hub.background(func(ctx context.Context) {
		_ = m.post(ctx, to, k, body) // without an answer the other goes on as before
	})
}

// blame says who is to blame when the operation's time is up: a list of one rank or none, and words for it.
func (m *member) blame() ([]int, string) {
	m.mu.Lock()
	if m.mu.running && m.mu.inHeap {
		m.mu.Unlock()
		return m.s.blame(m.s.heap.awaits())
	}
	defer m.mu.Unlock()
	return m.blameLocked()
}

func (m *member) blameLocked() ([]int, string) {
	c := &m.mu.chase
	switch {
	case c.seq != m.numberLocked() || c.suspect < 0:
		return nil, ""
	case c.idle:
		return []int{c.suspect}, fmt.Sprintf("; rank %d has not called it", c.suspect)
	default:
		return []int{c.suspect}, fmt.Sprintf("; rank %d does not answer", c.suspect)
	}
}
