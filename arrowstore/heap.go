// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import "math/bits"

const (
	unit      = 64 // bytes: alignment of every object and buffer, and the allocator's grain
	unitShift = 6

	subBits  = 4 // 16 free lists per power of two: a fit is never more than 1/16 larger than needed
	subCount = 1 << subBits
	topCount = 32 - subBits + 1
)

// span is a range of a segment that the heap has handed out. Offsets and sizes are in units.
type span struct {
	seg   uint32
	off   uint32
	units uint32
	// node is the heap node of the range, or ^slab for a range within a slab.
	node int32
}

func (sp span) start() int64 { return int64(sp.off) << unitShift }
func (sp span) bytes() int64 { return int64(sp.units) << unitShift }

// heap divides segments into spans: two-level segregated fit with immediate coalescing over all segments together, so
// that taking and giving back are O(1), and slabs for small spans. It knows sizes only, never memory: its nodes live in
// slices without pointers on the Go heap of the owner, where no other process can damage them. It is not safe for
// concurrent use.
type heap struct {
	nodes []node
	spare int32 // head of the list of unused nodes, linked by next; none is 0

	tops  uint32
	subs  [topCount]uint32
	lists [topCount][subCount]int32 // heads of free lists; none is 0

	slabs slabs
}

// node is a range of a segment, free or used. Node 0 is not a node, so that 0 can mean none.
type node struct {
	seg, off, units uint32
	before, after   int32 // neighbours by address within the segment
	prev, next      int32 // neighbours in the free list
	free            bool
}

func newHeap() *heap {
	h := &heap{nodes: make([]node, 1, 64)}
	h.slabs.init()
	return h
}

// addSegment hands a whole new segment to the heap and returns its node.
func (h *heap) addSegment(seg, units uint32) int32 {
	n := h.newNode(node{seg: seg, units: units})
	h.link(n)
	return n
}

// take returns a span of exactly the given units, or false when no segment has one.
func (h *heap) take(units uint32) (span, bool) {
	if class, ok := slabClass(units); ok {
		return h.takeSmall(class)
	}
	return h.takeLarge(units)
}

func (h *heap) takeLarge(units uint32) (span, bool) {
	n := h.find(units)
	if n == 0 {
		return span{}, false
	}
	return h.carve(n, units), true
}

// carve takes a free node, returns what is over to the free lists, and hands out the rest.
func (h *heap) carve(n int32, units uint32) span {
	h.unlink(n)
	if over := h.nodes[n].units - units; over > 0 {
		at := h.nodes[n]
		rest := h.newNode(node{seg: at.seg, off: at.off + units, units: over, before: n, after: at.after})
		if at.after != 0 {
			h.nodes[at.after].before = rest
		}
		h.nodes[n].after, h.nodes[n].units = rest, units
		h.link(rest)
	}
	at := &h.nodes[n]
	return span{seg: at.seg, off: at.off, units: units, node: n}
}

// give takes a span back and joins it with free neighbours. It returns the resulting free range of the segment; a span
// that went back to a slab still in use frees no range and returns false.
func (h *heap) give(sp span) (span, bool) {
	n := sp.node
	if n < 0 {
		if n = h.giveSmall(sp); n == 0 {
			return span{}, false
		}
	}
	if b := h.nodes[n].before; b != 0 && h.nodes[b].free {
		h.unlink(b)
		h.join(b, n)
		n = b
	}
	if a := h.nodes[n].after; a != 0 && h.nodes[a].free {
		h.unlink(a)
		h.join(n, a)
	}
	h.link(n)
	at := h.nodes[n]
	return span{seg: at.seg, off: at.off, units: at.units, node: n}, true
}

// shrink gives the end of a span back and returns what stays, at least the given units. Spans of slabs stay whole.
func (h *heap) shrink(sp span, units uint32) span {
	if sp.node < 0 || units >= sp.units {
		return sp
	}
	n := sp.node
	at := h.nodes[n]
	rest := h.newNode(node{seg: at.seg, off: at.off + units, units: at.units - units, before: n, after: at.after})
	if at.after != 0 {
		h.nodes[at.after].before = rest
	}
	h.nodes[n].after, h.nodes[n].units = rest, units
	h.give(span{node: rest})
	sp.units = units
	return sp
}

// dropSegment forgets a segment that is one free node.
func (h *heap) dropSegment(n int32) {
	h.unlink(n)
	h.freeNode(n)
}

func (h *heap) join(n, after int32) {
	h.nodes[n].units += h.nodes[after].units
	h.nodes[n].after = h.nodes[after].after
	if a := h.nodes[n].after; a != 0 {
		h.nodes[a].before = n
	}
	h.freeNode(after)
}

func (h *heap) newNode(v node) int32 {
	n := h.spare
	if n == 0 {
		h.nodes = append(h.nodes, v)
		return int32(len(h.nodes) - 1)
	}
	h.spare = h.nodes[n].next
	h.nodes[n] = v
	return n
}

func (h *heap) freeNode(n int32) {
	h.nodes[n] = node{next: h.spare}
	h.spare = n
}

// listOf returns the free list whose members have at least the size of the list and less than that of the next one.
func listOf(units uint32) (top, sub int) {
	if units < subCount {
		return 0, int(units)
	}
	f := bits.Len32(units) - 1
	return f - subBits + 1, int(units>>(f-subBits)) & (subCount - 1)
}

func (h *heap) link(n int32) {
	t, s := listOf(h.nodes[n].units)
	head := h.lists[t][s]
	h.nodes[n].free, h.nodes[n].prev, h.nodes[n].next = true, 0, head
	if head != 0 {
		h.nodes[head].prev = n
	}
	h.lists[t][s] = n
	h.tops |= 1 << t
	h.subs[t] |= 1 << s
}

func (h *heap) unlink(n int32) {
	at := &h.nodes[n]
	if at.next != 0 {
		h.nodes[at.next].prev = at.prev
	}
	if at.prev != 0 {
		h.nodes[at.prev].next = at.next
	} else {
		t, s := listOf(at.units)
		h.lists[t][s] = at.next
		if at.next == 0 {
			if h.subs[t] &^= 1 << s; h.subs[t] == 0 {
				h.tops &^= 1 << t
			}
		}
	}
	at.free, at.prev, at.next = false, 0, 0
}

// find returns a free node of at least the given units. Any member of a list above the one of units fits; members of
// that list itself may fit, and a few are tried so that an exact fit is found before a new segment is made.
func (h *heap) find(units uint32) int32 {
	t, s := listOf(units)
	const tries = 8
	n := h.lists[t][s]
	for range tries {
		if n == 0 {
			break
		}
		if h.nodes[n].units >= units {
			return n
		}
		n = h.nodes[n].next
	}
	if above := h.subs[t] &^ (1<<(s+1) - 1); above != 0 {
		return h.lists[t][bits.TrailingZeros32(above)]
	}
	tops := h.tops &^ (1<<(t+1) - 1)
	if tops == 0 {
		return 0
	}
	t = bits.TrailingZeros32(tops)
	return h.lists[t][bits.TrailingZeros32(h.subs[t])]
}
