// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/tutti-go/tutti/internal/codec"
)

const (
	defaultMailbox = 1024
	maxMailbox     = 1 << 20
	maxConcurrency = 1 << 16
)

// errGoexit is the error of a method or a constructor that never returned.
var errGoexit = errors.New("it ended its goroutine with runtime.Goexit")

// actor is a live actor on its node. It has a worker only while it has calls, so that an idle actor costs
// no stack.
type actor struct {
	node *node
	id   ActorID
	kind *kind

	ctx    context.Context //nolint:containedctx // ends with the actor
	cancel context.CancelCauseFunc

	restarts  int        // how often it may be made anew
	blueprint *blueprint // what it is made of then; nil if it is not

	mailbox     int  // calls that may wait
	mailboxWait bool // but for casts, more wait behind them
	concurrency int  // calls that may run at once

	mu struct {
		sync.Mutex
		queue  []item
		head   int            // first waiting item of queue
		active []*callContext // of the calls that run
		life   *incarnation   // nil while it is dead or being made anew
		deaths int
		dead   bool // for good
	}
}

// item is a call in a mailbox: one slot of an inbound batch.
type item struct {
	call  *inbound
	slot  uint32
	param *param
	cause error // why it was given up while it waited; nil if it was not
}

// push puts a call into the mailbox. The call runs after those that are there.
func (a *actor) push(it item) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.dead {
		return ErrActorDead
	}
	if life := a.mu.life; life != nil && life.running < a.concurrency {
		// Nothing waits then: a worker leaves only when the mailbox is empty. A call that can run at once
		// never takes room in the mailbox.
		life.running++
		a.node.workers.run(turn{a, it, a.activateLocked(it, life)})
		return nil
	}
	if len(a.mu.queue)-a.mu.head >= a.mailbox && (it.call.cast || !a.mailboxWait) {
		return fmt.Errorf("%w: %d calls wait at actor %v", ErrMailboxFull, a.mailbox, a.id)
	}
	a.mu.queue = append(a.mu.queue, it)
	return nil
}

// activateLocked makes the context of a call that is about to run.
func (a *actor) activateLocked(it item, life *incarnation) *callContext {
	ctx := &callContext{life: life, slot: it.slot, place: uint32(len(a.mu.active))}
	ctx.mu.call = it.call
	a.mu.active = append(a.mu.active, ctx)
	return ctx
}

func (a *actor) deactivateLocked(ctx *callContext) {
	last := len(a.mu.active) - 1
	moved := a.mu.active[last]
	a.mu.active[ctx.place], moved.place = moved, ctx.place
	a.mu.active[last] = nil
	a.mu.active = a.mu.active[:last]
}

// pop ends a call and takes the next from the mailbox. If there is none, the worker is free.
func (a *actor) pop(ended *callContext) (item, *callContext, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deactivateLocked(ended)
	life := ended.life
	if a.mu.life != life {
		life.running-- // it is over; another serves what waits
		return item{}, nil, false
	}
	it, ok := a.takeLocked()
	if !ok {
		life.running--
		return item{}, nil, false
	}
	return it, a.activateLocked(it, life), true
}

// takeLocked takes the next call from the mailbox.
func (a *actor) takeLocked() (item, bool) {
	if a.mu.head == len(a.mu.queue) {
		a.mu.queue, a.mu.head = a.mu.queue[:0], 0
		return item{}, false
	}
	it := a.mu.queue[a.mu.head]
	a.mu.queue[a.mu.head] = item{}
	a.mu.head++
	if a.mu.head >= 64 && a.mu.head*2 >= len(a.mu.queue) { // never empty for long: reuse the front
		n := copy(a.mu.queue, a.mu.queue[a.mu.head:])
		clear(a.mu.queue[n:])
		a.mu.queue, a.mu.head = a.mu.queue[:n], 0
	}
	return it, true
}

// interrupt gives up one slot of a call that runs: its context is cancelled.
func (a *actor) interrupt(c *inbound, slot uint32, cause error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ctx := range a.mu.active {
		if ctx.interrupt(c.key, slot, cause) {
			return
		}
	}
}

// forgo gives up one slot of a call that waits: it will not run.
func (a *actor) forgo(c *inbound, slot uint32, cause error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := a.mu.head; i < len(a.mu.queue); i++ {
		if it := &a.mu.queue[i]; it.call == c && it.slot == slot {
			it.cause = cause
			return
		}
	}
}

// serve runs a call, and then what waits until the mailbox is empty.
func (a *actor) serve(it item, ctx *callContext) {
	// A fault at an address, such as a write to a read-only mapping, panics instead of ending the process.
	debug.SetPanicOnFault(true)
	running := true
	defer func() {
		if running {
			a.abandoned(it, ctx)
		}
	}()
	for ok := true; ok; it, ctx, ok = a.pop(ctx) {
		v, err := a.run(it, ctx)
		if p, ok := errors.AsType[*panicError](err); ok && a.restarts > 0 {
			a.die(ctx.life, fmt.Sprintf("it panicked in %v: %s", it.call.method, clip(p.Error())))
		}
		if it.call.idempotent && ctx.life.cutOff(err) && a.again(it) {
			continue
		}
		it.call.finish(it.slot, v, err)
	}
	running = false
}

// abandoned answers a call whose method ended its goroutine with runtime.Goexit, as testing.T.FailNow does. Another
// worker serves what waits.
func (a *actor) abandoned(it item, ctx *callContext) {
	if a.restarts > 0 {
		a.die(ctx.life, fmt.Sprintf("%v %v", it.call.method, errGoexit))
	} else {
		ctx.life.scope.Panicked(fmt.Errorf("%v: %w", it.call.method, errGoexit))
	}
	it.call.finish(it.slot, codec.Value{}, &methodError{errGoexit})
	if next, ctx, ok := a.pop(ctx); ok {
		a.node.workers.run(turn{a, next, ctx})
	}
}

// run runs one call. A panic becomes an error with the stack, a write to a shared argument ErrReadOnly.
func (a *actor) run(it item, ctx *callContext) (v codec.Value, err error) {
	defer ctx.end()
	c, p := it.call, it.param
	if it.cause != nil {
		return codec.Value{}, it.cause // given up while it waited
	}
	if err := c.batch.ended(); err != nil {
		return codec.Value{}, err // cancelled while it waited
	}
	if err := causeOf(ctx.life.ctx); err != nil {
		return codec.Value{}, err // killed while it waited
	}
	defer func() {
		if r := recover(); r != nil {
			err = a.recovered(p, r)
			if _, panicked := errors.AsType[*panicError](err); !panicked || a.restarts == 0 { // else it dies of it
				ctx.life.scope.Panicked(fmt.Errorf("%v panicked: %w", c.method, err))
			}
		}
	}()
	in, err := p.await(ctx.life.ctx, c)
	if err != nil {
		return codec.Value{}, err
	}
	v, err = c.method.run(ctx, a.node.codec, ctx.life.impl, in, p.mode)
	if err != nil && errors.Is(err, context.Canceled) && ctx.life.ctx.Err() != nil {
		err = context.Cause(ctx.life.ctx) // it gave up because it was killed
	}
	return v, err
}

func (a *actor) recovered(p *param, r any) error {
	if fault, ok := r.(interface{ Addr() uintptr }); ok {
		if _, ok := r.(runtime.Error); ok && a.node.store.ReadOnlyFault(fault.Addr()) {
			in := p.value
			if p.late != nil {
				in = p.late.value
			}
			return fmt.Errorf("%w: the method wrote to an argument of %d bytes that it shares with others; copy it first",
				ErrReadOnly, in.Size())
		}
	}
	return newPanicError(r)
}

// end kills the actor. Calls that wait fail with ErrActorDead.
func (a *actor) end(reason error) {
	a.mu.Lock()
	if a.mu.dead {
		a.mu.Unlock()
		return
	}
	a.mu.dead = true
	life := a.mu.life
	a.mu.life = nil
	waiting := a.mu.queue[a.mu.head:]
	a.mu.queue, a.mu.head = nil, 0
	a.mu.Unlock()
	a.cancel(reason)
	if life != nil {
		life.end(reason)
	}
	if a.blueprint != nil {
		a.blueprint.done()
	}
	for _, it := range waiting {
		it.call.finish(it.slot, codec.Value{}, reason)
	}
}
