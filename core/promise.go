// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

// Promise is the outcome of a call whose actor is chosen later, by a scheduler such as a pool. Its Ref can be
// handed out at once. The zero Promise is pending; it must not be copied. It is settled once, by Resolve or Fail;
// whatever settles it later has no effect.
type Promise struct {
	mu struct {
		sync.Mutex
		settled  bool
		released bool // before it was settled
		waiters  []*waiter
	}
	// Written once, before settled is set.
	slots *Slots
	index int
	err   error
}

// RefOf returns a Ref that stands for the outcome of p. T must be the result type of the method, as for RefAt.
func RefOf[T any](p *Promise) *Ref[T] { return &Ref[T]{promise: p} }

// Resolve settles the promise with the outcome of slot i of a submission, which need not be complete yet. It reports false
// if the promise was settled before.
func (p *Promise) Resolve(s *Slots, i int) bool { return p.settle(s, i, nil) }

// Fail settles the promise with an error, which must not be nil. It reports false if the promise was settled before.
func (p *Promise) Fail(err error) bool { return p.settle(nil, 0, err) }

func (p *Promise) settle(s *Slots, i int, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.settled {
		return false
	}
	p.slots, p.index, p.err = s, i, err
	p.mu.settled = true
	for _, w := range p.mu.waiters {
		if s == nil || !s.subscribe(i, w) {
			w.completed()
		}
	}
	p.mu.waiters = nil
	if p.mu.released && s != nil {
		s.ReleaseSlot(i)
	}
	return true
}

func (p *Promise) complete() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.settled && (p.slots == nil || p.slots.complete(p.index))
}

// subscribe makes w count the completion of the promised slot, and reports false if that has happened already.
func (p *Promise) subscribe(w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.settled {
		return p.slots != nil && p.slots.subscribe(p.index, w)
	}
	p.mu.waiters = append(p.mu.waiters, w)
	return true
}

func (p *Promise) unsubscribe(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.waiters = slices.DeleteFunc(p.mu.waiters, func(x *waiter) bool { return x == w })
	if p.slots != nil {
		p.slots.unsubscribe(p.index, w)
	}
}

// wait blocks until the promised slot is complete.
func (p *Promise) wait(ctx context.Context) error {
	if p.complete() {
		return nil
	}
	w := newWaiter(1)
	if !p.subscribe(w) {
		return nil
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		p.unsubscribe(w)
		return fmt.Errorf("wait for a call: %w", ended(ctx))
	}
}

// release is Release of a Ref: of the slot that the promise was resolved with, or will be.
func (p *Promise) release() {
	p.mu.Lock()
	s := p.slots
	p.mu.released = true
	p.mu.Unlock()
	if s != nil {
		s.ReleaseSlot(p.index)
	}
}

// Prepared is a call that was checked and encoded, and is ready to be sent to actors that are chosen later. It is safe for
// concurrent use.
type Prepared struct {
	sys    *System
	kind   *kind
	method *method
	arg    argument
	holds  atomic.Int64 // the Prepared itself and its submissions
}

// Prepare does the part of Submit that does not depend on which of the actors are called: it looks up the method, encodes the argument, and puts
// a large one into the object store, where it stays until Release and the answers of whatever was started. in may be
// changed as soon as Prepare returns. Errors: those of Submit that come with nil Slots.
func Prepare[A, In, Out any](t *Targets, f func(A, context.Context, In) (Out, error), in In) (*Prepared, error) {
	m, err := lookup(t.kind, f)
	if err != nil {
		return nil, err
	}
	v, err := encode(t.sys.codec, in)
	if err != nil {
		return nil, fmt.Errorf("argument of %v: %w", m, err)
	}
	if err := t.sys.err(); err != nil {
		return nil, fmt.Errorf("call %v: %w", m, err)
	}
	c := &Prepared{sys: t.sys, kind: t.kind, method: m}
	if c.arg, err = t.sys.argumentOf(v, 1); err != nil {
		return nil, fmt.Errorf("argument of %v: %w", m, err)
	}
	c.holds.Store(1)
	return c, nil
}

// PrepareRef is Prepare with an object as the argument: the value of ref, passed by reference. If ref is the result of a call that is
// still running, PrepareRef waits for it. Errors: those of SubmitRef that come with nil Slots.
func PrepareRef[A, In, Out any](ctx context.Context, t *Targets, f func(A, context.Context, In) (Out, error), ref *Ref[In]) (*Prepared, error) {
	m, err := lookup(t.kind, f)
	if err != nil {
		return nil, err
	}
	if ref == nil {
		return nil, fmt.Errorf("argument of %v: %w: nil reference", m, ErrInvalid)
	}
	c := &Prepared{sys: t.sys, kind: t.kind, method: m}
	if c.arg, err = ref.argument(ctx, t.sys, 1); err != nil {
		return nil, fmt.Errorf("argument of %v: %w", m, err)
	}
	c.holds.Store(1)
	return c, nil
}

// Host returns the identity of the host whose object store has the argument, as in NodeInfo, or "" if the argument travels in the message.
func (c *Prepared) Host() string {
	if c.arg.payload.Kind != wire.PayloadObject {
		return ""
	}
	return c.sys.hostOf(c.arg.origin)
}

// Start sends the call to all targets, which must be of the kind and system it was prepared for. It may be called any number of times before
// Release. The error comes with nil Slots if nothing was sent; it then matches ErrActorDead or ErrNodeLost if a target is known to be
// gone, else ErrClosed, ErrMixed or a context error. Otherwise it is that of Submit under FailFast.
//
// The end of ctx only ends the wait for a link that is congested. It does not cancel the calls: see Slots.Interrupt and Slots.Cancel. Nor
// does its deadline travel, but the one given, if it is not zero.
func (c *Prepared) Start(ctx context.Context, t *Targets, deadline time.Time) (*Slots, error) {
	if t.sys != c.sys || t.kind != c.kind {
		return nil, fmt.Errorf("call %v: %w: prepared for kind %q of its system", c.method, ErrMixed, c.kind.name)
	}
	err := t.Check()
	if err == nil {
		t, err = t.now(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("call %v: %w", c.method, err)
	}
	arg := argument{payload: c.arg.payload, origin: c.arg.origin}
	if c.arg.release != nil {
		arg.release = c.Retain().Release
	}
	return c.start(ctx, t, arg, deadline)
}

// start submits c with an argument that it takes over.
func (c *Prepared) start(ctx context.Context, t *Targets, arg argument, deadline time.Time) (*Slots, error) {
	s := newSlots(t, c.method)
	s.arg, s.deadline = arg, deadline
	if err := s.admit(ctx); err != nil {
		return nil, fmt.Errorf("call %v: %w", c.method, err)
	}
	messages, sent, err := s.send(ctx)
	s.mu.Lock()
	s.mu.messages, s.mu.bytes, s.mu.submitted = messages, sent, time.Since(s.began)
	s.mu.Unlock()
	return s, err
}

// Retain returns c with one more Release to be called before the argument goes.
func (c *Prepared) Retain() *Prepared {
	c.holds.Add(1)
	return c
}

// Release lets the argument go, when it was called once more often than Retain. Nothing can be started afterwards.
func (c *Prepared) Release() {
	if c.holds.Add(-1) == 0 {
		c.arg.done()
	}
}

// Check returns an error that names the first target which is known to be gone, and matches ErrActorDead or ErrNodeLost; nil if all
// are alive as far as this process knows. When the system is shut down the error is ErrClosed, whatever became of them.
func (t *Targets) Check() error {
	if err := t.sys.err(); err != nil {
		return err // nodes that end during shutdown are not lost
	}
	places, _, _ := t.sys.members.placesOf(t.ids)
	lost := map[uint32]*mesh.LostError{}
	for i, place := range places {
		if i > 0 && places[i-1].Node() == place.Node() {
			continue // asked just now
		}
		if e := t.sys.mesh.IsLost(place.Node()); e != nil {
			lost[place.Node()] = e
		}
	}
	t.sys.members.Lock()
	defer t.sys.members.Unlock()
	for i, id := range t.ids {
		r, e := t.sys.members.residentLocked(id), lost[places[i].Node()]
		switch {
		case r != nil && (e == nil || !r.mortal()):
		case e != nil:
			return fmt.Errorf("%w: %w", ErrNodeLost, e)
		default:
			return fmt.Errorf("%w: actor %v", ErrActorDead, id)
		}
	}
	return nil
}

// Interrupt asks the actors to give up the calls that have not answered: those that wait are dropped, the contexts of those that run are
// cancelled. Unlike Cancel it leaves the slots to the actors' answers, so that their completion still says when an
// actor is free again.
func (s *Slots) Interrupt() { s.sys.sendCancels(s.seq, s.firstHops(s.pendingNodes())) }

// Gone reports whether a call failed because its actor, or the actor's node, is gone for good. An actor's own error is never taken for that, even if
// it tells of another actor that is.
func Gone(err error) bool {
	if _, own := errors.AsType[*ActorError](err); own {
		return false
	}
	return (errors.Is(err, ErrActorDead) || errors.Is(err, ErrNodeLost)) && !errors.Is(err, ErrMadeAnew)
}
