// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package hostshm

import (
	"errors"
	"fmt"
	"time"
)

// ErrEnded is returned by waits after End.
var ErrEnded = errors.New("hostshm: the segment has ended")

// Call is what a member called: all members must be in the same call in a round.
type Call struct {
	Seq  uint64 // from 1
	What [2]uint64
}

// Mismatch is a member that called something else.
type Mismatch struct {
	Rank int
	Call Call
}

// Idle is called by a member that has waited for a while, and again after each while that it returns, or earlier. Its error ends the wait.
type Idle func() (time.Duration, error)

// Reduce makes dst of sources that are in the order of ranks, of which the first may be dst. top says that dst is a part of the result, for which
// nothing is missing.
type Reduce func(dst []byte, srcs [][]byte, top bool)

// firstSleep is how long a member sleeps before it looks around for the first time.
const firstSleep = 10 * time.Millisecond

// Port is one member's end of a segment.
type Port struct {
	*Segment

	bell   bell
	rank   int
	round  uint64
	turns  uint32 // in which it gave way to others, see linger
	inRoom bool   // it waits for memory
	call   Call
	srcs   [radix][]byte
	result []byte                         // of FoldInto
	source func(rank int) ([]byte, error) // of FoldPlaced
	failed error                          // of source
	token  [tokenBytes]byte               // that others find where the origin of this member says
	reader reader

	exposed int // parity of the round in which the member exposed memory
	below   below
}

// Port returns the end of a rank, which must be one and have no other. It goes with the segment.
func (s *Segment) Port(rank int) (*Port, error) {
	p := &Port{Segment: s, rank: rank}
	if err := s.memory.hear(&p.bell, &p.head().bell); err != nil {
		return nil, fmt.Errorf("hostshm: hear the bell: %w", err)
	}
	s.ports.Add(1)
	return p, nil
}

// Begin says what the member calls from now on. Others learn of it when it enters a round: until then they may need what it called before.
func (p *Port) Begin(c Call) { p.call = c }

// Enter begins a round. It waits until all have arrived at the one before.
func (p *Port) Enter(idle Idle) error {
	h := p.head()
	before := p.round
	if err := p.wait(func() bool { return h.done.Load() >= before }, idle); err != nil {
		return err
	}
	p.round++
	if l := p.line(p.rank); l.seq.Load() != p.call.Seq {
		l.seq.Store(0)
		l.call[0].Store(p.call.What[0])
		l.call[1].Store(p.call.What[1])
		l.seq.Store(p.call.Seq)
	}
	return nil
}

// Slot returns the first n bytes of a rank's slot in this round, of those that Room has found. A member writes to its own, the publisher to any.
// Which n is given must be the same at all members.
func (p *Port) Slot(rank, n int) []byte { return p.slot(p.parity(), rank, n) }

// Result returns the first n bytes of this round's result.
func (p *Port) Result(n int) []byte { return p.slot(p.parity(), p.members, n) }

// Wide returns the first n bytes of what the slots of all members are together in this round, of those that RoomWide has found. It is for rounds in
// which the publisher alone has data.
func (p *Port) Wide(n int) []byte {
	if n <= middleBytes {
		return p.Result(n)
	}
	return p.slot(p.parity(), 0, n)
}

// Aside returns 64 bytes of a rank's slot in this round that are free where the data in slots have so many bytes.
func (p *Port) Aside(rank, used int) []byte {
	if used > inlineBytes {
		return p.Slot(rank, asideBytes)
	}
	return p.Slot(rank, inlineBytes+1)[:asideBytes]
}

func (p *Port) parity() int { return int(p.round & 1) }

// Publish says that what others read in this round is there.
func (p *Port) Publish() {
	p.head().ready.Store(p.round)
	p.ring(false)
}

// Await waits until all have arrived at this round, or one has published it.
func (p *Port) Await(idle Idle) error {
	h, round := p.head(), p.round
	return p.wait(func() bool { return h.ready.Load() >= round }, idle)
}

// wait waits until something is so.
func (p *Port) wait(so func() bool, idle Idle) error {
	if so() {
		return nil
	}
	if p.linger(so) {
		return nil
	}
	h := p.head()
	nudges, look := p.nudges.Load(), time.Now().Add(firstSleep)
	for {
		bell := h.bell.Load()
		switch {
		case so():
			return nil
		case h.ended.Load() != 0:
			if so() { // who ended it had been through this round
				return nil
			}
			return ErrEnded
		}
		h.waiters.Add(1)
		if bell == h.bell.Load() && nudges == p.nudges.Load() {
			p.bell.await(bell, look)
		}
		h.waiters.Add(-1)
		if so() {
			return nil
		}
		if n := p.nudges.Load(); n != nudges || !time.Now().Before(look) {
			most, err := idle()
			if err != nil {
				return err
			}
			nudges, look = n, time.Now().Add(most)
		}
	}
}

// Arrive says that the member has given what it had to give, and, where the round is published, has read. The Mismatch, if any, is
// a member that is in another call; then the round does not end.
func (p *Port) Arrive() *Mismatch { return p.Fold(nil, nil) }

// FoldInto is Fold with another memory for the result, which is the same at all members.
func (p *Port) FoldInto(own, result []byte, reduce Reduce) *Mismatch {
	p.result = result
	defer func() { p.result = nil }()
	return p.Fold(own, reduce)
}

// Fold arrives with a contribution of the member, of which all give as many bytes, no more than Room has found. The last member of each node of the tree
// calls reduce, for parts that are cut at multiples of 64 bytes; what comes of it in the end is Result. Own is only read. The Mismatch is that of Arrive.
func (p *Port) Fold(own []byte, reduce Reduce) *Mismatch {
	parts := partsOf(len(own), partBytes)
	for i := range parts {
		part := (i + p.rank) % parts // those who arrive together share the work
		from, to := rangeOf(part, parts, len(own))
		m, complete := p.fold(part, own, from, to, reduce)
		if m != nil {
			return m
		}
		if complete && (parts == 1 || int(p.head().folded.Add(1)) == parts) {
			p.complete()
			return nil
		}
	}
	p.line(p.rank).arrived.Store(p.round)
	return nil
}

// partsOf returns into how many parts of some bytes n bytes are cut.
func partsOf(n, bytes int) int { return min(max(1, (n+bytes-1)/bytes), maxParts) }

// rangeOf returns where a part of n bytes begins and ends.
func rangeOf(part, parts, n int) (from, to int) {
	size := (n/parts + cacheLine - 1) &^ (cacheLine - 1)
	from = min(part*size, n)
	if part == parts-1 {
		return from, n
	}
	return from, min(from+size, n)
}

// complete ends the round.
func (p *Port) complete() {
	h := p.head()
	if h.folded.Load() != 0 {
		h.folded.Store(0)
	}
	p.line(p.rank).arrived.Store(p.round)
	h.ready.Store(p.round) // before done: after that another may publish the next
	h.done.Store(p.round)
	p.ring(false)
}

// fold arrives with one part, and goes up the tree as long as it is the last. complete says that it got to the top.
func (p *Port) fold(part int, own []byte, from, to int, reduce Reduce) (m *Mismatch, complete bool) {
	node := p.rank / radix
	width, c := p.width(0, node), p.count(0, node, part)
	if int(c.n.Load()) != width-1 { // else it is the last, and need not copy
		if to > from {
			copy(p.Slot(p.rank, len(own))[from:to], own[from:to])
		}
		if int(c.n.Add(1)) != width {
			return nil, false
		}
	}
	c.n.Store(0)
	return p.climb(part, own, from, to, reduce)
}

// climb reduces one part of what the members of the caller's node have given, and goes up the tree as long as it is the last.
func (p *Port) climb(part int, own []byte, from, to int, reduce Reduce) (m *Mismatch, complete bool) {
	n, node := len(own), p.rank/radix
	for level := range p.nodes {
		if level > 0 {
			node /= radix
			c := p.count(level, node, part)
			if int(c.n.Add(1)) != p.width(level, node) {
				return nil, false
			}
			c.n.Store(0)
		}
		width, top := p.width(level, node), level == len(p.nodes)-1
		if m := p.gather(level, node, width, own, from, to); m != nil || p.failed != nil {
			return m, false
		}
		if to > from {
			dst := p.Slot(p.first(level+1, node), n)
			if top && p.result != nil {
				dst = p.result
			} else if top {
				dst = p.Result(n)
			}
			reduce(dst[from:to:to], p.srcs[:width], top)
			clear(p.srcs[:width]) // it holds on to nobody's memory
		}
		if level == 0 && p.source != nil {
			p.count(0, node, readPart).n.Add(1)
		}
	}
	return nil, true
}

// gather finds the contributions of the children of a node, and makes sure that all are in the same call.
func (p *Port) gather(level, node, width int, own []byte, from, to int) *Mismatch {
	for i := range width {
		rank := p.first(level, node*radix+i)
		if rank != p.rank {
			if m := p.Check(rank); m != nil {
				return m
			}
		}
		if to > from {
			p.srcs[i] = p.contribution(level, rank, own, from, to)
		}
	}
	return nil
}

// contribution returns a part of what is below a child of a node, of which rank is the first.
func (p *Port) contribution(level, rank int, own []byte, from, to int) []byte {
	switch {
	case level == 0 && rank == p.rank:
		return own[from:to]
	case level == 0 && p.source != nil:
		b, err := p.source(rank)
		if err == nil && len(b) != len(own) {
			err = fmt.Errorf("hostshm: rank %d contributes %d bytes, rank %d %d", rank, len(b), p.rank, len(own))
		}
		if err != nil {
			p.failed = err
			return nil
		}
		return b[from:to]
	default:
		return p.Slot(rank, len(own))[from:to]
	}
}

// called returns what a member that is in a call has called.
func (p *Port) called(rank int) Call {
	l := p.line(rank)
	return Call{l.seq.Load(), [2]uint64{l.call[0].Load(), l.call[1].Load()}}
}

// Check compares the call of a rank that is in this round, such as its publisher, with this member's.
func (p *Port) Check(rank int) *Mismatch {
	if c := p.called(rank); c != p.call {
		return &Mismatch{rank, c}
	}
	return nil
}

// Differing returns a member that is in the same call by number but called something else.
func (p *Port) Differing() *Mismatch {
	for rank := range p.members {
		if c := p.called(rank); c.Seq == p.call.Seq && c.What != p.call.What && p.called(rank) == c {
			return &Mismatch{rank, c}
		}
	}
	return nil
}

// Missing returns the first rank of some that has not arrived where the member waits, or -1.
func (p *Port) Missing(of func(rank int) bool) int {
	if backer := int(p.head().backer.Load()) - 1; p.inRoom && backer >= 0 && of(backer) {
		return backer
	}
	round := p.round
	if p.line(p.rank).arrived.Load() < round {
		round-- // it has not arrived itself: it enters, or awaits the publisher
	}
	for rank := range p.members {
		if p.line(rank).arrived.Load() < round && of(rank) {
			return rank
		}
	}
	return -1
}

// Progress returns a number that changes whenever a member arrives.
func (p *Port) Progress() uint64 {
	var all uint64
	for rank := range p.members {
		all += p.line(rank).arrived.Load()
	}
	return all
}
