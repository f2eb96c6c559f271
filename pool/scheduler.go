// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/core"
)

// scheduler hands items to members. It knows nothing of types: items are encoded when they come.
//
// One lock guards who waits and who is busy; under it nothing blocks, and package core is asked for no more than what it knows of an actor. Goroutines: a lane for
// every node, which sends, and the collector, which takes in what was answered.
type scheduler struct {
	life   lifetime
	done   completions
	wg     sync.WaitGroup // lanes and the collector
	close  sync.Once
	window atomic.Int64 // items that a Map may hold
	calls  *source      // of Submit and Tasks
	keeper *keeper      // nil if nobody replaces or adds members
	tally  tally        // of items that were enqueued
	report *reporter    // nil if nobody wants to know

	inFlight, bound int
	reportDead      bool

	mu struct {
		sync.Mutex
		closed  bool
		members []*member // present, in the order in which they came
		ids     map[core.ActorID]struct{}
		roster  roster
		sources map[*source]struct{}
		ring    list[*source] // sources with waiting items, in turn
		lanes   map[uint32]*lane
		dead    []*member // lost and not replaced, the latest last; nil without ReportDead
		silent  bool      // members are in quarantine
		last    error     // what became of the member that went last

		gone      []*member // to be replaced
		replacing bool      // members are missing, and about to come
		minIdle   int       // members without calls, the fewest since the keeper last looked
		keepErr   error     // of the keeper's last attempt

		done, failed uint64
	}
}

func newScheduler(o options) *scheduler {
	s := &scheduler{inFlight: o.inFlight, bound: o.queue, reportDead: o.reportDead, calls: newSource(o.queue)}
	s.life.done = make(chan struct{})
	s.done.wake = make(chan struct{}, 1)
	s.mu.roster = newRoster(o.inFlight)
	s.mu.sources = map[*source]struct{}{s.calls: {}}
	s.mu.lanes = map[uint32]*lane{}
	s.mu.ids = map[core.ActorID]struct{}{}
	s.resizeLocked()
	s.wg.Go(s.collect)
	return s
}

func (s *scheduler) resizeLocked() {
	s.window.Store(int64(s.bound) + int64(len(s.mu.members))*int64(s.inFlight))
}

// open registers a source.
func (s *scheduler) open(src *source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.sources[src] = struct{}{}
}

// enqueue takes an item in, or settles it with the error that is returned. stop unregisters it from its context and may
// be nil. If the item is beyond the bound of its source, the channel is not nil; it is closed when there is room, or the item is settled.
func (s *scheduler) enqueue(it *item, stop func() bool) (admitted <-chan struct{}, err error) {
	it.stop, it.tally = stop, &s.tally // before anybody else can settle it
	s.tally.given.Add(1)
	if it.race != nil {
		return it.race.begin()
	}
	return s.admit(it)
}

// admit does what enqueue does, also for the runs of a race.
func (s *scheduler) admit(it *item) (admitted <-chan struct{}, err error) {
	s.mu.Lock()
	switch {
	case it.cause != nil:
		err = it.cause
	case it.src.cause != nil:
		err = it.src.cause
	case s.mu.closed:
		err = fmt.Errorf("pool: %w", ErrClosed)
	case s.isEmptyLocked():
		err = s.noActorsLocked()
	default:
		it.src.pushLocked(it)
		if it.src.turn.in == nil {
			s.mu.ring.pushBack(&it.src.turn)
		}
		s.dispatchLocked()
	}
	if it.admitted != nil {
		admitted = it.admitted
	}
	s.mu.Unlock()
	if err != nil {
		it.release()
		it.fail(err)
	}
	return admitted, err
}

// dispatchLocked assigns waiting items to members with room, the sources taking turns.
func (s *scheduler) dispatchLocked() {
	for s.mu.ring.len > 0 {
		src := s.mu.ring.front.value
		m := s.mu.roster.next(src.waiting.front.value.host)
		if m == nil {
			if k := s.keeper; k != nil && k.spawn != nil && len(s.mu.members) < k.high {
				signal(k.wake)
			}
			break
		}
		s.mu.ring.popFront()
		it := src.waiting.popFront()
		src.admitLocked()
		if src.waiting.len > 0 {
			s.mu.ring.pushBack(&src.turn)
		}
		src.flight.pushBack(&it.place)
		it.member = m
		m.inFlight++
		s.settleLocked(m)
		s.mu.roster.update(m)
		m.lane.addLocked(it)
	}
	s.mu.minIdle = min(s.mu.minIdle, s.mu.roster.all.byLoad[0].len)
}

// releaseLocked gives an item's member back.
func (s *scheduler) releaseLocked(it *item) *member {
	m := it.member
	it.member = nil
	it.place.leave()
	m.inFlight--
	s.mu.roster.update(m)
	return m
}

// giveUp settles items early. Members that are busy with them are asked to stop, and stay busy until they have.
func (s *scheduler) giveUp(cause error, items ...*item) {
	var interrupts map[*bundle][]uint32
	for _, it := range items {
		if it.race != nil {
			it.race.giveUp(cause)
			continue
		}
		if b := s.giveUpOne(it, cause); b != nil {
			if interrupts == nil {
				interrupts = map[*bundle][]uint32{}
			}
			interrupts[b] = append(interrupts[b], it.slot)
		}
	}
	for b, slots := range interrupts {
		b.slots.InterruptSlots(slots...)
	}
}

// giveUpOne settles an item early. If it is under way it returns its bundle.
func (s *scheduler) giveUpOne(it *item, cause error) *bundle {
	s.mu.Lock()
	if it.cause != nil {
		s.mu.Unlock()
		return nil
	}
	it.cause = cause
	it.givenUp.Store(true)
	waits := it.place.in != nil && it.member == nil
	flies := it.member != nil
	b := it.bundle
	if waits {
		it.leaveLocked()
	}
	s.mu.Unlock()
	if waits {
		it.release()
	}
	if waits || flies {
		it.fail(cause) // else enqueue does so, or it is settled
	}
	if !flies {
		return nil
	}
	return b
}

// abandon ends a source: all its items are given up, and later ones refused.
func (s *scheduler) abandon(src *source, cause error) {
	s.mu.Lock()
	if src.cause == nil {
		src.cause = cause
	}
	items := append(src.waitingLocked(), src.flight.all()...)
	s.mu.Unlock()
	s.giveUp(cause, items...)
}

// forget ends a source for good.
func (s *scheduler) forget(src *source, cause error) {
	s.abandon(src, cause)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.sources, src)
}

// withdraw takes an item back that was assigned and not sent.
func (s *scheduler) withdraw(it *item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked(it)
	s.dispatchLocked()
}

// reassign takes an item's member out and puts the item to the front of its source.
func (s *scheduler) reassign(it *item, reason error) {
	s.mu.Lock()
	m := s.releaseLocked(it)
	dropped := it.cause != nil
	if !dropped {
		s.returnLocked(it)
	}
	stranded := s.evictLocked(m, reason)
	if s.isEmptyLocked() && it.place.in != nil { // m was out already
		it.leaveLocked()
		stranded = append(stranded, it)
	}
	s.dispatchLocked()
	err := s.noActorsLocked()
	s.mu.Unlock()
	if dropped {
		it.release()
	}
	failAll(stranded, err)
}

// returnLocked puts an item that is not assigned any more to the front of its source.
func (s *scheduler) returnLocked(it *item) {
	it.src.waiting.pushFront(&it.place)
	if it.src.turn.in == nil {
		s.mu.ring.pushBack(&it.src.turn)
	}
}

// refresh takes members out that are known to be gone, though no call has found out yet.
func (s *scheduler) refresh() []*member {
	s.mu.Lock()
	members := append([]*member(nil), s.mu.members...)
	s.mu.Unlock()
	alive := members[:0]
	for _, m := range members {
		err := m.targets.Check()
		if !core.Gone(err) {
			alive = append(alive, m)
			continue
		}
		s.mu.Lock()
		stranded := s.evictLocked(m, err)
		reason := s.noActorsLocked()
		s.mu.Unlock()
		failAll(stranded, reason)
	}
	return alive
}

// dead returns the members that are to be reported as lost.
func (s *scheduler) dead() []*member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mu.dead)
}

// shut gives everything up and ends the goroutines.
func (s *scheduler) shut() {
	s.close.Do(func() {
		s.mu.Lock()
		s.mu.closed = true
		sources := make([]*source, 0, len(s.mu.sources))
		for src := range s.mu.sources {
			sources = append(sources, src)
		}
		s.mu.Unlock()
		for _, src := range sources {
			s.abandon(src, fmt.Errorf("pool: %w", ErrClosed))
		}
		close(s.life.done)
		s.wg.Wait()
		if s.report != nil {
			s.report.fn(s.progress()) // the collector has taken in what it had
		}
	})
}

// noActorsLocked says that nobody is left, and what became of the last.
func (s *scheduler) noActorsLocked() error {
	if !s.isEmptyLocked() {
		return nil
	}
	err := fmt.Errorf("pool: %w: the last one is gone: %v", core.ErrNoActors, s.mu.last) //nolint:errorlint // it is not this item that it happened to
	if s.mu.keepErr != nil {
		err = fmt.Errorf("%w; it was not replaced: %w", err, s.mu.keepErr)
	}
	return err
}

func failAll(items []*item, err error) {
	for _, it := range items {
		it.release()
		it.fail(err)
	}
}

// lifetime is the context of whatever the pool does on its own behalf. It ends when the pool is closed.
type lifetime struct{ done chan struct{} }

// Deadline implements context.Context.
func (l *lifetime) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

// Done implements context.Context.
func (l *lifetime) Done() <-chan struct{} { return l.done }

// Err implements context.Context.
func (l *lifetime) Err() error {
	select {
	case <-l.done:
		return context.Canceled
	default:
		return nil
	}
}

// Value implements context.Context.
func (l *lifetime) Value(any) any { return nil }
