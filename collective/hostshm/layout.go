// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package hostshm

import (
	"sync/atomic"
	"unsafe"
)

const (
	// MaxMembers is how many members may share a segment. With more, slots would be too small to be of use.
	MaxMembers = 2048
	// Budget is the most that the slots of a segment take together, in bytes; the two results come to it.
	Budget = 64 << 20
	// ReadyBytes is how many bytes of a slot are there from the start, without Room.
	ReadyBytes = middleBytes

	cacheLine = 64
	pageSize  = 4096

	inlineBytes = 96       // in the line of a member: what fits is there when the line is
	asideBytes  = 64       // that are free in one slot or the other
	middleBytes = 4 << 10  // of the slots that are there from the start
	largestSlot = 1 << 20  // bytes
	partBytes   = 64 << 10 // of what is folded at once: as much of all members of a node of the tree as fits into a cache
	maxParts    = largestSlot / partBytes
	readPart    = maxParts // the counter of a node that no part has
	radix       = 8        // members of a node of the tree
)

// head is what all members share. Each word that many write has a cache line to itself.
type head struct {
	bell    atomic.Uint32 // counts the events that those who wait are told of
	_       [cacheLine - 4]byte
	ready   atomic.Uint64 // the last round whose data may be read
	done    atomic.Uint64 // the last round at which all have arrived
	_       [cacheLine - 16]byte
	waiters atomic.Int32 // on the bell
	_       [cacheLine - 4]byte
	folded  atomic.Uint32 // parts of this round
	_       [cacheLine - 4]byte
	taken   atomic.Uint64 // parts that members of FoldExposed have taken, below the round
	_       [cacheLine - 8]byte
	ended   atomic.Uint32
	large   atomic.Uint32 // whether the large slots are backed: a state
	backer  atomic.Uint32 // 1 + the rank that backs them, or 0
	_       [cacheLine - 12]byte
}

// line is what one member alone writes.
type line struct {
	seq     atomic.Uint64    // of its call; 0 while the call is being written
	call    [2]atomic.Uint64 // what it called
	arrived atomic.Uint64    // the last round at which it arrived
	origin  origin
	inline  [2][inlineBytes]byte
}

// counter counts the arrivals at a node of the tree, for one part.
type counter struct {
	n atomic.Uint32
	_ [cacheLine - 4]byte
}

const (
	headBytes    = int(unsafe.Sizeof(head{}))
	lineBytes    = int(unsafe.Sizeof(line{}))
	counterBytes = int(unsafe.Sizeof(counter{}))
)

// layout says where things are in a segment of some members.
type layout struct {
	members  int
	nodes    []int // of the tree, by level from the leaves up
	lines    int   // offsets
	counters int
	middle   tier
	large    tier
	small    int // bytes that are backed from the start
	total    int
}

// tier is slots of one size, and two results.
type tier struct {
	at   int
	size int // bytes of a slot
}

func layoutFor(members int) layout {
	l := layout{members: members}
	all := 0
	for n := members; ; {
		n = (n + radix - 1) / radix
		l.nodes = append(l.nodes, n)
		all += n
		if n == 1 {
			break
		}
	}
	l.lines = headBytes
	l.counters = l.lines + members*lineBytes
	l.middle = tier{at: pages(l.counters + all*(maxParts+1)*counterBytes), size: middleBytes}
	l.small = l.middle.end(members)
	l.large = tier{at: l.small, size: max(min(Budget/(2*members), largestSlot)&^(pageSize-1), pageSize)}
	l.total = l.large.end(members)
	return l
}

func pages(n int) int { return (n + pageSize - 1) &^ (pageSize - 1) }

// slot returns where the slot of a rank is in rounds of a parity. Behind the last rank's is the result.
func (t tier) slot(members, parity, rank int) int { return t.at + (parity*(members+1)+rank)*t.size }

func (t tier) end(members int) int { return t.slot(members, 2, 0) }

// counter returns the number of the counter of a node for a part.
func (l *layout) counter(level, node, part int) int {
	for _, n := range l.nodes[:level] {
		node += n
	}
	return node*(maxParts+1) + part
}

// width returns how many children a node has: members for a leaf.
func (l *layout) width(level, node int) int {
	children := l.members
	if level > 0 {
		children = l.nodes[level-1]
	}
	return min(radix, children-node*radix)
}

// first returns the first rank below a child of a node.
func (l *layout) first(level, child int) int {
	for range level {
		child *= radix
	}
	return child
}
