// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import "sort"

// completions are slots in order of their completion. Those of a node come together and in their own order, mostly, and so they
// are kept as runs, until these take more room than a list would.
type completions struct {
	n    int // slots that were completed
	all  int // slots that there are
	runs []completedRun
	each []uint32 // in place of runs; nil until then
	room [2]completedRun
}

// completedRun is a run of slots that follow each other, which ends where the next one begins.
type completedRun struct {
	slot uint32 // the first
	at   uint32 // how many slots were completed before it
}

func (c *completions) init(slots int) { c.all, c.runs = slots, c.room[:0] }

func (c *completions) add(slot uint32) {
	switch last := len(c.runs) - 1; {
	case c.each != nil:
		c.each = append(c.each, slot)
	case last >= 0 && c.runs[last].slot+(uint32(c.n)-c.runs[last].at) == slot:
	case len(c.runs) < max(len(c.room), c.all/8): // in bytes, a quarter of what the list takes
		c.runs = append(c.runs, completedRun{slot, uint32(c.n)})
	default:
		c.each = append(c.appendTo(make([]uint32, 0, c.all), 0), slot)
		c.runs = nil
	}
	c.n++
}

// at returns the slot that was completed as the k-th, counted from 0. There must be as many.
func (c *completions) at(k int) uint32 {
	if c.each != nil {
		return c.each[k]
	}
	i := c.find(k)
	return c.runs[i].slot + uint32(k) - c.runs[i].at
}

// find returns the run that the k-th slot is in.
func (c *completions) find(k int) int {
	return sort.Search(len(c.runs), func(i int) bool { return int(c.runs[i].at) > k }) - 1
}

// list returns the slots from the k-th on. They do not change.
func (c *completions) list(k int) []uint32 {
	if c.each != nil {
		return c.each[k:len(c.each):len(c.each)]
	}
	return c.appendTo(make([]uint32, 0, c.n-k), k)
}

// appendTo appends the slots from the k-th on, which are kept as runs.
func (c *completions) appendTo(slots []uint32, k int) []uint32 {
	for i := c.find(k); k < c.n; i++ {
		end := c.n
		if i+1 < len(c.runs) {
			end = int(c.runs[i+1].at)
		}
		for ; k < end; k++ {
			slots = append(slots, c.runs[i].slot+uint32(k)-c.runs[i].at)
		}
	}
	return slots
}
