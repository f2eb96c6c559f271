// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import "math/bits"

const (
	slabUnits    = 1024 // 64 KiB
	slabMaxUnits = 32   // spans of up to 2 KiB come from slabs
)

// slabClasses is the number of sizes that slabs are cut into.
const slabClasses = 16

// slabSize returns the size of a class in units: 1 to 8, then 10, 12, 14, 16, then 20, 24, 28, 32. Steps are at most a
// quarter, so that is the most a small span can waste.
func slabSize(class int32) uint32 {
	if class < 8 {
		return uint32(class) + 1
	}
	return uint32(5+class%4) << ((class - 4) / 4)
}

// slab is one large span cut into equal small ones, at a cost of one bit each.
type slab struct {
	node       int32
	class      int32
	used       int32
	prev, next int32 // list of slabs of a class that have room; none is 0
	taken      [slabUnits / 64]uint64
}

type slabs struct {
	all   []slab
	spare []int32
	room  [slabClasses]int32
	empty [slabClasses]int32 // one slab per class is kept when its last span goes, so that a lone object does not thrash
}

func (s *slabs) init() { s.all = make([]slab, 1, 16) }

// slabClass returns the class for a span of the given units, or false for one too large for slabs.
func slabClass(units uint32) (int32, bool) {
	switch {
	case units > slabMaxUnits:
		return 0, false
	case units <= 8:
		return int32(max(units, 1)) - 1, true
	}
	class := int32(8)
	for slabSize(class) < units {
		class++
	}
	return class, true
}

func (h *heap) takeSmall(class int32) (span, bool) {
	s := &h.slabs
	i := s.room[class]
	if i == 0 {
		sp, ok := h.takeLarge(slabUnits)
		if !ok {
			return span{}, false
		}
		i = s.add(slab{node: sp.node, class: class})
		s.link(i)
	}
	if s.empty[class] == i {
		s.empty[class] = 0
	}
	sl, size := &s.all[i], slabSize(class)
	k := sl.takeFirst()
	if sl.used == int32(slabUnits/size) {
		s.unlink(i)
	}
	at := &h.nodes[sl.node]
	return span{seg: at.seg, off: at.off + k*size, units: size, node: ^i}, true
}

// giveSmall returns the node of the slab when the slab itself became free, else 0.
func (h *heap) giveSmall(sp span) int32 {
	s, i := &h.slabs, ^sp.node
	sl := &s.all[i]
	size := slabSize(sl.class)
	k := (sp.off - h.nodes[sl.node].off) / size
	sl.taken[k/64] &^= 1 << (k % 64)
	if sl.used == int32(slabUnits/size) {
		s.link(i)
	}
	if sl.used--; sl.used > 0 {
		return 0
	}
	if s.empty[sl.class] == 0 {
		s.empty[sl.class] = i
		return 0
	}
	return s.remove(i)
}

// trim gives up the slabs that are kept empty, as spans of the heap, and reports whether there were any.
func (h *heap) trim(freed func(span)) {
	s := &h.slabs
	for class, i := range s.empty {
		if i == 0 {
			continue
		}
		s.empty[class] = 0
		if sp, ok := h.give(span{node: s.remove(i)}); ok {
			freed(sp)
		}
	}
}

func (s *slabs) add(v slab) int32 {
	if n := len(s.spare); n > 0 {
		i := s.spare[n-1]
		s.spare, s.all[i] = s.spare[:n-1], v
		return i
	}
	s.all = append(s.all, v)
	return int32(len(s.all) - 1)
}

func (s *slabs) remove(i int32) (node int32) {
	s.unlink(i)
	node = s.all[i].node
	s.spare = append(s.spare, i)
	return node
}

func (s *slabs) link(i int32) {
	sl := &s.all[i]
	head := s.room[sl.class]
	sl.prev, sl.next = 0, head
	if head != 0 {
		s.all[head].prev = i
	}
	s.room[sl.class] = i
}

func (s *slabs) unlink(i int32) {
	sl := &s.all[i]
	if sl.next != 0 {
		s.all[sl.next].prev = sl.prev
	}
	if sl.prev != 0 {
		s.all[sl.prev].next = sl.next
	} else {
		s.room[sl.class] = sl.next
	}
	sl.prev, sl.next = 0, 0
}

// takeFirst marks the first free span of a slab that has room and returns its index.
func (sl *slab) takeFirst() uint32 {
	for w := range sl.taken {
		if free := ^sl.taken[w]; free != 0 {
			b := bits.TrailingZeros64(free)
			sl.taken[w] |= 1 << b
			sl.used++
			return uint32(w*64 + b)
		}
	}
	return 0
}
