// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"slices"
	"sync"
	"time"
)

// sectionSize is how many members of neighbouring ranks share a lock and a channel. With one of each for all, processors wait for each other
// at every step of a member, and a barrier of 400 on two cores took 368 us in place of 307 (BENCHMARKS.md). Waking a section by the last of it
// that came, rather than by the last of all, took 325 us, and 348 with sections of 200; in these it took 247 where that one yielded its
// processor up to 1000 times first, at the expense of whatever else the machine has to do.
const sectionSize = 64

// mostEnds is how many contexts that members of a section have in common are looked after by one of them. For actors that were called
// together it is one.
const mostEnds = 4

// section is where members of neighbouring ranks come to rounds, and are woken.
type section struct {
	from, to int // ranks
	helpers  int // how many of those who come first wait to work with the last

	mu struct {
		sync.Mutex

		over *ending // nobody comes any more
		in   [2]attendance
	}

	_ [64]byte // what processors write at the same time is on different lines of their caches
}

// attendance is who of a section has come to a round.
type attendance struct {
	number  uint64        // of the round
	done    chan struct{} // closed when nobody uses the members' memory any more
	came    int
	bounded int // rank that came first of those without a deadline of their own, or -1
	began   time.Time
	judge   int // rank that came first of those that a stall ends, or -1
	stall   time.Duration
	ends    []<-chan struct{} // of contexts that somebody looks after
}

// sectionsOf divides members, and those who help, among sections.
func sectionsOf(ranks, helpers int) []section {
	all := make([]section, (ranks+sectionSize-1)/sectionSize)
	for i := range all {
		s := &all[i]
		s.from, s.to = i*sectionSize, min((i+1)*sectionSize, ranks)
		s.helpers = helpers*(i+1)/len(all) - helpers*i/len(all)
		for j := range s.mu.in {
			s.mu.in[j].ends = make([]<-chan struct{}, 0, mostEnds)
		}
	}
	return all
}

// come leaves the call of a member in a round. full says that it is the last of the section.
func (s *section) come(ctx context.Context, m *member, r *round, stall time.Duration) (v seat, full bool, end *ending) {
	_, timed := ctx.Deadline()
	ends := ctx.Done()
	v.round = r
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.over != nil {
		return seat{}, false, s.mu.over
	}
	a := &s.mu.in[m.heap.round%2]
	if a.number != m.heap.round {
		*a = attendance{number: m.heap.round, done: make(chan struct{}), bounded: -1, judge: -1, ends: a.ends[:0]}
	}
	c := &m.heap.now
	r.given[m.rank] = contribution{call: c, in: c.in, out: c.out}
	a.came++
	if !timed && a.bounded < 0 {
		a.bounded, a.began = m.rank, time.Now()
	}
	if stall > 0 && a.judge < 0 {
		a.judge, a.stall = m.rank, stall
	}
	if v.watches = ends != nil && !slices.Contains(a.ends, ends); v.watches && len(a.ends) < cap(a.ends) {
		a.ends = append(a.ends, ends)
	}
	if r.start != nil && a.came <= s.helpers {
		v.duty = helper
	}
	v.done = a.done
	return v, a.came == s.to-s.from, nil
}

// release wakes those who wait in a round.
func (s *section) release(number uint64) {
	s.mu.Lock()
	a := &s.mu.in[number%2]
	came := a.number == number
	s.mu.Unlock()
	if came {
		close(a.done) // outside of the lock, which those who wake take next
	}
}

// shut lets nobody come any more.
func (s *section) shut(why *ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.over = why
}

// census is what the members of a round amount to.
type census struct {
	came    int
	late    []int // ranks that have not come
	bounded int   // as of an attendance, of all
	began   time.Time
	judge   int
	stall   time.Duration
}

func (h *heap) lookAroundLocked(r *round) census {
	all := census{bounded: -1, judge: -1}
	for i := range h.sections {
		h.sections[i].count(r, &all)
	}
	return all
}

// count adds a section to a census.
func (s *section) count(r *round, all *census) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.mu.in[r.number.Load()%2]
	if a.number != r.number.Load() {
		a = &attendance{bounded: -1, judge: -1}
	}
	for rank := s.from; rank < s.to && a.came < s.to-s.from; rank++ {
		if a.came == 0 || r.given[rank].call == nil {
			all.late = append(all.late, rank)
		}
	}
	all.came += a.came
	if a.bounded >= 0 && (all.bounded < 0 || a.began.Before(all.began)) {
		all.bounded, all.began = a.bounded, a.began
	}
	if all.judge < 0 {
		all.judge, all.stall = a.judge, a.stall
	}
}
