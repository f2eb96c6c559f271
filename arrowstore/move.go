// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
)

// spiller moves objects of a store between memory and a directory on disk.
type spiller struct {
	dir  *dir // nil without a spill directory
	lock *os.File
	mu   sync.Mutex // one move at a time; taken before the store's lock
	next uint32
	// queue is what is left of the last search for objects to spill, least recently used first.
	queue []victim

	// Guarded by the store's lock.
	objects int
	bytes   int64
}

// victim is an object that may be spilled, as it was when it was found.
type victim struct{ slot, gen, used uint32 }

// setUpSpill opens the spill directory and claims this store's number in it, so that what a killed store left there is
// found dead as it is in the store's own directory.
func (s *Store) setUpSpill(path string) error {
	if path == "" {
		return nil
	}
	d, err := openDir(path)
	if err != nil {
		return fmt.Errorf("spill directory: %w", err)
	}
	s.spill.dir = d
	if err := sweep(d); err != nil {
		return fmt.Errorf("spill directory: %w", err)
	}
	if s.spill.lock, err = claimNumber(d, s.number); err != nil {
		return fmt.Errorf("spill directory: %w", err)
	}
	return s.table.setSpillPath(d.path)
}

func (sp *spiller) close(store uint64) error {
	if sp.dir == nil {
		return nil
	}
	var errs []error
	if sp.lock != nil {
		errs = append(errs, sp.dir.remove(lockName(store)), sp.lock.Close())
	}
	return errors.Join(append(errs, sp.dir.close())...)
}

// removeSpilledLocked removes the files of all spilled objects.
func (s *Store) removeSpilledLocked() error {
	if s.spill.dir == nil {
		return nil
	}
	var errs []error
	for slot := range s.table.header().slots.Load() {
		if r := s.records.find(slot); r != nil && r.where == onDisk {
			errs = append(errs, s.spill.dir.remove(spillName(s.number, r.span.seg)))
		}
	}
	return errors.Join(errs...)
}

// take takes memory for an object, and makes room by spilling if need be.
func (s *Store) take(size int64) (block, error) {
	s.mu.Lock()
	b, err := s.takeLocked(size)
	s.mu.Unlock()
	if s.spill.dir == nil || !errors.Is(err, ErrNoSpace) {
		return b, err
	}
	s.spill.mu.Lock()
	defer s.spill.mu.Unlock()
	return s.takeSpilling(size, err)
}

// takeSpilling spills objects, least recently used first, until the memory can be taken. The caller holds spill.mu.
func (s *Store) takeSpilling(size int64, full error) (block, error) {
	for range 2 { // with what the last search left, then with a new one
		for len(s.spill.queue) > 0 {
			v := s.spill.queue[0]
			s.spill.queue = s.spill.queue[1:]
			moved, err := s.spillOne(v)
			if err != nil {
				return block{}, errors.Join(full, err)
			}
			if !moved {
				continue
			}
			s.mu.Lock()
			b, err := s.takeLocked(size)
			s.mu.Unlock()
			if !errors.Is(err, ErrNoSpace) {
				return b, err
			}
			full = err
		}
		s.spill.queue = s.victims()
	}
	return block{}, full
}

// victims returns the objects that may be spilled, least recently used first.
func (s *Store) victims() []victim {
	var found []victim
	s.mu.Lock()
	defer s.mu.Unlock()
	for slot := range s.table.header().slots.Load() {
		r := s.records.find(slot)
		if r == nil {
			break
		}
		gen := r.gen()
		if !r.readable(gen) || r.ref.Load()&recordPins != 0 || r.where != inParts && r.where != inSpan {
			continue
		}
		if r.where == inSpan && r.span.bytes() < spillMin {
			continue
		}
		if s.table.slot(slot).word.Load()&flagShared != 0 && s.pinners.hold(s, slot, gen) {
			continue
		}
		found = append(found, victim{slot, gen, r.used.Load()})
	}
	now := s.clock.Load() // stamps wrap around, so ages are compared
	slices.SortStableFunc(found, func(a, b victim) int { return cmp.Compare(now-b.used, now-a.used) })
	return found
}

// spillOne writes an object to disk and frees its memory. It reports false when somebody uses the object.
func (s *Store) spillOne(v victim) (bool, error) {
	slot, r := v.slot, s.records.find(v.slot)
	o, err := s.handle(ID{store: s.number, slot: slot, gen: v.gen})
	if err != nil {
		return false, nil // deleted meanwhile, so there is nothing to move
	}
	defer func() {
		o.leak.stop()
		o.unpin()
	}()
	if r.used.Load() != v.used || r.where == onDisk {
		return false, nil
	}
	num := s.spill.next
	if num&spillBit != 0 {
		return false, fmt.Errorf("spill file numbers are used up: %w", ErrTooLarge)
	}
	s.spill.next++
	size, err := writeSpill(s.spill.dir, s.number, num, o.bufs)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	moved := s.moveLocked(slot, func() {
		s.freeMemoryLocked(slot, r)
		r.where, r.span = onDisk, span{seg: num, units: uint32(roundUp(size, unit) >> unitShift)}
		sl := s.table.slot(slot)
		sl.segment.Store(num | spillBit)
		sl.offset.Store(spillHeader)
		s.spill.objects++
		s.spill.bytes += r.span.bytes()
	})
	if !moved {
		return false, s.spill.dir.remove(spillName(s.number, num))
	}
	return true, nil
}

// restore brings a spilled object, which the caller has pinned once, back to memory. It does nothing when there is no
// room or when others read the file: they, and the caller, can go on doing so.
func (s *Store) restore(o *Object) {
	s.spill.mu.Lock()
	defer s.spill.mu.Unlock()
	r := o.rec
	if r.where != onDisk || r.ref.Load()&recordPins != 1 {
		return
	}
	from := newObject(&Object{st: s, rec: r, id: o.id})
	defer from.leak.stop()
	if from.openSpilled() != nil {
		return // the caller meets the same error
	}
	defer from.unmapSpill()
	size, err := layoutSize(from.bufs, nil, func(b []byte) int { return len(b) })
	if err != nil {
		return
	}
	s.mu.Lock()
	b, err := s.takeLocked(size)
	s.mu.Unlock()
	if errors.Is(err, ErrNoSpace) {
		b, err = s.takeSpilling(size, err)
	}
	if err != nil {
		return
	}
	d := draft{slot: o.id.slot, rec: r, block: b}
	_, err = d.copyIn(from.bufs, nil, size)
	s.mu.Lock()
	defer s.mu.Unlock()
	moved := err == nil && s.moveLocked(o.id.slot, func() {
		// A file that cannot be removed now goes when the directory is next swept.
		_ = s.dropSpilledLocked(r)
		r.where, r.span = inSpan, b.span
		sl := s.table.slot(o.id.slot)
		sl.segment.Store(b.seg.num)
		sl.offset.Store(uint64(b.start()))
	})
	if !moved {
		s.space.fail(b)
	}
}

func (s *Store) dropSpilledLocked(r *record) error {
	s.spill.objects--
	s.spill.bytes -= r.span.bytes()
	return s.spill.dir.remove(spillName(s.number, r.span.seg))
}

// moveLocked lets change move an object that only the caller pins, and that once; it reports whether it could. Readers
// of this process find the record moving and wait for the store's lock; those of others find the slot moving and try
// again. As with Delete, one who pins in another process and this one look in opposite order, so one sees the other.
func (s *Store) moveLocked(slot uint32, change func()) bool {
	r := s.records.find(slot)
	if !r.startMove() {
		return false
	}
	defer r.endMove()
	word := &s.table.slot(slot).word
	old := word.Or(flagMoving)
	defer word.And(^uint64(flagMoving))
	if old&flagShared != 0 && s.pinners.hold(s, slot, r.gen()) {
		return false
	}
	change()
	return true
}

// openSpilled finds the buffers of a pinned object in its spill file.
func (o *Object) openSpilled() error {
	num := o.rec.span.seg
	at := place{segment: num | spillBit, buffers: o.rec.buffers, offset: spillHeader, size: uint64(o.rec.size)}
	return o.openMapped(at, o.st.spill.dir, o.st.number)
}

// openMapped opens an object over its own mapping of a spill file.
func (o *Object) openMapped(at place, d *dir, store uint64) error {
	b, err := mapSpill(d, store, at.segment&^spillBit)
	if err != nil {
		return err
	}
	o.spilled = b
	o.st.views.add(b)
	err = o.open(at, func(num uint32) ([]byte, error) {
		if num != at.segment {
			return nil, fmt.Errorf("buffer in segment %d: %w", num, ErrCorrupt)
		}
		return b, nil
	})
	if err != nil {
		o.unmapSpill()
	}
	return err
}

func (o *Object) unmapSpill() {
	if o.spilled == nil {
		return
	}
	o.st.views.remove(o.spilled)
	_ = unmap(o.spilled) // fails only for a mapping that is not one
	o.spilled = nil
}
