// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
)

// peer is another store as this one sees it: its table and, as they are needed, its segments.
type peer struct {
	st     *Store
	number uint64
	table  *table
	gate   gate // every pin is a user

	mu       sync.Mutex // to add and drop segments
	retired  uint32     // value of tableHeader.retired when segments were last looked through
	segments atomic.Pointer[map[segmentKey]*mapping]
}

// peers are the other stores that this one has read from.
type peers struct {
	mu     sync.Mutex // to change the map
	all    atomic.Pointer[map[uint64]*peer]
	reaped int // how many were left when they were last reaped
}

func (ps *peers) load() map[uint64]*peer {
	if m := ps.all.Load(); m != nil {
		return *m
	}
	return nil
}

func (ps *peers) count() int { return len(ps.load()) }

// enter returns the peer of the given number with its gate entered, attaching to it if need be.
func (ps *peers) enter(s *Store, number uint64) (*peer, error) {
	if p := ps.load()[number]; p != nil && p.gate.enter() {
		return p, nil
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.load()[number]; p != nil && p.gate.enter() {
		return p, nil
	}
	if n := len(ps.load()); n >= 16 && n >= 2*ps.reaped {
		if err := ps.reapLocked(s); err != nil { // now and then, so that what ended does not pile up
			return nil, err
		}
	}
	p, err := attach(s, number)
	if err != nil {
		return nil, err
	}
	p.gate.enter()
	m := maps.Clone(ps.load())
	if m == nil {
		m = map[uint64]*peer{}
	}
	m[number] = p
	ps.all.Store(&m)
	return p, nil
}

// attach maps a live store's table, and tells the owner that this store's ledger matters to it from now on.
func attach(s *Store, number uint64) (*peer, error) {
	live, err := alive(s.dir, number)
	if err != nil {
		return nil, err
	}
	if !live {
		return nil, fmt.Errorf("store %016x is gone: %w", number, ErrNotFound)
	}
	p := &peer{st: s, number: number}
	p.segments.Store(&map[segmentKey]*mapping{})
	if p.table, err = openTable(s.dir, number); err != nil {
		return nil, err
	}
	p.table.header().attached.Add(1)
	return p, nil
}

// pin pins an object of the peer: first in the ledger, then, when the owner can see that, by looking at the object. An
// owner that deletes does it the other way round, so one of the two always sees the other.
func (p *peer) pin(id ID, in state) (*entry, error) {
	sl, ok := p.table.find(id.slot)
	if !ok {
		return nil, errGone(id)
	}
	const patience = 1 << 12 // moves last microseconds, unless the owner died in one
	for tries := 1; ; tries++ {
		e, err := p.tryPin(sl, id, in)
		if e != nil || err != nil {
			return e, err
		}
		runtime.Gosched()
		if tries%patience == 0 {
			if live, err := alive(p.st.dir, p.number); err != nil || !live {
				return nil, errors.Join(errGone(id), err)
			}
		}
	}
}

// tryPin returns nil without an error while the object is moving.
func (p *peer) tryPin(sl *slot, id ID, in state) (*entry, error) {
	marks := mark(p.st.number)
	if in == held {
		marks |= flagHeld
	}
	for {
		w := sl.word.Load()
		if !in.allows(w, id.gen) || p.table.header().closed.Load() != 0 {
			return nil, errGone(id)
		}
		if w&flagMoving != 0 {
			return nil, nil
		}
		if w&marks == marks || sl.word.CompareAndSwap(w, w|marks) {
			break
		}
	}
	e, err := p.st.ledger.add(p.number, id.slot, id.gen)
	if err != nil {
		return nil, err
	}
	w := sl.word.Load()
	if in.allows(w, id.gen) && w&flagMoving == 0 {
		return e, nil
	}
	p.unpin(id, e)
	if !in.allows(w, id.gen) {
		return nil, errGone(id)
	}
	return nil, nil
}

func (p *peer) unpin(id ID, e *entry) {
	if !e.drop() {
		return
	}
	if p.table.slot(id.slot).word.Load()&flagDeleted != 0 {
		p.table.header().released.Add(1)
	}
}

// leave ends a use of the peer; the last one after it was shut finishes it.
func (p *peer) leave() {
	if p.gate.leave() {
		_ = p.finish() // nobody waits for it; what could not be removed goes when the directory is next swept
	}
}

func (p *peer) finish() error {
	var errs []error
	for _, m := range *p.segments.Load() {
		errs = append(errs, m.shut())
	}
	return errors.Join(append(errs, p.table.close())...)
}

// reap detaches from stores that closed or died; mappings go with their last pin.
func (ps *peers) reap(s *Store) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.reapLocked(s)
}

func (ps *peers) reapLocked(s *Store) error {
	var errs []error
	kept := map[uint64]*peer{}
	for num, p := range ps.load() {
		live, err := alive(s.dir, num)
		errs = append(errs, err)
		if err != nil || live && p.table.header().closed.Load() == 0 {
			kept[num] = p
			continue
		}
		if _, empty := p.gate.shut(); empty {
			errs = append(errs, p.finish())
		}
	}
	ps.all.Store(&kept)
	ps.reaped = len(kept)
	return errors.Join(errs...)
}

// close detaches from all peers. No pins are left.
func (ps *peers) close() error {
	var errs []error
	for _, p := range ps.load() {
		if first, _ := p.gate.shut(); first {
			errs = append(errs, p.finish())
		}
	}
	return errors.Join(errs...)
}
