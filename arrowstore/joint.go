// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import "fmt"

// An object that several stores write together: its owner opens the draft, the others join it, write, and hold it as they would hold an
// object, so that its memory is not used again while one of them may still write, whatever happens to the owner or to the draft.

// Joint is a hold on an object that its Writer has opened to other writers. It belongs to one goroutine at a time, and must be
// released, or be turned into an Object.
type Joint struct {
	obj  *Object // the hold, without buffers until the object is sealed
	mem  []byte
	done bool
	wr   *mapping // of a peer's segment, writable; nil if there is no memory or the store is the owner's
}

// Open lets others write the object too: with the ID, Store.Join gives them its memory, until Seal or Abort. Only an object of one
// buffer can be opened. Who has joined must have written before Seal, which does not wait for them; after Abort the memory stays
// away from other objects until they have let go. It returns ErrType for an object of another number of buffers, and ErrSealed after Seal or Abort.
func (w *Writer) Open() (ID, error) {
	if w.done.Load() {
		return ID{}, ErrSealed
	}
	if len(w.bufs) != 1 {
		return ID{}, fmt.Errorf("open an object of %d buffers to other writers: %w", len(w.bufs), ErrType)
	}
	r, sl := w.d.rec, w.st.table.slot(w.d.slot)
	id := ID{store: w.st.number, slot: w.d.slot, gen: r.gen()}
	if w.open {
		return id, nil
	}
	w.open = true
	r.buffers, r.size = 1, w.size
	w.d.place(sl)
	sl.buffers.Store(1)
	sl.size.Store(uint64(w.size))
	r.ref.Or(recordOpen)
	sl.word.Store(uint64(id.gen)<<32 | flagOpen)
	return id, nil
}

// place writes down where the memory of a draft is.
func (d *draft) place(sl *slot) {
	if d.rec.where != nowhere {
		sl.segment.Store(d.block.seg.num)
		sl.offset.Store(uint64(d.block.start()))
	}
}

// Join returns a hold on an object that is being written and that its Writer has opened, in this store or in any other live store on the
// directory. It returns ErrNotFound when the object is sealed or aborted already, or its store is gone.
func (s *Store) Join(id ID) (*Joint, error) {
	if !s.gate.enter() {
		return nil, ErrClosed
	}
	j, err := s.join(id)
	if err != nil {
		s.leave()
		return nil, fmt.Errorf("join: %w", err)
	}
	return j, nil
}

func (s *Store) join(id ID) (*Joint, error) {
	if id.store == s.number {
		r := s.records.find(id.slot)
		if r == nil || !s.pinOwn(r, id.gen, beingWritten) {
			return nil, errGone(id)
		}
		j := &Joint{obj: newObject(&Object{st: s, rec: r, id: id})}
		if r.where != nowhere {
			off := r.span.start()
			j.mem = s.space.find(r.span.seg).rw[off : off+r.size : off+r.size]
		}
		return j, nil
	}
	if id.IsZero() {
		return nil, errGone(id)
	}
	p, err := s.peers.enter(s, id.store)
	if err != nil {
		return nil, err
	}
	e, err := p.pin(id, beingWritten)
	if err != nil {
		p.leave()
		return nil, err
	}
	j := &Joint{obj: newObject(&Object{st: s, peer: p, entry: e, id: id})}
	sl := p.table.slot(id.slot)
	j.mem, err = buffer(sl.segment.Load(), sl.offset.Load(), sl.size.Load(), func(num uint32) ([]byte, error) {
		if j.wr, err = p.segment(segmentKey{num: num, writable: true}); err != nil {
			return nil, err
		}
		return j.wr.mem, nil
	})
	if err != nil {
		j.drop()
		return nil, err
	}
	return j, nil
}

// Bytes returns the memory, to be written. What each of the writers may write is for them to agree; it must not be touched after
// Release or Object.
func (j *Joint) Bytes() []byte { return j.mem }

// Object returns the object when its Writer has sealed it, with the hold of the Joint, which is released with that. So the object is
// there also if its owner has deleted it since. It returns ErrNotFound for one that was not sealed; then the Joint is as before.
func (j *Joint) Object() (*Object, error) {
	if j.done {
		return nil, fmt.Errorf("object of several writers: %w", ErrSealed)
	}
	o := j.obj
	sealed := o.peer == nil && o.rec.ref.Load()&recordSealed != 0 ||
		o.peer != nil && o.peer.table.slot(o.id.slot).word.Load()&flagSealed != 0
	if !sealed {
		return nil, errGone(o.id)
	}
	return j.Agreed()
}

// Agreed is Object for writers who know from each other that all have written: it does not matter whether the Writer has sealed the object yet, or
// ever will. From then on nobody may write, and the object is like any other for who holds it; others find it once it is sealed.
func (j *Joint) Agreed() (*Object, error) {
	if j.done {
		return nil, fmt.Errorf("object of several writers: %w", ErrSealed)
	}
	o := j.obj
	var err error
	if o.peer == nil {
		err = o.openOwn()
	} else {
		sl := o.peer.table.slot(o.id.slot)
		o.mapped = o.oneMap[:0]
		err = o.peer.open(o, place{sl.segment.Load(), sl.buffers.Load(), sl.offset.Load(), sl.size.Load()})
	}
	if err != nil {
		o.leaveSegments()
		return nil, fmt.Errorf("object of several writers: %w", err)
	}
	j.done = true
	j.leaveMapping()
	return o, nil
}

// Release lets go of the object. After Object or Release it does nothing, so it can be deferred.
func (j *Joint) Release() {
	if j.done {
		return
	}
	st := j.obj.st
	j.drop()
	st.leave()
}

// drop gives up the hold, but not the use of the store.
func (j *Joint) drop() {
	j.done = true
	j.leaveMapping()
	j.obj.closed.Close()
	j.obj.leak.stop()
	j.obj.unpin()
}

func (j *Joint) leaveMapping() {
	j.mem = nil
	if j.wr != nil {
		j.wr.leave()
		j.wr = nil
	}
}

// GetHeld is Get for an object that may be deleted, if somebody holds it, as an Object, from before the call until after it: it is how a
// holder passes on what it reads.
func (s *Store) GetHeld(id ID) (*Object, error) {
	if !s.gate.enter() {
		return nil, ErrClosed
	}
	o, err := s.getHeld(id)
	if err != nil {
		s.leave()
		return nil, fmt.Errorf("get held object: %w", err)
	}
	return o, nil
}

func (s *Store) getHeld(id ID) (*Object, error) {
	if id.store != s.number {
		return s.getAs(id, held)
	}
	if o, err := s.getOwn(id); err == nil {
		return o, nil
	}
	r := s.records.find(id.slot)
	if r == nil {
		return nil, errGone(id)
	}
	s.mu.Lock() // under which deleted objects are freed
	ok, _ := r.pin(id.gen, held)
	if ok {
		s.table.slot(id.slot).word.Or(flagHeld)
	}
	s.mu.Unlock()
	if !ok {
		return nil, errGone(id)
	}
	return newObject(&Object{st: s, rec: r, id: id}).opened()
}

// state says which objects a pin may be put on.
type state uint8

const (
	sealed       state = iota // readable, not deleted
	held                      // readable, perhaps deleted, or agreed upon by its writers and not yet sealed
	beingWritten              // opened by its writer
)

// allows reports whether a slot's word says that generation gen is in the state.
func (st state) allows(word uint64, gen uint32) bool {
	if uint32(word>>32) != gen {
		return false
	}
	switch st {
	case held:
		return word&(flagSealed|flagOpen) != 0
	case beingWritten:
		return word&(flagOpen|flagDeleted) == flagOpen
	default:
		return word&(flagSealed|flagDeleted) == flagSealed
	}
}

// allowsRecord is the same for a record.
func (st state) allowsRecord(ref uint64) bool {
	switch st {
	case held:
		return ref&(recordSealed|recordOpen) != 0
	case beingWritten:
		return ref&(recordOpen|recordDeleted) == recordOpen
	default:
		return ref&(recordSealed|recordDeleted) == recordSealed
	}
}

// dropOpen gives back an unsealed draft that others may have joined: at once, or when they have let go.
func (s *Store) dropOpen(d draft) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.rec.ref.Or(recordDeleted)
	s.table.slot(d.slot).word.Or(flagDeleted)
	s.mu.zombies[d.slot] = struct{}{}
	s.tryFreeLocked(d.slot)
}
