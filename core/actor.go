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
	"github.com/tutti-go/tutti/internal/scope"
)

const (
	defaultMailbox = 1024
	maxMailbox     = 1 << 20
	maxConcurrency = 1 << 16
)

// errGoexit is the error of a method or a constructor that never returned.
var errGoexit = errors.New("it ended its goroutine with runtime.Goexit")

// actor is a live actor on its node. Its goroutines exist only while it has calls, so that an idle actor costs
// no stack.
type actor struct {
	node *node
	id   ActorID
	kind *kind
	impl any

	scope  *scope.Scope
	ctx    context.Context //nolint:containedctx // ends with the actor; parent of its calls' contexts
	cancel context.CancelCauseFunc

	mailbox     int // calls that may wait
	concurrency int // calls that may run at once

	mu struct {
		sync.Mutex
		queue   []item
		head    int // first waiting item of queue
		running int // goroutines that serve
		dead    bool
	}
}

// item is a call in a mailbox: one slot of an inbound batch.
type item struct {
	call  *inbound
	slot  uint32
	param *param
}

// push puts a call into the mailbox. The call runs after those that are there.
func (a *actor) push(it item) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.dead {
		return ErrActorDead
	}
	if a.mu.running < a.concurrency {
		// Nothing waits then: a goroutine that serves goes only when the mailbox is empty. A call that can run at once
		// never takes room in the mailbox.
		a.mu.running++
		a.node.wg.Go(func() { a.serve(it) })
		return nil
	}
	if len(a.mu.queue)-a.mu.head >= a.mailbox {
		return fmt.Errorf("%w: %d calls wait at actor %v", ErrMailboxFull, a.mailbox, a.id)
	}
	a.mu.queue = append(a.mu.queue, it)
	return nil
}

func (a *actor) pop() (item, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.head == len(a.mu.queue) {
		a.mu.queue, a.mu.head = a.mu.queue[:0], 0
		a.mu.running--
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

// serve runs a call, and then what waits until the mailbox is empty.
func (a *actor) serve(it item) {
	// A fault at an address, such as a write to a read-only mapping, panics instead of ending the process.
	debug.SetPanicOnFault(true)
	running := true
	defer func() {
		if running {
			a.abandoned(it)
		}
	}()
	for ok := true; ok; it, ok = a.pop() {
		v, err := a.run(it.call, it.param)
		it.call.finish(it.slot, v, err)
	}
	running = false
}

// abandoned answers a call whose method ended its goroutine with runtime.Goexit, as testing.T.FailNow does. Another
// goroutine serves what waits.
func (a *actor) abandoned(it item) {
	it.call.finish(it.slot, codec.Value{}, &methodError{errGoexit})
	if next, ok := a.pop(); ok {
		a.node.wg.Go(func() { a.serve(next) })
	}
}

// run runs one call. A panic becomes an error with the stack, a write to a shared argument ErrReadOnly.
func (a *actor) run(c *inbound, p *param) (v codec.Value, err error) {
	if err := context.Cause(c.ctx); err != nil {
		return codec.Value{}, err // cancelled while it waited
	}
	if err := context.Cause(a.ctx); err != nil {
		return codec.Value{}, err // killed while it waited
	}
	ctx := &callContext{Context: c.ctx, actor: a}
	defer ctx.end()
	defer func() {
		if r := recover(); r != nil {
			err = a.recovered(p, r)
		}
	}()
	v, err = c.method.run(ctx, a.node.codec, a.impl, p.value, p.mode)
	if err != nil && errors.Is(err, context.Canceled) && a.ctx.Err() != nil {
		err = context.Cause(a.ctx) // it gave up because it was killed
	}
	return v, err
}

func (a *actor) recovered(p *param, r any) error {
	if fault, ok := r.(interface{ Addr() uintptr }); ok {
		if _, ok := r.(runtime.Error); ok && a.node.store.ReadOnlyFault(fault.Addr()) {
			return fmt.Errorf("%w: the method wrote to an argument of %d bytes that it shares with others; copy it first",
				ErrReadOnly, p.value.Size())
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
	waiting := append([]item(nil), a.mu.queue[a.mu.head:]...)
	a.mu.queue, a.mu.head = nil, 0
	a.mu.Unlock()
	a.cancel(reason)
	a.scope.End()
	for _, it := range waiting {
		it.call.finish(it.slot, codec.Value{}, reason)
	}
}
