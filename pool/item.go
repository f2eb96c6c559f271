// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/core"
)

// maxAttempts is how many actors an idempotent call may take down with it before it fails.
const maxAttempts = 3

// item is one call on its way through the pool. It waits in its source, is assigned to a member, is sent by the
// lane of the member's node, and ends when its answer arrives. Its promise is settled exactly once on that way: with
// the answer, or before it with the reason why there will be none.
type item struct {
	promise    core.Promise
	call       *core.Prepared // nil once it is let go; belongs to whoever moves the item on
	deadline   time.Time
	idempotent bool
	host       string // where its argument lies, if that matters
	src        *source
	race       *race       // of a hedged call, whose runs are scheduled in its place; else nil
	sent       func()      // called without a lock when it was sent; may be nil
	finished   func(*item) // called without a lock once the item is settled; may be nil
	answer     answer      // what it was settled with, for finished: an answer
	err        error       // or an error

	tally *tally // counts it; nil until it is enqueued, and for the runs of a race

	index int         // in the input of a Map, or of Tasks
	held  node[*item] // among those that its Map or Tasks hold, and guarded by what guards them

	// place is guarded by the scheduler's lock, and so is what follows up to slot.
	place    node[*item]
	admitted chan struct{} // closed when a blocked Submit may return; nil for others
	stop     func() bool   // unregisters from the context; nil if there is nothing to unregister
	member   *member       // nil unless it is assigned
	attempts int           // how often it was sent
	cause    error         // why it was given up, nil if it was not

	bundle *bundle // nil until it is sent
	slot   uint32  // in bundle

	givenUp atomic.Bool // cause is set; read by the lane without the lock
	settled atomic.Bool
}

func newItem(src *source) *item {
	it := &item{src: src}
	it.place.value = it
	it.held.value = it
	return it
}

// release lets the argument go.
func (it *item) release() {
	if it.call != nil {
		it.call.Release()
		it.call = nil
	}
}

// answer is one slot of a message that was answered. The zero answer is none.
type answer struct {
	slots *core.Slots
	slot  uint32
}

func (a answer) err() error { return a.slots.Err(int(a.slot)) }

func (a answer) release() { a.slots.ReleaseSlot(int(a.slot)) }

// resolve settles the item with its answer.
func (it *item) resolve(a answer) {
	if it.promise.Resolve(a.slots, int(a.slot)) {
		it.answer = a
		it.finish(a.err())
		return
	}
	a.release() // it was given up: nobody will ask for the answer
}

// fail settles the item with an error, unless it is settled.
func (it *item) fail(err error) {
	if it.promise.Fail(err) {
		it.err = err
		it.finish(err)
	}
}

func (it *item) finish(err error) {
	if it.stop != nil {
		it.stop()
	}
	if it.tally != nil {
		it.tally.end(err)
	}
	it.settled.Store(true)
	if it.finished != nil {
		it.finished(it)
	}
}

// source is where items come from: all Submits of a pool together, or one Map. Sources take turns, so that a long Map does not hold
// up anybody else.
type source struct {
	turn    node[*source] // in the scheduler's ring while items wait
	waiting list[*item]
	flight  list[*item] // assigned and not answered
	bound   int         // items that may wait; 0: the source bounds itself
	blocked list[*item] // items of Submits that block, beyond bound
	cause   error       // why it takes no more items; nil while it does
}

func newSource(bound int) *source {
	src := &source{bound: bound}
	src.turn.value = src
	return src
}

// pushLocked adds an item, as a blocked one if there is no room.
func (src *source) pushLocked(it *item) {
	if src.bound > 0 && src.waiting.len >= src.bound {
		it.admitted = make(chan struct{})
		src.blocked.pushBack(&it.place)
		return
	}
	src.waiting.pushBack(&it.place)
}

// admitLocked lets blocked items move up into room that has appeared.
func (src *source) admitLocked() {
	for src.blocked.len > 0 && src.waiting.len < src.bound {
		it := src.blocked.popFront()
		close(it.admitted)
		it.admitted = nil
		src.waiting.pushBack(&it.place)
	}
}

// waitingLocked returns all items that are not assigned.
func (src *source) waitingLocked() []*item { return append(src.waiting.all(), src.blocked.all()...) }

// leaveLocked takes an item that waits out of its source.
func (it *item) leaveLocked() {
	it.place.leave()
	if it.admitted != nil {
		close(it.admitted)
		it.admitted = nil
	}
	it.src.admitLocked()
	if it.src.waiting.len == 0 {
		it.src.turn.leave()
	}
}

// signal puts a token into a channel of size 1 unless it holds one.
func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
