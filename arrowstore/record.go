// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"fmt"
	"math"
	"sync/atomic"
)

// recordsPerPage records are added at a time; pages never move, so that readers need no lock.
const recordsPerPage = slotGrain

const (
	recordSealed  = 1 << 31
	recordDeleted = 1 << 30
	recordMoving  = 1 << 29 // to disk or back: wait for the store's lock
	recordOpen    = 1 << 28 // being written, by several
	recordPins    = 1<<28 - 1
)

// record is what the owner knows of one of its objects. It is on the heap, so that what others do to the shared slot
// cannot make the owner free or hand out the wrong memory.
type record struct {
	// ref is generation<<32 | recordSealed | recordDeleted | recordMoving | recordOpen | pins of this process.
	ref     atomic.Uint64
	used    atomic.Uint32 // value of Store.clock when this process last got it
	span    span
	size    int64 // as in slot
	buffers uint32
	where   where
}

// where says who frees the memory of an object.
type where uint8

const (
	nowhere where = iota // an object without memory
	inSpan
	inParts // a span and parts that came from the Allocator
	onDisk  // a spill file, whose number is in span.seg
)

func (r *record) gen() uint32 { return uint32(r.ref.Load() >> 32) }

// readable reports whether generation gen is sealed and not deleted.
func (r *record) readable(gen uint32) bool {
	v := r.ref.Load()
	return uint32(v>>32) == gen && v&(recordSealed|recordDeleted) == recordSealed
}

// pin adds a pin if generation gen is in a state. It reports moving when the caller has to try again.
func (r *record) pin(gen uint32, in state) (ok, moving bool) {
	for {
		v := r.ref.Load()
		if uint32(v>>32) != gen || !in.allowsRecord(v) || v&recordPins == recordPins {
			return false, false
		}
		if v&recordMoving != 0 {
			return false, true
		}
		if r.ref.CompareAndSwap(v, v+1) {
			return true, false
		}
	}
}

// startMove bars new pins if there is one pin, the caller's, and no deletion.
func (r *record) startMove() bool {
	v := r.ref.Load()
	return v&(recordSealed|recordDeleted|recordPins) == recordSealed|1 && r.ref.CompareAndSwap(v, v|recordMoving)
}

func (r *record) endMove() { r.ref.And(^uint64(recordMoving)) }

// unpin drops a pin and reports whether it was the last one of a deleted object.
func (r *record) unpin() bool {
	v := r.ref.Add(^uint64(0))
	return v&recordDeleted != 0 && v&recordPins == 0
}

// markDeleted makes generation gen unreadable; it reports whether gen was readable.
func (r *record) markDeleted(gen uint32) bool {
	for {
		v := r.ref.Load()
		if uint32(v>>32) != gen || v&(recordSealed|recordDeleted) != recordSealed {
			return false
		}
		if r.ref.CompareAndSwap(v, v|recordDeleted) {
			return true
		}
	}
}

// records is the list of records, one for each backed slot of the table. Changes are guarded by the store's lock.
type records struct {
	pages atomic.Pointer[[]*[recordsPerPage]record]
	spare []uint32
}

// find returns the record of a slot, or nil.
func (rs *records) find(slot uint32) *record {
	pages := rs.pages.Load()
	if pages == nil || int(slot/recordsPerPage) >= len(*pages) {
		return nil
	}
	return &(*pages)[slot/recordsPerPage][slot%recordsPerPage]
}

// take returns a free slot with its record, whose generation is new.
func (rs *records) take(t *table) (uint32, *record, error) {
	if len(rs.spare) == 0 {
		first, err := t.grow()
		if err != nil {
			return 0, nil, err
		}
		var pages []*[recordsPerPage]record
		if old := rs.pages.Load(); old != nil {
			pages = append(pages, *old...)
		}
		pages = append(pages, new([recordsPerPage]record))
		rs.pages.Store(&pages)
		for i := range uint32(recordsPerPage) {
			rs.spare = append(rs.spare, first+recordsPerPage-1-i)
		}
	}
	n := len(rs.spare) - 1
	slot := rs.spare[n]
	rs.spare = rs.spare[:n]
	r := rs.find(slot)
	r.ref.Store(uint64(r.gen()+1) << 32)
	return slot, r, nil
}

// give returns a slot. One whose generations are used up is never used again.
func (rs *records) give(slot uint32, r *record) {
	gen := r.gen()
	r.ref.Store(uint64(gen) << 32)
	r.where = nowhere
	if gen != math.MaxUint32 {
		rs.spare = append(rs.spare, slot)
	}
}

func errGone(id ID) error { return fmt.Errorf("object %v: %w", id, ErrNotFound) }
