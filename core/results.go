// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"sync"

	"github.com/tutti-go/tutti/arrowstore"
)

// remoteResults are the large answers of a submission. Each lies in the object store of its actor's node until it is released and no call
// that was given it as its argument is under way. The collector releases those of Slots that nobody refers to.
type remoteResults struct {
	sys *System
	mu  struct {
		sync.Mutex
		watched bool // the collector has been asked
		all     bool // released, also those that are still to come
		bySlot  map[uint32]*remoteResult
	}
}

type remoteResult struct {
	node     uint32
	id       arrowstore.ID // zero until it comes: it was released before
	users    int           // calls under way that name it
	released bool
}

// add takes an answer in, and reports whether it is the first.
func (r *remoteResults) add(slot, node uint32, id arrowstore.ID) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.mu.bySlot[slot]
	if o != nil && o.id == id {
		return false // it has come twice
	}
	if o != nil || r.mu.all {
		r.sys.releaseRemote(node, []arrowstore.ID{id})
		return false
	}
	r.putLocked(slot, &remoteResult{node: node, id: id})
	r.sys.holdResult(id)
	first = !r.mu.watched
	r.mu.watched = true
	return first
}

func (r *remoteResults) putLocked(slot uint32, o *remoteResult) {
	if r.mu.bySlot == nil {
		r.mu.bySlot = map[uint32]*remoteResult{}
	}
	r.mu.bySlot[slot] = o
}

// retain keeps an answer until done is called, and reports false if it was released.
func (r *remoteResults) retain(slot uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.mu.bySlot[slot]
	if o == nil || o.released || r.mu.all {
		return false
	}
	o.users++
	return true
}

func (r *remoteResults) done(slot uint32) {
	r.mu.Lock()
	o := r.mu.bySlot[slot]
	o.users--
	free := o.released && o.users == 0
	r.mu.Unlock()
	if free {
		r.sys.releaseRemote(o.node, []arrowstore.ID{o.id})
	}
}

// where returns the node that has the answer of a slot, and reports false if it was released.
func (r *remoteResults) where(slot uint32) (node uint32, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.mu.bySlot[slot]
	if o == nil || o.released || r.mu.all {
		return 0, false
	}
	return o.node, true
}

// give hands the answer of a slot over to others, and reports whether it is their first.
func (r *remoteResults) give(slot uint32, to *remoteResults, toSlot uint32) (first bool) {
	r.mu.Lock()
	o := r.mu.bySlot[slot]
	delete(r.mu.bySlot, slot)
	r.mu.Unlock()
	return o != nil && to.add(toSlot, o.node, o.id)
}

// release lets the answer of one slot go, also if it is still to come.
func (r *remoteResults) release(slot uint32) {
	r.mu.Lock()
	o := r.mu.bySlot[slot]
	if o == nil {
		r.putLocked(slot, &remoteResult{released: true})
		r.mu.Unlock()
		return
	}
	free := !o.released && o.users == 0
	o.released = true
	r.mu.Unlock()
	if free {
		r.sys.releaseRemote(o.node, []arrowstore.ID{o.id})
	}
}

// releaseAll lets all answers go, also those that are still to come.
func (r *remoteResults) releaseAll() {
	free := map[uint32][]arrowstore.ID{}
	r.mu.Lock()
	r.mu.all = true
	for _, o := range r.mu.bySlot {
		if !o.released && o.users == 0 {
			free[o.node] = append(free[o.node], o.id)
		}
		o.released = true
	}
	r.mu.Unlock()
	for node, ids := range free {
		r.sys.releaseRemote(node, ids)
	}
}

// holdResult notes that an answer in the store of its node is in use until releaseRemote.
func (s *System) holdResult(id arrowstore.ID) {
	s.results.Lock()
	defer s.results.Unlock()
	s.results.held[id] = struct{}{}
}

func (s *System) holdsResult(id arrowstore.ID) bool {
	s.results.Lock()
	defer s.results.Unlock()
	_, ok := s.results.held[id]
	return ok
}
