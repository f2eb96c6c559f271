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
	lane    *lane         // never changes

	place    node[*member] // among the members with room
	inFlight int           // items assigned and not answered, whether or not their callers gave up
	done     uint64
	failed   uint64
	times    histogram // from sending to the answer
	gone     bool
}

// roster are the members with room for another call, by how many they have. The one with the fewest is next, and of
// those the one that has waited longest: an actor that fails at once does not get all the work.
type roster struct {
	byLoad []list[*member] // index: calls in flight
	low    int             // no list before this one has members
}

func newRoster(inFlight int) roster { return roster{byLoad: make([]list[*member], inFlight)} }

// update puts a member where its load says, behind its equals.
func (r *roster) update(m *member) {
	m.place.leave()
	if m.gone || m.inFlight >= len(r.byLoad) {
		return
	}
	r.byLoad[m.inFlight].pushBack(&m.place)
	r.low = min(r.low, m.inFlight)
}

// next returns the member that is to get the next item, or nil if none has room.
func (r *roster) next() *member {
	for ; r.low < len(r.byLoad); r.low++ {
		if n := r.byLoad[r.low].front; n != nil {
			return n.value
		}
	}
	return nil
}

// evictLocked takes a member out, and if its node is lost all others there. It returns the items that cannot be served because no
// member is left, for which the caller must call fail with noActors.
func (s *scheduler) evictLocked(m *member, reason error) []*item {
	if m.gone {
		return nil
	}
	lost := errors.Is(reason, core.ErrNodeLost)
	gone := s.removeLocked(func(x *member) bool { return x == m || lost && x.id.Node() == m.id.Node() })
	s.mu.last = reason
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
