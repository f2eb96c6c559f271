// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tutti-go/tutti/internal/invariants"
)

// Object is a handle on one sealed object: a fixed list of buffers that nobody can change. It pins the object: as long
// as it is not released, its memory stays, whether the object is deleted, its owner closed or its owner dead.
type Object struct {
	closed  invariants.CloseChecker
	leak    leakCheck
	st      *Store
	peer    *peer   // nil for the store's own objects
	rec     *record // of the store's own objects
	entry   *entry  // of a peer's: where it is pinned
	id      ID
	size    int64
	refs    atomic.Int64
	one     [1][]byte // backs bufs of the common object
	bufs    [][]byte
	mapped  []*mapping  // segments of a peer that it lies in
	oneMap  [1]*mapping // backs mapped of the common object
	spilled []byte      // mapping of the object's own, if it was read from a spill file
	reused  *Reused     // whose result it is; nil for any other object
}

// newObject starts a handle that its caller holds once.
func newObject(o *Object) *Object {
	o.refs.Store(1)
	o.leak.start(o)
	return o
}

// Get pins an object of this store or of any other live store on the same directory. It returns ErrNotFound when the
// object was deleted or its store is gone. The caller releases the Object.
func (s *Store) Get(id ID) (*Object, error) {
	if !s.gate.enter() {
		return nil, ErrClosed
	}
	o, err := s.get(id)
	if err != nil {
		s.leave()
		return nil, fmt.Errorf("get: %w", err)
	}
	return o, nil
}

func (s *Store) get(id ID) (*Object, error) {
	if id.store == s.number {
		return s.getOwn(id)
	}
	return s.getAs(id, sealed)
}

// getAs pins an object of another store that is in a state.
func (s *Store) getAs(id ID, in state) (*Object, error) {
	if id.IsZero() {
		return nil, errGone(id)
	}
	p, err := s.peers.enter(s, id.store)
	if err != nil {
		return nil, err
	}
	o, err := p.get(id, in)
	if err != nil {
		p.leave()
		return nil, err
	}
	return o, nil
}

func (s *Store) getOwn(id ID) (*Object, error) {
	r := s.records.find(id.slot)
	if r == nil || !s.pinOwn(r, id.gen, sealed) {
		return nil, errGone(id)
	}
	r.used.Store(s.clock.Load() + 1) // newer than what was made last
	o := newObject(&Object{st: s, rec: r, id: id})
	if r.where == onDisk {
		s.restore(o)
	}
	return o.opened()
}

// handle pins an object of this store as it is, where it is.
func (s *Store) handle(id ID) (*Object, error) {
	r := s.records.find(id.slot)
	if r == nil || !s.pinOwn(r, id.gen, sealed) {
		return nil, errGone(id)
	}
	return newObject(&Object{st: s, rec: r, id: id}).opened()
}

// pinOwn pins a record, waiting while the object is moved.
func (s *Store) pinOwn(r *record, gen uint32, in state) bool {
	for {
		ok, moving := r.pin(gen, in)
		if !moving {
			return ok
		}
		s.waitForMove()
	}
}

// waitForMove returns when no object is moving: moves are made under the lock.
func (s *Store) waitForMove() {
	s.mu.Lock()
	defer s.mu.Unlock()
}

// opened finds the buffers of a pinned object of this store, or unpins it.
func (o *Object) opened() (*Object, error) {
	if err := o.openOwn(); err != nil {
		o.leak.stop()
		o.unpin()
		return nil, err
	}
	return o, nil
}

// openOwn finds the buffers by the record of a pinned object.
func (o *Object) openOwn() error {
	r := o.rec
	switch r.where {
	case nowhere:
		o.one[0] = []byte{}
		o.bufs = o.one[:r.buffers]
		return nil
	case onDisk:
		return o.openSpilled()
	case inSpan, inParts:
	}
	g := o.st.space.find(r.span.seg)
	if r.buffers == 1 {
		off := r.span.start()
		o.size = r.size
		o.one[0] = g.ro[off : off+r.size : off+r.size]
		o.bufs = o.one[:]
		return nil
	}
	at := place{segment: g.num, buffers: r.buffers, offset: uint64(r.span.start()), size: uint64(r.size)}
	return o.open(at, func(num uint32) ([]byte, error) {
		if num != g.num { // likely the same again next time
			other := o.st.space.byNumber(num)
			if other == nil {
				return nil, fmt.Errorf("segment %d: %w", num, ErrCorrupt)
			}
			g = other
		}
		return g.ro, nil
	})
}

func (p *peer) get(id ID, in state) (*Object, error) {
	e, err := p.pin(id, in)
	if err != nil {
		return nil, err
	}
	o := newObject(&Object{st: p.st, peer: p, entry: e, id: id})
	o.mapped = o.oneMap[:0]
	sl := p.table.slot(id.slot)
	at := place{
		segment: sl.segment.Load(), buffers: sl.buffers.Load(),
		offset: sl.offset.Load(), size: sl.size.Load(),
	}
	if err := p.open(o, at); err != nil {
		o.leaveSegments()
		o.leak.stop()
		p.unpin(id, e)
		return nil, fmt.Errorf("object %v: %w", id, err)
	}
	return o, nil
}

func (p *peer) open(o *Object, at place) error {
	if at.segment&spillBit == 0 || at.size == 0 {
		return o.open(at, o.segment)
	}
	path, err := p.table.getSpillPath()
	if err != nil {
		return err
	}
	d, err := openExistingDir(path)
	if err != nil {
		return err
	}
	return errors.Join(o.openMapped(at, d, p.number), d.close())
}

// ID returns the object's id, by which any process on the same directory can Get it.
func (o *Object) ID() ID { return o.id }

// Len returns the number of buffers.
func (o *Object) Len() int { return len(o.bufs) }

// Buffer returns buffer i, read-only and 64-byte aligned. It is valid until the last Release; writing to it faults. It
// panics when i is not within 0 and Len.
func (o *Object) Buffer(i int) []byte {
	o.closed.AssertOpen()
	return o.bufs[i]
}

// Size returns the sum of the buffers' lengths in bytes.
func (o *Object) Size() int64 { return o.size }

// Retain makes one more Release necessary. It must not be called on an Object that may be released for the last time
// meanwhile.
func (o *Object) Retain() {
	o.closed.AssertOpen()
	o.refs.Add(1)
}

// Release undoes the Get, Put, Seal or Retain by which the caller holds the object. After the last one the buffers must
// not be touched. A Release too many does nothing, except under the invariants build tag, where it panics.
func (o *Object) Release() {
	for {
		n := o.refs.Load()
		if n <= 0 {
			o.closed.Close() // panics under the tag, with this stack and that of the last Release
			return
		}
		if !o.refs.CompareAndSwap(n, n-1) {
			continue
		}
		if n == 1 {
			o.closed.Close()
			o.leak.stop()
			if o.reused != nil {
				o.reused.returned()
				return
			}
			o.unpin()
			o.st.leave()
		}
		return
	}
}

func (o *Object) unpin() {
	o.unmapSpill()
	if o.peer != nil {
		o.leaveSegments()
		o.peer.unpin(o.id, o.entry)
		o.peer.leave()
		return
	}
	if o.rec.unpin() {
		o.st.lastPinGone(o.id.slot)
	}
}
