// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"errors"
	"slices"

	"github.com/tutti-go/tutti/core"
)

// member is an actor of the pool. Its fields are guarded by the scheduler's lock, unless they never change.
type member struct {
	targets *core.Targets // the actor alone; never changes
	id      core.ActorID  // never changes
	handle  any           // *core.Handle of the pool's type; never changes
	where   func() string // the host of handle; never changes

	node     uint32        // where the actor lives, or lived when the pool last looked
	host     string        // of the node
	lane     *lane         // to the node
	place    node[*member] // among the members with room
	near     node[*member] // among those of its host, if there are several hosts
	inFlight int           // items assigned and not answered, whether or not their callers gave up
	done     uint64
	failed   uint64
	times    histogram // from sending to the answer
	gone     bool
	silent   bool // its node has not been heard of for a while: it gets no calls
}

// evictLocked takes a member out, and if its node is lost all others there. It returns the items that cannot be served because no
// member is left, for which the caller must call fail with noActors.
func (s *scheduler) evictLocked(m *member, reason error) []*item {
	if m.gone {
		return nil
	}
	lost := errors.Is(reason, core.ErrNodeLost)
	node := m.targets.Node(0)
	gone := s.removeLocked(func(x *member) bool {
		return x == m || lost && x.targets.Node(0) == node && core.Gone(x.targets.Check())
	})
	s.mu.last = reason
	if s.reportDead {
		s.mu.dead = append(s.mu.dead, gone...)
		s.mu.dead = s.mu.dead[max(0, len(s.mu.dead)-maxDead):]
	}
	if s.keeper != nil && !s.mu.closed {
		s.keeper.lostLocked(s, gone)
	}
	if !s.isEmptyLocked() {
		return nil
	}
	return s.strandLocked()
}

// removeLocked takes members out.
func (s *scheduler) removeLocked(which func(*member) bool) (removed []*member) {
	s.mu.members = slices.DeleteFunc(s.mu.members, func(m *member) bool {
		if !which(m) {
			return false
		}
		m.gone = true
		delete(s.mu.ids, m.id)
		s.mu.roster.update(m)
		removed = append(removed, m)
		return true
	})
	s.resizeLocked()
	return removed
}

// isEmptyLocked reports whether no member is left to serve calls, nor about to come.
func (s *scheduler) isEmptyLocked() bool { return len(s.mu.members) == 0 && !s.mu.replacing }

// strandLocked takes out all items that wait.
func (s *scheduler) strandLocked() []*item {
	var items []*item
	for src := range s.mu.sources {
		items = append(items, src.waitingLocked()...)
	}
	for _, it := range items {
		it.leaveLocked()
	}
	return items
}
