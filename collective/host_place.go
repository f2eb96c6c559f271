// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import "github.com/tutti-go/tutti/arrowstore"

// In the memory of a machine a Place knows where the next two results go. So who does not want a result does not wait for the others: the head
// announces the place after the next with each.

// placesAhead is how many results a Place knows the objects of.
const placesAhead = 2

// mostPlaces is how many objects a Place keeps: those, and two with results that some still read when the head looks for another.
const mostPlaces = placesAhead + 2

// found makes the first objects of a Place.
func (p *Place[T]) found(s *sharing) error {
	var words [placesAhead * arrowstore.IDSize]byte
	if s.isHead() {
		for b := words[:0]; len(b) < len(words); {
			k, err := s.make(p.parts.total())
			if err != nil {
				return err
			}
			p.shelf.add(k.id, k, mostPlaces)
			b, _ = k.id.AppendBinary(b) // never fails
		}
	}
	join := func(b []byte) error {
		for _, to := range [placesAhead]**joint{&p.joint, &p.then} {
			id, err := arrowstore.ParseID(b[:arrowstore.IDSize])
			if err == nil {
				*to, err = p.shelf.add(id, nil, mostPlaces).use(p.parts.total(), s.storage.store)
			}
			if err != nil {
				return s.lost(s.r.ctx, err)
			}
			b = b[arrowstore.IDSize:]
		}
		return nil
	}
	if s.isHead() {
		if err := join(words[:]); err != nil {
			return err
		}
	}
	if err := s.r.announce(s.head, words[:], join); err != nil {
		return err
	}
	p.move(p.joint)
	return nil
}

// turn ends an operation whose members have written into their Places, and moves the Place to the next.
func (p *Place[T]) turn(s *sharing) (*arrowstore.View[T], error) {
	r, h := s.r, &p.m.host
	if err := r.Enter(r.idle); err != nil {
		return nil, err
	}
	slot := r.Aside(s.head, 0)[:arrowstore.IDSize]
	if s.isHead() {
		k := p.shelf.free(p.parts.total(), r.Members())
		if k == nil {
			var err error
			if k, err = s.make(p.parts.total()); err != nil {
				return nil, err
			}
			h.made = k
		}
		_, _ = k.id.AppendBinary(slot[:0]) // never fails
	}
	err := r.arrive()
	waits := err == nil && (s.isHead() || !s.idle)
	if waits {
		err = r.Await(r.idle)
	}
	if err != nil {
		h.made.unshelved()
		h.made = nil
		return nil, err
	}
	j := p.joint
	p.move(p.then)
	p.then = nil
	if !waits {
		j.pass()
		j.end()
		h.pending = pending{slot: slot, place: p}
		return nil, nil
	}
	defer j.end()
	id, err := announced(slot)
	if err == nil {
		err = p.announced(id)
	}
	if err != nil {
		return nil, s.lost(r.ctx, err)
	}
	obj, err := s.result(j)
	if err != nil || obj == nil {
		return nil, err
	}
	return viewOf[T](obj, 0, 0, p.parts.total()/sizeOf[T]())
}

// announced makes an object that of the operation after the next.
func (p *Place[T]) announced(id arrowstore.ID) (err error) {
	made := p.m.host.made
	p.m.host.made = nil
	if p.joint == nil { // it was released meanwhile
		return nil
	}
	p.then, err = p.shelf.add(id, made, mostPlaces).use(p.parts.total(), p.m.s.hub.storage.store)
	return err
}
