// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/tutti-go/tutti/internal/wire"
)

// A member that waits for another asks it now and then, by a probe, what it does. The other compares the calls of the two, which
// matters where a mismatch makes all wait and nobody send; and it answers whom it waits for itself, which leads the first, probe
// by probe, to the member that all wait for.

const (
	// probeAfter is how long a member waits before it asks. It waits twice as long before it asks again, up to probeEvery.
	probeAfter = 100 * time.Millisecond
	probeEvery = 2 * time.Second
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
}

// probe starts to look for the member that this one waits for in the end.
func (m *member) probe(ctx context.Context, rank int) error {
	m.mu.Lock()
	c := &m.mu.chase
	switch number := m.numberLocked(); {
	case c.seq != number:
		*c = chase{seq: number, suspect: -1}
	case c.asked >= 0: // since the last time
		c.suspect, c.idle = c.asked, false
	}
	c.asked, c.hops = rank, 0
	k, body := m.questionLocked()
	m.mu.Unlock()
	return m.post(ctx, rank, k, body)
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
	return mark{stepProbe, m.mu.seq, call.hash}, call.append(nil)
}

// pointProbedLocked answers the probe of a member that waits in Send or Recv, which has nothing to compare.
func (m *member) pointProbedLocked(from int, f wire.Frame) {
	answer := uint32(nobody)
	switch {
	case !m.mu.running && !m.mu.point:
		answer = uint32(m.rank)
	case m.mu.awaits >= 0:
		answer = uint32(m.mu.awaits)
	}
	m.background(from, mark{step: stepAnswer, seq: f.Seq}, binary.LittleEndian.AppendUint32(nil, answer))
}

// probedLocked answers a probe.
func (m *member) probedLocked(from int, f wire.Frame) *ending {
	if end := m.checkLocked(from, f); end != nil {
		return end
	}
	answer := uint32(nobody)
	switch {
	case f.Seq < m.mu.seq: // this member has done its part
	case (m.mu.running || m.mu.point && f.Seq > m.mu.seq) && m.mu.awaits >= 0:
		answer = uint32(m.mu.awaits)
	case f.Seq > m.mu.seq && !m.mu.running && !m.mu.point:
		answer = uint32(m.rank)
	}
	m.background(from, mark{stepAnswer, f.Seq, 0}, binary.LittleEndian.AppendUint32(nil, answer))
	return nil
}

// answeredLocked follows an answer.
func (m *member) answeredLocked(from int, f wire.Frame) *ending {
	if len(f.Body) != 4 {
		return &ending{code: codeOther, text: fmt.Sprintf("rank %d: malformed answer of rank %d", m.rank, from)}
	}
	c := &m.mu.chase
	if number := m.numberLocked(); f.Seq != number || c.seq != number || c.asked != from {
		return nil // of an earlier operation, or an earlier probe
	}
	next := binary.LittleEndian.Uint32(f.Body)
	switch {
	case uint64(next) == uint64(from):
		c.asked, c.suspect, c.idle = -1, from, true
	case uint64(next) >= uint64(len(m.s.members)), uint64(next) == uint64(m.rank), c.hops == maxHops:
		c.asked, c.suspect = -1, -1
	default:
		c.asked = int(next)
		c.hops++
		k, body := m.questionLocked()
		m.background(c.asked, k, body)
	}
	return nil
}

// background posts a frame from a goroutine that does not block its caller, who may be the reader of a link.
func (m *member) background(to int, k mark, body []byte) {
	m.s.hub.wg.Go(func() {
		ctx, cancel := context.WithTimeout(m.s.ctx, tellPatience)
		defer cancel()
		_ = m.post(ctx, to, k, body) // without an answer the other goes on as before
	})
}

// blame says who is to blame when the operation's time is up: a list of one rank or none, and words for it.
func (m *member) blame() ([]int, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
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
