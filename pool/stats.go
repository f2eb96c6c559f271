// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import "github.com/tutti-go/tutti/core"

// Stats says what a pool does at one moment, and has done.
type Stats struct {
	Members  []MemberStats // the actors in the pool, in the order given to New
	Waiting  int           // calls that wait for an actor
	Blocked  int           // Submits that block because the queue is full
	InFlight int           // calls that actors have, even if their callers have given them up
	Done     uint64        // calls that actors have answered with a result, those that are gone included
	Failed   uint64        // calls that ended in an error after they were sent
	Keep     error         // why Replace or Elastic failed last; nil if they did not, or have succeeded since
}

// MemberStats is the part of one actor.
type MemberStats struct {
	Actor        core.ActorID
	InFlight     int
	Done, Failed uint64
}

// Stats returns a snapshot. It costs time in proportion to the number of actors.
func (p *Pool[A]) Stats() Stats {
	s := p.sched
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Members: make([]MemberStats, 0, len(s.mu.members)), Done: s.mu.done, Failed: s.mu.failed, Keep: s.mu.keepErr}
	for _, m := range s.mu.members {
		st.Members = append(st.Members, MemberStats{Actor: m.id, InFlight: m.inFlight, Done: m.done, Failed: m.failed})
	}
	for src := range s.mu.sources {
		st.Waiting += src.waiting.len
		st.Blocked += src.blocked.len
		st.InFlight += src.flight.len
	}
	return st
}
