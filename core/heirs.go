// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
)

// A call whose node is lost may go on elsewhere, if it is idempotent and its actor is made anew: a submission of its own, the heir, is sent to where
// the actor is then, and its outcomes become those of the slots that wait.

// loseNode completes the slots of a node that cannot be reached, but for those that go on elsewhere. It reports whether that is so for all that wait.
func (s *Slots) loseNode(node uint32, reason error) bool {
	i := s.targets.shareOf(node)
	if i < 0 {
		return true
	}
	if !errors.Is(reason, ErrNodeLost) {
		s.failSlots(s.targets.shares[i].slots, reason)
		return false
	}
	var anew slotBits
	s.sys.members.Lock()
	for _, slot := range s.targets.shares[i].slots {
		if s.sys.members.returnsLocked(s.targets.ids[slot], node) {
			anew.add(slot)
		}
	}
	s.sys.members.Unlock()
	var followed slotBits
	if s.cfg.idempotent && !s.cfg.cast {
		followed = s.follow(node, anew)
	}
	all := true
	on := func(slot int) bool { return s.place(slot).Node() == node && !followed.has(uint32(slot)) }
	for _, slot := range s.targets.shares[i].slots {
		all = all && followed.has(slot)
	}
	s.lose(func(slot int) bool { return on(slot) && anew.has(uint32(slot)) }, fmt.Errorf("%w: %w", ErrMadeAnew, reason))
	s.lose(on, reason)
	return all
}

// returnsLocked reports whether an actor that lived on a node which is lost is made anew, or will be.
func (m *members) returnsLocked(id ActorID, node uint32) bool {
	r := m.residentLocked(id)
	return r != nil && (m.placeLocked(id).Node() != node || !r.mortal())
}

// follow sends calls to a lost node again, where their actors are made anew. It returns those for which it was done, now or before.
func (s *Slots) follow(node uint32, anew slotBits) slotBits {
	s.mu.Lock()
	var fresh []uint32
	for _, slot := range s.targets.shares[s.targets.shareOf(node)].slots {
		if anew.has(slot) && s.mu.results.pending(slot) && s.mu.followed.add(slot) {
			fresh = append(fresh, slot)
		}
	}
	followed := slices.Clone(s.mu.followed)
	s.mu.Unlock()
	if len(fresh) > 0 {
		s.sys.background(func() {
			if err := s.bequeath(node, fresh); err != nil {
				s.failSlots(fresh, err)
			}
		})
	}
	return followed
}

// failSlots completes those of some slots that wait with an error.
func (s *Slots) failSlots(slots []uint32, reason error) {
	var which slotBits
	for _, slot := range slots {
		which.add(slot)
	}
	s.failWhere(func(slot int) bool { return which.has(uint32(slot)) }, reason)
}

// bequeath submits slots, whose node is lost, to where their actors are made anew.
func (s *Slots) bequeath(node uint32, slots []uint32) error {
	if err := s.sys.members.awaitLoss(s.sys.ctx, node); err != nil {
		return err
	}
	t := &Targets{sys: s.sys, kind: s.targets.kind}
	arg := argument{payload: s.arg.payload, origin: s.arg.origin} // s keeps it until its last answer
	for _, slot := range slots {
		t.ids = append(t.ids, s.targets.ids[slot])
		if s.arg.each != nil {
			arg.each = append(arg.each, s.arg.each[slot])
		}
	}
	t.locate()
	t, err := t.now(s.sys.ctx)
	if err != nil {
		return err
	}
	heir := newSlots(t, s.method)
	heir.arg, heir.deadline = arg, s.deadline
	heir.cfg = callConfig{policy: BestEffort, idempotent: true, fanOut: s.cfg.fanOut}
	heir.OnEach(func(done []uint32) {
		for _, i := range done {
			s.inherit(slots[i], heir, i)
		}
		s.mu.Lock()
		s.progressLocked()
		s.mu.Unlock()
	})
	if err := heir.admit(s.sys.ctx); err != nil {
		return err
	}
	if _, _, err := heir.send(s.sys.ctx); err != nil {
		return err
	}
	s.mu.Lock()
	waiting := false
	for _, slot := range slots {
		waiting = waiting || s.mu.results.pending(slot)
	}
	if waiting {
		s.mu.heirs = append(s.mu.heirs, heir)
	}
	s.mu.Unlock()
	if !waiting {
		heir.Cancel(errGivenUp)
	}
	return nil
}

var errGivenUp = errors.New("nobody waits for it any more")

// inherit completes a slot with the outcome of an heir's, whose lock is held.
func (s *Slots) inherit(slot uint32, heir *Slots, i uint32) {
	o := heir.mu.results.of(i)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.results.pending(slot) {
		return
	}
	if o.state == succeededObject && heir.remote.give(i, s.remote, slot) {
		runtime.AddCleanup(s, (*remoteResults).releaseAll, s.remote)
	}
	s.completeLocked(slot, s.mu.results.enter(o))
}
