// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"slices"
	"time"

	"github.com/tutti-go/tutti/core"
)

const (
	// maxTogether bounds the calls in one message. Beyond it there is little left to gain, and the arguments of large ones
	// are freed only when all of them are answered.
	maxTogether = 64
	// maxBundle is the size in bytes at which a message gets no further call.
	maxBundle = 256 << 10
)

// lane sends the items that are assigned to members on one node. Each node has one, so that a link that is congested
// holds up nobody else. What was assigned while the lane was busy travels in one message, and nothing waits for company: an item
// that comes alone goes alone.
type lane struct {
	wake    chan struct{} // holds a token while items are pending
	pending []*item       // guarded by the scheduler's lock
}

// bundle is a message: items of one method, for members on one node.
type bundle struct {
	slots *core.Slots
	items []*item // by slot; nil once answered
	sent  time.Time
}

// send is the goroutine of a lane.
func (s *scheduler) send(l *lane) {
	var batch []*item
	for {
		select {
		case <-l.wake:
		case <-s.life.done:
			s.start(s.takePending(l, nil)) // they were given up
			return
		}
		batch = s.takePending(l, batch)
		for rest := batch; len(rest) > 0; {
			n := together(rest)
			s.start(rest[:n])
			rest = rest[n:]
		}
		clear(batch)
		batch = batch[:0]
	}
}

// addLocked leaves an item to the lane.
func (l *lane) addLocked(it *item) {
	l.pending = append(l.pending, it)
	if len(l.pending) == 1 {
		signal(l.wake)
	}
}

// takePending returns what is to be sent, in exchange for an empty slice to fill. What is for members that were made anew on other nodes
// meanwhile goes over to the lanes of these: a message to several nodes would wait until all have made its actors anew.
func (s *scheduler) takePending(l *lane, empty []*item) []*item {
	s.mu.Lock()
	defer s.mu.Unlock()
	items := l.pending
	l.pending = empty
	if s.mu.closed { // the other lanes may have ended
		return items
	}
	return slices.DeleteFunc(items, func(it *item) bool {
		s.settleLocked(it.member)
		if it.member.lane == l {
			return false
		}
		it.member.lane.addLocked(it)
		return true
	})
}

// together returns how many of the items, from the first, can travel in one message.
func together(items []*item) int {
	first := items[0]
	size := first.call.Size()
	n := 1
	for ; n < min(len(items), maxTogether); n++ {
		it := items[n]
		size += it.call.Size()
		if size > maxBundle || !it.call.Matches(first.call) || !it.deadline.Equal(first.deadline) {
			break
		}
	}
	return n
}

// start sends items to their members, in one message. Those that were given up are not sent, and those whose members are
// known to be gone go to others.
func (s *scheduler) start(items []*item) {
	b := &bundle{items: make([]*item, 0, len(items))}
	calls := make([]core.Assignment, 0, len(items))
	for _, it := range items {
		if it.givenUp.Load() {
			it.release()
			s.withdraw(it)
			continue
		}
		b.items = append(b.items, it)
		calls = append(calls, core.Assignment{Call: it.call, Targets: it.member.targets}) // the member is set until the answer is in
	}
	if len(calls) == 0 {
		return
	}
	b.sent = time.Now()
	slots, err := core.StartAll(&s.life, calls, b.items[0].deadline)
	switch {
	case slots != nil:
		b.slots = slots
		s.follow(b)
	case core.Gone(err):
		s.start(s.withoutGone(b.items))
	default:
		for _, it := range b.items {
			it.release()
			s.withdraw(it)
			it.fail(fmt.Errorf("pool: %w", err))
		}
	}
}

// withoutGone returns the items whose members are not known to be gone. The others were not sent, and go to other members.
func (s *scheduler) withoutGone(items []*item) []*item {
	left := items[:0]
	for _, it := range items {
		if err := it.member.targets.Check(); core.Gone(err) {
			s.reassign(it, err)
			continue
		}
		left = append(left, it)
	}
	return left
}

// follow takes the answers to a message in.
func (s *scheduler) follow(b *bundle) {
	var late []uint32
	s.mu.Lock()
	for i, it := range b.items {
		it.bundle, it.slot = b, uint32(i)
		if it.cause != nil {
			late = append(late, it.slot) // given up meanwhile
		}
	}
	s.mu.Unlock()
	if len(late) > 0 {
		b.slots.InterruptSlots(late...)
	}
	for _, it := range b.items {
		if !it.idempotent {
			it.release()
		}
		if it.sent != nil {
			it.sent()
		}
	}
	b.slots.OnEach(func(slots []uint32) { s.done.add(completion{b, slots, time.Now()}) })
}
