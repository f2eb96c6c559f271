// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package hostshm

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

// File is the identity of a file among all machines. The zero File is none.
type File struct{ Boot, Device, Inode, Bell uint64 }

// Segment is memory that the members of one epoch share. It may be used from many goroutines.
type Segment struct {
	layout

	file   File
	memory *mapping

	patience   time.Duration
	processors int // of the Go scheduler
	ports      atomic.Int32
	nudges     atomic.Uint32
}

// Open makes or opens the segment at path for a number of members, from 2 to [MaxMembers]. All must give the same number. Whoever
// opened the same file, which File tells, shares the segment, and goes on to do so when the path is removed. Close must be called.
func Open(path string, members int) (*Segment, error) {
	if members < 2 || members > MaxMembers {
		return nil, fmt.Errorf("hostshm: %d members, want 2 to %d", members, MaxMembers)
	}
	s := &Segment{layout: layoutFor(members), patience: patienceOf(members, runtime.NumCPU()), processors: runtime.GOMAXPROCS(0)}
	m, id, err := open(path, s.total, s.small)
	if err != nil {
		return nil, fmt.Errorf("hostshm: open %s: %w", path, err)
	}
	s.memory, s.file = m, id
	return s, nil
}

// Remove removes the names that Open made at a path, if they are there. Whoever has opened the segment keeps it.
func Remove(path string) error {
	var err error
	for _, name := range []string{path, path + bellSuffix} {
		if e := os.Remove(name); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("hostshm: %w", e))
		}
	}
	return err
}

// Patience returns how long a member that waits gives way to others before it sleeps.
func (s *Segment) Patience() time.Duration { return s.patience }

// File returns the identity of the file.
func (s *Segment) File() File { return s.file }

// Members returns the number of members.
func (s *Segment) Members() int { return s.members }

// Close unmaps the segment. No port may be in use.
func (s *Segment) Close() error {
	if err := s.memory.close(); err != nil {
		return fmt.Errorf("hostshm: close: %w", err)
	}
	return nil
}

// End makes all waits of all members end, now and later, with ErrEnded.
func (s *Segment) End() {
	s.head().ended.Store(1)
	s.ring(true)
}

// Ended reports whether End was called by any member.
func (s *Segment) Ended() bool { return s.head().ended.Load() != 0 }

// Nudge makes the members of this process that wait look around, as they do after a while.
func (s *Segment) Nudge() {
	s.nudges.Add(1)
	s.ring(true)
}

// ring tells those that wait that something has happened.
func (s *Segment) ring(always bool) {
	h := s.head()
	h.bell.Add(1)
	if always || h.waiters.Load() > 0 {
		s.memory.strike()
	}
}

func (s *Segment) head() *head { return (*head)(s.memory.base) }

func (s *Segment) line(rank int) *line {
	return (*line)(unsafe.Add(s.memory.base, s.lines+rank*lineBytes))
}

func (s *Segment) count(level, node, part int) *counter {
	return (*counter)(unsafe.Add(s.memory.base, s.counters+s.counter(level, node, part)*counterBytes))
}

// slot returns n bytes of the slot of a rank in rounds of a parity; the rank behind the last has the result.
func (s *Segment) slot(parity, rank, n int) []byte {
	switch {
	case n <= inlineBytes && rank < s.members:
		return s.line(rank).inline[parity][:n:n]
	case n <= middleBytes:
		return unsafe.Slice((*byte)(unsafe.Add(s.memory.base, s.middle.slot(s.members, parity, rank))), n)
	default:
		return unsafe.Slice((*byte)(unsafe.Add(s.memory.base, s.large.slot(s.members, parity, rank))), n)
	}
}

// The states of the large slots.
const (
	unbacked = iota
	backed
	refused
)

// Room returns how many bytes of n a slot has, at all members the same: n itself where that fits. It may have to ask the system for memory first. Then it
// waits for the member that does, like Await. A Port may call it between its rounds.
func (p *Port) Room(n int, idle Idle) (int, error) {
	s, h := p.Segment, p.head()
	if n <= middleBytes {
		return n, nil
	}
	if h.large.Load() == unbacked && h.backer.CompareAndSwap(0, uint32(p.rank)+1) {
		state := uint32(backed)
		if s.memory.back(s.large.at, s.total) != nil {
			state = refused
		}
		h.large.Store(state)
		s.ring(true)
	}
	p.inRoom = true
	err := p.wait(func() bool { return h.large.Load() != unbacked }, idle)
	p.inRoom = false
	if h.large.Load() == refused {
		return middleBytes, err
	}
	return min(n, s.large.size), err
}

// RoomWide is Room for Wide. So it is up to 1 MiB however many members there are: with 400 a slot has 80 KiB, and in each round each has to have its turn.
func (p *Port) RoomWide(n int, idle Idle) (int, error) {
	room, err := p.Room(n, idle)
	if room == n || room <= middleBytes || err != nil {
		return room, err
	}
	return min(n, max(room, min(room*p.members, largestSlot))), nil
}

// RoomPlaced is Room for FoldPlaced: only one member of each node of the tree needs its slot then, and has those of its neighbours besides.
func (p *Port) RoomPlaced(n int, idle Idle) (int, error) {
	if len(p.nodes) == 1 {
		return n, nil // what comes of the only node is the result
	}
	room, err := p.Room(n, idle)
	if room == n || room <= middleBytes || err != nil {
		return room, err
	}
	last := p.width(0, p.nodes[0]-1)
	return min(n, room*last), nil
}
