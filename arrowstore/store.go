// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"
	"sync/atomic"
)

// Store is one process's door to a directory of shared objects: it owns the objects it creates and reads those of all
// other stores on the same directory. All methods may be called from any number of goroutines.
type Store struct {
	dir    *dir
	number uint64

	capacity int64 // of the file system when the store was opened
	lock     *os.File
	table    *table
	ledger   *ledger
	records  records
	space    *space
	spill    spiller
	clock    atomic.Uint32 // counts objects made; the measure of age for spilling
	gate     gate          // every operation, and every Object and Writer until released, is a user

	mu struct {
		sync.Mutex
		zombies  map[uint32]struct{} // slots of deleted objects that are still pinned
		released uint32              // value of tableHeader.released when zombies were last looked at
		parts    parts
	}
	pinners pinners
	peers   peers
	views   views
	schemas schemas

	flatteners sync.Pool // of *flattener, for Arrow data that is put
}

// Open opens the directory as a new store, first making it with mode 0700 if it is missing, and sweeping what killed
// processes left there. Put it on a memory file system: a directory below /dev/shm on Linux. All processes that are to
// read each other's objects open the same directory; a process may also open it more than once. It returns ErrUnsafe
// when the directory is not this user's alone.
func Open(path string, opts ...Option) (*Store, error) {
	s, err := open(path, opts)
	if err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	return s, nil
}

func open(path string, opts []Option) (*Store, error) {
	d, err := openDir(path)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: d}
	if err := s.setUp(opts); err != nil {
		return nil, errors.Join(d.explain(err), s.finish())
	}
	return s, nil
}

func (s *Store) setUp(opts []Option) error {
	var o options
	for _, opt := range opts {
		opt.apply(&o)
	}
	capacity, err := s.dir.capacity()
	if err != nil {
		return err
	}
	if err := o.complete(capacity); err != nil {
		return err
	}
	s.capacity = capacity
	if err := sweep(s.dir); err != nil {
		return err
	}
	if s.number, s.lock, err = claim(s.dir); err != nil {
		return err
	}
	if s.table, err = createTable(s.dir, s.number); err != nil {
		return err
	}
	if s.ledger, err = createLedger(s.dir, s.number); err != nil {
		return err
	}
	s.mu.zombies = map[uint32]struct{}{}
	s.space = newSpace(s.dir, s.number, o)
	if err := s.setUpSpill(o.spill); err != nil {
		return err
	}
	s.space.mapped = func(g *segment) { s.views.add(g.ro) }
	s.space.unmapped = func(g *segment) { s.views.remove(g.ro) }
	s.space.retired = func() { s.table.header().retired.Add(1) }
	return nil
}

// Number returns the number by which ids name this store. It is random and never zero.
func (s *Store) Number() uint64 { return s.number }

// Close removes the store's files and unmaps what it mapped. Objects of this process that were not released keep their
// memory until they are, and then finish the closing; those that other processes pinned stay readable there. Other
// calls return ErrClosed. A second Close does nothing.
func (s *Store) Close() error {
	if !s.gate.enter() { // Close is a use itself, so that nobody finishes while it works
		return nil
	}
	var err error
	if first, _ := s.gate.shut(); first {
		s.table.header().closed.Store(1)
		s.mu.Lock()
		err = errors.Join(s.dir.remove(metaName(s.number)), s.space.removeFiles(), s.removeSpilledLocked())
		s.mu.Unlock()
	}
	if s.gate.leave() {
		err = errors.Join(err, s.finish())
	}
	if err != nil {
		return fmt.Errorf("close object store: %w", err)
	}
	return nil
}

// leave ends a use of the store; the last one after Close finishes it.
func (s *Store) leave() {
	if s.gate.leave() {
		_ = s.finish() // Close has returned; what could not be removed goes when the directory is next swept
	}
}

// finish takes down what setUp and later calls built, the lock last: while it is held, others respect this store's pins.
func (s *Store) finish() error {
	errs := []error{s.peers.close(), s.pinners.close()}
	if s.space != nil {
		// Again, for what calls that were under way during Close have made.
		errs = append(errs, s.space.removeFiles(), s.removeSpilledLocked(), s.space.close())
	}
	if s.table != nil {
		errs = append(errs, s.table.close(), s.dir.remove(metaName(s.number)))
	}
	if s.ledger != nil {
		errs = append(errs, s.ledger.close(), s.dir.remove(ledgerName(s.number)))
	}
	errs = append(errs, s.spill.close(s.number))
	if s.lock != nil {
		errs = append(errs, s.dir.remove(lockName(s.number)), s.lock.Close())
	}
	return errors.Join(append(errs, s.dir.close())...)
}

// Delete drops the owner's reference to an object that this store created. Nobody can Get it any more; its memory is
// used again once the last pin in any process is gone. It returns ErrNotOwner for another store's object and
// ErrNotFound for one that is deleted already.
func (s *Store) Delete(id ID) error {
	if !s.gate.enter() {
		return ErrClosed
	}
	defer s.leave()
	if id.store != s.number {
		return fmt.Errorf("delete object %v from store %016x: %w", id, s.number, ErrNotOwner)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records.find(id.slot)
	if r == nil || !r.markDeleted(id.gen) {
		return errGone(id)
	}
	old := s.table.slot(id.slot).word.Or(flagDeleted)
	s.reclaimLocked()
	if r.ref.Load()&recordPins == 0 && (old&flagShared == 0 || !s.pinners.hold(s, id.slot, id.gen)) {
		s.freeLocked(id.slot, r)
	} else {
		s.mu.zombies[id.slot] = struct{}{}
	}
	return nil
}

// Contains reports whether Get would find the object now.
func (s *Store) Contains(id ID) bool {
	if !s.gate.enter() {
		return false
	}
	defer s.leave()
	if id.store == s.number {
		r := s.records.find(id.slot)
		return r != nil && r.readable(id.gen)
	}
	p, err := s.peers.enter(s, id.store)
	if err != nil {
		return false
	}
	defer p.leave()
	sl, ok := p.table.find(id.slot)
	return ok && readable(sl.word.Load(), id.gen) && p.table.header().closed.Load() == 0
}

// List iterates over the objects that this store created and that are not deleted, in no particular order. Objects that
// come or go meanwhile may be missed or listed.
func (s *Store) List() iter.Seq[ID] {
	return func(yield func(ID) bool) {
		if !s.gate.enter() {
			return
		}
		defer s.leave()
		for slot := range s.table.header().slots.Load() {
			r := s.records.find(slot)
			if r == nil {
				return
			}
			gen := r.gen()
			if r.readable(gen) && !yield(ID{store: s.number, slot: slot, gen: gen}) {
				return
			}
		}
	}
}

// lastPinGone frees a deleted object unless others pin it.
func (s *Store) lastPinGone(slot uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.mu.zombies[slot]; ok {
		s.tryFreeLocked(slot)
	}
}

// reclaimLocked frees deleted objects whose last pin in another process went since the last look.
func (s *Store) reclaimLocked() {
	released := s.table.header().released.Load()
	if released == s.mu.released {
		return
	}
	s.mu.released = released
	for slot := range s.mu.zombies {
		s.tryFreeLocked(slot)
	}
}

func (s *Store) tryFreeLocked(slot uint32) {
	r := s.records.find(slot)
	if r.ref.Load()&recordPins == 0 && !s.pinners.hold(s, slot, r.gen()) {
		delete(s.mu.zombies, slot)
		s.freeLocked(slot, r)
	}
}

// freeLocked gives memory and slot of an object back. Nothing may refer to it.
func (s *Store) freeLocked(slot uint32, r *record) {
	s.table.slot(slot).word.Store(uint64(r.gen()) << 32)
	s.freeMemoryLocked(slot, r)
	s.records.give(slot, r)
}

// freeMemoryLocked gives the memory of an object back, or its file.
func (s *Store) freeMemoryLocked(slot uint32, r *record) {
	switch r.where {
	case nowhere:
	case inParts:
		s.mu.parts.detach(s.space, slot)
		s.space.give(r.span)
	case inSpan:
		s.space.give(r.span)
	case onDisk:
		// A file that cannot be removed now goes when the directory is next swept.
		_ = s.dropSpilledLocked(r)
	}
}

// Reap lets go of what belongs to processes that died: their pins on this store's objects, and the mappings of their
// objects that nothing here holds any more. The store reaps by itself before it reports ErrNoSpace; call Reap when
// a process is known to have died, to have its memory back at once.
func (s *Store) Reap() error {
	if !s.gate.enter() {
		return ErrClosed
	}
	defer s.leave()
	s.mu.Lock()
	err := s.reapPinnersLocked()
	s.mu.Unlock()
	if err = errors.Join(err, s.peers.reap(s)); err != nil {
		return fmt.Errorf("reap: %w", err)
	}
	return nil
}

func (s *Store) reapPinnersLocked() error {
	err := s.pinners.reap(s)
	for slot := range s.mu.zombies {
		s.tryFreeLocked(slot)
	}
	return err
}

// Stats is a snapshot of what a store holds. Sizes are in bytes.
type Stats struct {
	Objects  int   // created by this store and not yet gone, deleted but pinned ones included
	Pinned   int   // of these, deleted ones that somebody still pins
	Used     int64 // memory of Objects, rounded up to the allocator's sizes
	Held     int64 // memory taken from the system, at most Limit
	Limit    int64
	Capacity int64 // of the file system, for all that is on it; below Limit it is what ends first
	Segments int   // files of this store
	Spilled  int   // of Objects, those moved to disk
	OnDisk   int64 // size of their files
	Peers    int   // other stores whose objects this one has read
}

// Stats returns current figures; those of a closed store are zero.
func (s *Store) Stats() Stats {
	if !s.gate.enter() {
		return Stats{}
	}
	defer s.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reclaimLocked()
	return Stats{
		Objects:  int(s.table.header().slots.Load()) - len(s.records.spare),
		Pinned:   len(s.mu.zombies),
		Used:     s.space.used,
		Held:     s.space.backed,
		Limit:    s.space.limit,
		Capacity: s.capacity,
		Segments: s.space.count,
		Spilled:  s.spill.objects,
		OnDisk:   s.spill.bytes,
		Peers:    s.peers.count(),
	}
}

// ReadOnlyFault reports whether addr lies within a read-only mapping of this store, of its own objects or of another's.
// A caller that recovers a memory fault, after debug.SetPanicOnFault, tells by it that somebody wrote through a view.
func (s *Store) ReadOnlyFault(addr uintptr) bool { return s.views.contain(addr) }
