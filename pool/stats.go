// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"time"

	"github.com/tutti-go/tutti/core"
)

// Stats says what a pool does at one moment, and has done.
type Stats struct {
	Members  []MemberStats // the actors in the pool, in the order given to New
	Waiting  int           // calls that wait for an actor
	Blocked  int           // Submits that block because the queue is full
	InFlight int           // calls that actors have, even if their callers have given them up
	Done     uint64        // calls that actors have answered with a result, those that are gone included
	Failed   uint64        // calls that ended in an error after they were sent
	P50, P99 time.Duration // time from sending a call to its answer, over the actors in the pool; 0 without answers
	Keep     error         // why Replace or Elastic failed last; nil if they did not, or have succeeded since
}

// MemberStats is the part of one actor.
type MemberStats struct {
	Actor        core.ActorID
	InFlight     int
	Quarantined  bool // its node is silent: see Quarantine
	Done, Failed uint64
	P50, P99     time.Duration // time from sending a call to its answer; up to a quarter too large, 0 without answers
}

// Stats returns a snapshot. It costs time in proportion to the number of actors.
func (p *Pool[A]) Stats() Stats {
	s := p.sched
	s.mu.Lock()
	st := Stats{Done: s.mu.done, Failed: s.mu.failed, Keep: s.mu.keepErr}
	members := make([]member, len(s.mu.members)) // to count in at leisure
	for i, m := range s.mu.members {
		members[i] = member{id: m.id, inFlight: m.inFlight, done: m.done, failed: m.failed, times: m.times, silent: m.silent}
	}
	for src := range s.mu.sources {
		st.Waiting += src.waiting.len
		st.Blocked += src.blocked.len
		st.InFlight += src.flight.len
	}
	s.mu.Unlock()
	var all histogram
	st.Members = make([]MemberStats, len(members))
	for i := range members {
		m := &members[i]
		st.Members[i] = MemberStats{
			Actor: m.id, InFlight: m.inFlight, Quarantined: m.silent, Done: m.done, Failed: m.failed,
			P50: m.times.quantile(0.5), P99: m.times.quantile(0.99),
		}
		all.merge(&m.times)
	}
	st.P50, st.P99 = all.quantile(0.5), all.quantile(0.99)
	return st
}
