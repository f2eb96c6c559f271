// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/plan"
	"github.com/tutti-go/tutti/internal/wire"
)

// Slots are the answers of one submission: one slot for every target, each of which ends up with a value or an
// error. A single call is a submission with one slot. All methods may be called from many goroutines.
//
// Slots hold encoded answers; a value is decoded when it is asked for, every time anew, and belongs to whoever
// asked. Answers that are too large for a message stay in the object store of the actor's node until Release, or until
// the Slots are collected.
type Slots struct {
	sys     *System
	targets *Targets
	method  *method
	seq     uint64
	// deadline of the calls, zero if there is none.
	deadline time.Time

	arg argument // let go with the last answer
	cfg callConfig
	one [1]shareState

	began time.Time

	mu struct {
		sync.Mutex
		submitted time.Duration
		plans     []*plan.Plan // ways with relays that it has taken
		relays    int
		bytes     int64
		messages  int
		results   outcomes
		shares    []shareState
		unacked   int // slots of a cast whose nodes may need the argument still
		order     completions
		ended     time.Duration
		bySlot    map[uint32][]*waiter // who waits for a slot
		byCount   []countWaiter
		onEach    []func(slots []uint32)
		told      int // completions that were told of
		onDone    []func()
		followed  slotBits // slots that were sent again, as heirs
		heirs     []*Slots
	}
	remote *remoteResults
}

func newSlots(t *Targets, m *method) *Slots {
	s := &Slots{sys: t.sys, targets: t, method: m, began: time.Now(), remote: &remoteResults{sys: t.sys}}
	s.mu.results.init(len(t.ids))
	s.mu.order.init(len(t.ids))
	s.mu.shares = s.one[:]
	if len(t.shares) > 1 {
		s.mu.shares = make([]shareState, len(t.shares))
	}
	for i := range t.shares {
		s.mu.shares[i].left = len(t.shares[i].slots)
	}
	return s
}

// Len returns the number of slots.
func (s *Slots) Len() int { return len(s.targets.ids) }

// Actor returns the identity of the actor that slot i belongs to.
func (s *Slots) Actor(i int) ActorID { return s.targets.ids[i] }

// place returns where the actor that slot i belongs to was when the call was submitted.
func (s *Slots) place(i int) ActorID { return s.targets.places[i] }

// apply takes the answers of one reply frame in. After an error, answers may be missing for ever.
func (s *Slots) apply(body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	outside := false
	err := wire.ParseReply(body, func(r wire.Result) bool {
		for first, count := range r.Slots.Ranges {
			if outside = int(first)+int(count) > s.Len(); outside {
				return false
			}
			s.takeLocked(first, count, r)
		}
		return true
	})
	s.progressLocked()
	if outside {
		err = fmt.Errorf("%w: answer for a slot that %v does not have", wire.ErrFrame, s.method)
	}
	return err
}

// takeLocked completes slots that follow each other with what a reply says of them.
func (s *Slots) takeLocked(first, count uint32, r wire.Result) {
	c := codePending
	own := r.Status == wire.StatusFault || r.Status == wire.StatusObject // each slot has its own outcome, not one for all
	for slot := first; slot < first+count; slot++ {
		if !s.mu.results.pending(slot) {
			if r.Status == wire.StatusObject {
				s.outcomeOf(slot, r) // it lies at its node all the same
			}
			s.acknowledgeLocked(slot)
			continue
		}
		if own || c == codePending {
			c = s.mu.results.enter(s.outcomeOf(slot, r))
		}
		s.completeLocked(slot, c)
	}
}

func (s *Slots) outcomeOf(slot uint32, r wire.Result) outcome {
	switch r.Status {
	case wire.StatusEmpty:
		return outcome{state: succeeded}
	case wire.StatusInline:
		return outcome{state: succeeded, data: r.Data}
	case wire.StatusObject:
		id, err := arrowstore.ParseID(r.Data)
		if err != nil {
			return outcome{state: failed, err: fmt.Errorf("%w: %w", ErrDecode, err)}
		}
		if s.remote.add(slot, s.place(int(slot)).Node(), id) {
			runtime.AddCleanup(s, (*remoteResults).releaseAll, s.remote)
		}
		return outcome{state: succeededObject, data: r.Data}
	default: // StatusFault: there are no others in a reply that was parsed
		f, err := wire.ParseFault(r.Data)
		if err != nil {
			return outcome{state: failed, err: fmt.Errorf("%w: %w", ErrDecode, err)}
		}
		return outcome{state: failed, err: faultError(f, s.Actor(int(slot)), s.targets.kind.name, s.method.name)}
	}
}

// completeLocked completes a slot, which is pending.
func (s *Slots) completeLocked(slot uint32, c code) {
	s.mu.results.set(slot, c)
	s.mu.order.add(slot)
	if len(s.mu.bySlot) > 0 {
		for _, w := range s.mu.bySlot[slot] {
			w.completed()
		}
		delete(s.mu.bySlot, slot)
	}
	s.settleLocked(slot)
}

// letGoLocked lets go of what the nodes needed.
func (s *Slots) letGoLocked() {
	s.sys.forget(s.seq)
	s.arg.done()
}

// finishLocked ends the submission, the last slot of which is complete.
func (s *Slots) finishLocked() {
	s.mu.ended = time.Since(s.began)
	if s.mu.unacked == 0 {
		s.letGoLocked()
	}
	for _, fn := range s.mu.onDone {
		fn()
	}
	s.mu.onEach, s.mu.onDone = nil, nil
}

// progressLocked tells whoever waits of the slots that were completed since it last did.
func (s *Slots) progressLocked() {
	if s.mu.told == s.mu.order.n {
		return
	}
	if len(s.mu.onEach) > 0 {
		fresh := s.mu.order.list(s.mu.told)
		for _, fn := range s.mu.onEach {
			fn(fresh)
		}
	}
	s.mu.told = s.mu.order.n
	if s.mu.order.n == s.mu.results.len() {
		s.finishLocked()
	}
	keep := s.mu.byCount[:0]
	for _, w := range s.mu.byCount {
		if s.mu.order.n >= w.n {
			close(w.ch)
			continue
		}
		keep = append(keep, w)
	}
	s.mu.byCount = keep
}

// OnEach calls fn with the slots as they complete, in the order of completion: at once with those that are complete already, then once for
// every reply that brings answers, with all that it brings, and before OnDone is told of the last. No two calls of it overlap. The
// slice may be kept, and must not be changed. fn runs on the reader of a link: it must not block or use the Slots, and what it
// does there delays the answers behind it.
func (s *Slots) OnEach(fn func(slots []uint32)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.told > 0 {
		fn(s.mu.order.list(0)[:s.mu.told:s.mu.told])
	}
	if s.mu.told < s.mu.results.len() {
		s.mu.onEach = append(s.mu.onEach, fn)
	}
}

// OnDone calls fn when the last slot is complete; at once, if it is. fn must not block or use the Slots.
func (s *Slots) OnDone(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.order.n == s.mu.results.len() {
		fn()
		return
	}
	s.mu.onDone = append(s.mu.onDone, fn)
}

// failWhere completes all pending slots that match with an error.
func (s *Slots) failWhere(match func(slot int) bool, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.mu.results.len() {
		if slot := uint32(i); s.mu.results.pending(slot) && match(i) {
			err := &CallError{Actor: s.Actor(i), Kind: s.targets.kind.name, Method: s.method.name, Err: reason}
			s.completeLocked(slot, s.mu.results.enter(outcome{state: failed, err: err}))
		}
	}
	s.progressLocked()
}

// lose is failWhere for slots whose node is gone.
func (s *Slots) lose(match func(slot int) bool, reason error) {
	s.failWhere(match, reason)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.mu.results.len() {
		if s.mu.results.code(uint32(i)) == codeUnacked && match(i) {
			s.acknowledgeLocked(uint32(i))
		}
	}
}

// pending returns how many slots have no answer.
func (s *Slots) pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.results.len() - s.mu.order.n
}

// complete reports whether slot i has its answer.
func (s *Slots) complete(i int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.mu.results.pending(uint32(i))
}

// Completed returns the slot that was completed as the k-th, counted from 0, if that many are complete.
func (s *Slots) Completed(k int) (slot int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k >= s.mu.order.n {
		return 0, false
	}
	return int(s.mu.order.at(k)), true
}

// Err returns the error of slot i, or nil if it is pending or succeeded.
func (s *Slots) Err(i int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.results.of(uint32(i)).err
}

// object returns the identity of the object that is the answer of slot i, if it is one.
func (s *Slots) object(i int) (id []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.mu.results.of(uint32(i))
	return o.data, o.state == succeededObject
}

// value returns the encoded answer of slot i. Use it between the slot's completion and release of the
// returned object, which may be nil.
func (s *Slots) value(ctx context.Context, i int) (codec.Value, *arrowstore.Object, error) {
	s.mu.Lock()
	o := s.mu.results.of(uint32(i))
	s.mu.Unlock()
	switch o.state {
	case failed:
		return codec.Value{}, nil, o.err
	case succeeded:
		if len(o.data) == 0 {
			return codec.Value{}, nil, nil
		}
		v, err := codec.ParseValue(o.data, len(o.data))
		if err != nil {
			return codec.Value{}, nil, fmt.Errorf("%w: result of %v: %w", ErrDecode, s.method, err)
		}
		return v, nil, nil
	case succeededObject:
		node, ok := s.remote.where(uint32(i))
		if !ok {
			return codec.Value{}, nil, fmt.Errorf("%w: result of %v was released", ErrObjectLost, s.method)
		}
		id, err := arrowstore.ParseID(o.data)
		if err != nil {
			return codec.Value{}, nil, fmt.Errorf("%w: result of %v: %w", ErrDecode, s.method, err)
		}
		v, obj, err := s.sys.openAt(ctx, id, node)
		if err != nil {
			return codec.Value{}, nil, fmt.Errorf("result of %v on actor %v: %w", s.method, s.Actor(i), err)
		}
		return v, obj, nil
	default:
		return codec.Value{}, nil, fmt.Errorf("%w: slot %d is pending", ErrInvalid, i)
	}
}

// Cancel gives up all pending slots: they fail with the cause at once, and the nodes drop the calls that wait and cancel
// the contexts of those that run.
func (s *Slots) Cancel(cause error) {
	nodes := s.pendingNodes()
	s.failWhere(func(int) bool { return true }, cause)
	s.sys.sendCancels(s.seq, s.firstHops(nodes))
	s.mu.Lock()
	heirs := s.mu.heirs
	s.mu.heirs = nil
	s.mu.Unlock()
	for _, heir := range heirs {
		heir.Cancel(cause)
	}
}

func (s *Slots) pendingNodes() []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var nodes []uint32
	for i := range s.targets.shares {
		share := &s.targets.shares[i]
		if slices.ContainsFunc(share.slots, s.mu.results.pending) {
			nodes = append(nodes, share.node)
		}
	}
	return nodes
}

// Release gives back the room that large answers take in the object store, without waiting for the collector. Values that
// were handed out stay valid: they are copies. Asking for a large answer afterwards fails with ErrObjectLost.
func (s *Slots) Release() {
	s.remote.releaseAll()
}

// SlotStats says what a submission cost.
type SlotStats struct {
	Submit   time.Duration // until everything was handed to the links
	Complete time.Duration // until the last answer; 0 while answers are missing
	Messages int           // call messages sent: one per node, or one per relay for all behind it
	Relays   int           // of them, those to relays
	Bytes    int64         // bytes of call messages, and of the argument if it was put into the object store
}

// Stats returns what the submission has cost so far.
func (s *Slots) Stats() SlotStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SlotStats{Submit: s.mu.submitted, Complete: s.mu.ended, Messages: s.mu.messages, Relays: s.mu.relays, Bytes: s.mu.bytes}
}
