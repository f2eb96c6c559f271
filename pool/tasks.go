// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tutti-go/tutti/core"
)

// ErrNoTasks says that a TaskSet was asked for a result when all were taken.
var ErrNoTasks = errors.New("no task is left")

// TaskSet remembers calls of one method that were submitted through it, and gives out each result once, in order or as they become ready. Several
// may use one pool, and many goroutines one of them. Results that nobody takes are kept until Cancel.
type TaskSet[A, In, Out any] struct {
	pool   *Pool[A]
	method func(A, context.Context, In) (Out, error)
	opts   []CallOption

	mu struct {
		sync.Mutex
		next  int
		held  list[*item] // results that were not taken, in order
		ready []*item     // of those, or not any more, in the order in which they became ready
	}
	wake chan struct{} // holds a token when there may be something to take
}

// Tasks makes an empty TaskSet for a method. The options hold for all its calls.
func Tasks[A, In, Out any](p *Pool[A], m func(A, context.Context, In) (Out, error), opts ...CallOption) *TaskSet[A, In, Out] {
	return &TaskSet[A, In, Out]{pool: p, method: m, opts: opts, wake: make(chan struct{}, 1)}
}

// Submit adds a call, like the function Submit, with its errors left to Next.
func (t *TaskSet[A, In, Out]) Submit(ctx context.Context, in In) {
	it := newItem(t.pool.source())
	it.finished = t.finish
	t.mu.Lock()
	it.index = t.mu.next
	t.mu.next++
	t.mu.held.pushBack(&it.held)
	t.mu.Unlock()
	submit(ctx, t.pool, it, t.opts, func() (*core.Prepared, error) { return core.Prepare(t.pool.proto, t.method, in) })
}

// HasNext reports whether results are there, or will be, that were not taken.
func (t *TaskSet[A, In, Out]) HasNext() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.held.len > 0
}

// Next waits for the result of the earliest call whose result was not taken, and takes it: its value or its error. If ctx ends first, the
// error is the context's and the result can still be taken. With nothing left that nobody else waits for, the error is ErrNoTasks.
func (t *TaskSet[A, In, Out]) Next(ctx context.Context) (Out, error) {
	var zero Out
	t.mu.Lock()
	if t.mu.held.len == 0 {
		t.mu.Unlock()
		return zero, ErrNoTasks
	}
	it := t.mu.held.popFront() // so that nobody else waits for it
	t.mu.Unlock()
	signal(t.wake) // whoever waits for any result sees that there is one less
	ref := core.RefOf[Out](&it.promise)
	if _, _, err := core.Wait(ctx, []*core.Ref[Out]{ref}, 1); err != nil {
		t.putBack(it)
		return zero, fmt.Errorf("pool: next task: %w", err)
	}
	return get[Out](ctx, it)
}

// NextUnordered waits for any result that was not taken and takes it, with the number of the call, counted from 0. It may be mixed with
// Next. If ctx ends first, the error is the context's, the index -1, and no result is lost. With nothing left that nobody
// else waits for, the error is ErrNoTasks, and the index -1.
func (t *TaskSet[A, In, Out]) NextUnordered(ctx context.Context) (Indexed[Out], error) {
	for {
		it, left := t.takeReady()
		if it != nil {
			v, err := get[Out](ctx, it)
			return Indexed[Out]{it.index, v}, err
		}
		if !left {
			return Indexed[Out]{Index: -1}, ErrNoTasks
		}
		select {
		case <-t.wake:
		case <-ctx.Done():
			return Indexed[Out]{Index: -1}, fmt.Errorf("pool: next task: %w", context.Cause(ctx))
		}
	}
}

// Cancel gives up all calls whose results were not taken, and forgets them.
func (t *TaskSet[A, In, Out]) Cancel() {
	t.mu.Lock()
	items := t.mu.held.all()
	for _, it := range items {
		it.held.leave()
	}
	t.mu.ready = nil
	t.mu.Unlock()
	signal(t.wake)
	for _, it := range items {
		if it.src != nil {
			t.pool.sched.giveUp(fmt.Errorf("pool: %w", context.Canceled), it)
		}
		core.RefOf[Out](&it.promise).Release()
	}
}

// takeReady takes a result that is there, and reports whether any were left to wait for.
func (t *TaskSet[A, In, Out]) takeReady() (it *item, left bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	left = t.mu.held.len > 0
	for len(t.mu.ready) > 0 {
		it, t.mu.ready = t.mu.ready[0], t.mu.ready[1:]
		if it.held.in != nil {
			it.held.leave()
			break
		}
		it = nil // Next has it
	}
	if len(t.mu.ready) > 0 || t.mu.held.len == 0 {
		signal(t.wake) // for the next who waits
	}
	return it, left
}

// putBack returns an item that Next did not wait for any longer.
func (t *TaskSet[A, In, Out]) putBack(it *item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	later := t.mu.held.front
	for later != nil && later.value.index < it.index {
		later = later.next
	}
	t.mu.held.insertBefore(&it.held, later)
	if it.settled.Load() {
		t.mu.ready = append(t.mu.ready, it)
	}
	signal(t.wake)
}

// finish takes in an item that is settled.
func (t *TaskSet[A, In, Out]) finish(it *item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if it.held.in != nil {
		t.mu.ready = append(t.mu.ready, it)
		signal(t.wake)
	}
}
