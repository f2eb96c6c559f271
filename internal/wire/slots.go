// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"slices"
)

// AppendSlots appends a set of slots to dst, as ranges: a run of any length takes a few bytes, and a set has one encoding. The
// slots may come in any order, which is changed; none may be there twice.
func AppendSlots(dst []byte, slots []uint32) []byte {
	if !slices.IsSorted(slots) {
		slices.Sort(slots)
	}
	ranges := 0
	for i := range slots {
		if i == 0 || slots[i] != slots[i-1]+1 {
			ranges++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(ranges))
	end := uint32(0)
	for i := 0; i < len(slots); {
		first, n := slots[i], 1
		for i+n < len(slots) && slots[i+n] == first+uint32(n) {
			n++
		}
		dst = binary.AppendUvarint(dst, uint64(first-end))
		dst = binary.AppendUvarint(dst, uint64(n))
		end = first + uint32(n)
		i += n
	}
	return dst
}

// SlotSet is a set of slots as it came over a link, checked.
type SlotSet struct {
	one uint32 // the only slot, if set is nil
	set []byte // as AppendSlots makes it
}

// OneSlot is the set of one slot.
func OneSlot(slot uint32) SlotSet { return SlotSet{one: slot} }

// Ranges yields the ranges of consecutive slots, in order: the first slot and how many there are.
func (s SlotSet) Ranges(yield func(first, count uint32) bool) {
	if s.set == nil {
		yield(s.one, 1)
		return
	}
	cur := cursor{b: s.set}
	end := uint32(0)
	for range cur.uint("", MaxTargets) {
		first := end + uint32(cur.uint("", MaxTargets))
		count := uint32(cur.uint("", MaxTargets))
		if end = first + count; !yield(first, count) {
			return
		}
	}
}

// slots reads a set of no fewer slots than least.
func (c *cursor) slots(least uint64) SlotSet {
	set := c.b
	ranges := c.uint("number of ranges", uint64(len(c.b)/2)) // each takes two bytes at least
	end, total := uint64(0), uint64(0)
	for i := uint64(0); i < ranges && c.err == nil; i++ {
		gap := c.uint("slot", MaxTargets-1)
		count := c.uint("count of slots", MaxTargets)
		end += gap + count
		total += count
		if c.err == nil && (count == 0 || i > 0 && gap == 0 || end > MaxTargets) {
			c.fail("range of slots")
		}
	}
	if c.err == nil && total < least {
		c.fail("set of slots")
	}
	if c.err != nil {
		return SlotSet{}
	}
	return SlotSet{set: set[:len(set)-len(c.b)]}
}

// ParseCancel reads the body of a cancel frame: the slots that are given up, or none, which stands for the whole call.
func ParseCancel(b []byte) (slots SlotSet, all bool, err error) {
	if len(b) == 0 {
		return SlotSet{}, true, nil
	}
	cur := cursor{b: b, what: "cancel"}
	slots = cur.slots(1)
	return slots, false, cur.end()
}
