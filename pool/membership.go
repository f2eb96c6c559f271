// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"errors"
	"fmt"

	"github.com/tutti-go/tutti/core"
)

// newMember makes a member of an actor that fits the pool.
func (p *Pool[A]) newMember(h *core.Handle[A]) (*member, error) {
	if _, err := core.NewTargets([]*core.Handle[A]{p.first, h}); err != nil {
		return nil, err
	}
	targets, err := core.NewTargets([]*core.Handle[A]{h})
	if err != nil {
		return nil, err
	}
	return &member{targets: targets, id: h.ID(), handle: h, where: h.Host}, nil
}

// handleOf returns the handle of a member.
func handleOf[A any](m *member) *core.Handle[A] {
	h, _ := m.handle.(*core.Handle[A]) // newMember of the same Pool has put it there
	return h
}

// Push adds an actor, which gets work at once. Errors: core.ErrInvalid if it is nil or in the pool, core.ErrMixed, ErrClosed, and
// core.ErrActorDead or core.ErrNodeLost if it is known to be gone.
func (p *Pool[A]) Push(h *core.Handle[A]) error {
	m, err := p.newMember(h)
	if err == nil {
		err = m.targets.Check()
	}
	if err == nil {
		err = p.sched.push(m)
	}
	if err != nil {
		return fmt.Errorf("pool: push: %w", err)
	}
	return nil
}

// PopIdle takes out the actor that has been idle for longest and returns it, or nil if every actor has a call of the pool. Replace does
// not make up for it. When no actor is left in the pool, calls fail with core.ErrNoActors until one is pushed.
func (p *Pool[A]) PopIdle() *core.Handle[A] {
	m := p.sched.popIdle()
	if m == nil {
		return nil
	}
	return handleOf[A](m)
}

// HasFree reports whether a call that is submitted now would be sent at once.
func (p *Pool[A]) HasFree() bool { return p.sched.hasFree() }

func (s *scheduler) hasFree() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.mu.closed && s.mu.roster.next("") != nil
}

func (s *scheduler) push(m *member) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.addLocked(m)
	s.dispatchLocked()
	return err
}

// addLocked takes a member in.
func (s *scheduler) addLocked(m *member) error {
	if s.mu.closed {
		return ErrClosed
	}
	if _, there := s.mu.ids[m.id]; there {
		return fmt.Errorf("%w: actor %v is in the pool", core.ErrInvalid, m.id)
	}
	s.mu.ids[m.id] = struct{}{}
	m.place.value, m.near.value = m, m
	s.settleLocked(m)
	s.mu.members = append(s.mu.members, m)
	s.mu.roster.update(m)
	s.resizeLocked()
	return nil
}

// settleLocked takes in where a member lives: another node than before, if its own was lost and it was made anew.
func (s *scheduler) settleLocked(m *member) {
	node := m.targets.Node(0)
	if m.lane != nil && m.node == node {
		return
	}
	m.near.leave()
	m.node, m.host = node, m.where()
	if m.lane = s.mu.lanes[node]; m.lane == nil {
		l := &lane{wake: make(chan struct{}, 1)}
		m.lane, s.mu.lanes[node] = l, l
		s.wg.Go(func() { s.send(l) })
	}
	if s.mu.roster.meet(m.host) {
		for _, other := range s.mu.members {
			s.mu.roster.update(other)
		}
	}
}

func (s *scheduler) popIdle() *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mu.roster.next("")
	if m == nil || m.inFlight > 0 {
		return nil
	}
	s.removeLocked(func(x *member) bool { return x == m })
	if len(s.mu.members) == 0 {
		s.mu.last = errPopped
	}
	return m
}

// errPopped is what became of an actor that was taken out.
var errPopped = errors.New("it was taken out with PopIdle")
