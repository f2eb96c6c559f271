// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/tutti-go/tutti/core"
)

// errStopped is why calls are given up whose Map is not iterated any more. Nobody sees it.
var errStopped = errors.New("the iteration was stopped")

// Indexed is a result with the position of its input, counted from 0.
type Indexed[T any] struct {
	Index int
	Value T
}

// Map calls method m for every value of seq and yields the results in the same order, one pair for each value that was taken
// from seq: its result or its error, which does not end the map.
//
// The work is done when the returned iterator is ranged over, and again each time it is. Values are taken from seq in the
// goroutine that iterates, as many ahead as Queue and InFlight allow, so that seq may be endless: memory is
// bounded, and when results are not taken, seq is not asked for more. Results that are ready go before the next value is
// taken, but while seq itself blocks nothing is yielded; for a source that blocks for long use Submit.
//
// Leaving the loop gives up what is in flight. So does the end of ctx: values that were taken yield their result or the context's
// error, and the map ends early, the last pair being an error. The same happens when the pool or the system is closed. If the last actor
// is gone, every value yields core.ErrNoActors. The other errors are those of Submit.
func Map[A, In, Out any](
	ctx context.Context, p *Pool[A], m func(A, context.Context, In) (Out, error), seq iter.Seq[In], opts ...CallOption,
) iter.Seq2[Out, error] {
	return func(yield func(Out, error) bool) {
		if p == nil || seq == nil {
			var zero Out
			yield(zero, fmt.Errorf("pool: %w: nil Pool or sequence", core.ErrInvalid))
			return
		}
		st := newStream(ctx, p.sched)
		defer st.end()
		run(ctx, p, st, m, seq, opts, func(wait bool) bool {
			for n := st.held.front; n != nil && (wait || n.value.settled.Load()); n = st.held.front {
				st.held.popFront()
				st.count--
				if !yield(get[Out](ctx, n.value)) {
					return false
				}
				wait = false
			}
			return true
		})
	}
}

// MapUnordered is Map with the results in the order in which they become ready, each with the position of its input.
func MapUnordered[A, In, Out any](
	ctx context.Context, p *Pool[A], m func(A, context.Context, In) (Out, error), seq iter.Seq[In], opts ...CallOption,
) iter.Seq2[Indexed[Out], error] {
	return func(yield func(Indexed[Out], error) bool) {
		if p == nil || seq == nil {
			yield(Indexed[Out]{Index: -1}, fmt.Errorf("pool: %w: nil Pool or sequence", core.ErrInvalid))
			return
		}
		st := newStream(ctx, p.sched)
		defer st.end()
		st.finished = st.add
		run(ctx, p, st, m, seq, opts, func(wait bool) bool {
			for _, it := range st.take(wait) {
				it.held.leave()
				st.count--
				v, err := get[Out](ctx, it)
				if !yield(Indexed[Out]{it.index, v}, err) {
					return false
				}
			}
			return true
		})
	}
}

// run takes values from seq and calls deliver after each, which yields results that are ready, and waits for at least one if it
// is told to; it returns false if the iteration is to stop.
func run[A, In, Out any](
	ctx context.Context, p *Pool[A], st *stream, m func(A, context.Context, In) (Out, error), seq iter.Seq[In],
	opts []CallOption, deliver func(wait bool) bool,
) {
	for in := range seq {
		it := st.item()
		err := prepare(ctx, p, it, opts, func() (*core.Prepared, error) { return core.Prepare(p.proto, m, in) })
		if err == nil {
			_, err = st.sched.enqueue(it, nil)
		}
		if !deliver(st.count >= int(st.sched.window.Load())) {
			return
		}
		if err != nil && (ctx.Err() != nil || errors.Is(err, ErrClosed) || errors.Is(err, core.ErrClosed)) {
			break
		}
	}
	for st.count > 0 {
		if !deliver(true) {
			return
		}
	}
}

// get waits for an item's result and frees what it takes in the object store.
func get[Out any](ctx context.Context, it *item) (Out, error) {
	ref := core.RefOf[Out](&it.promise)
	defer ref.Release()
	return ref.Get(ctx)
}

// stream is one run of a Map. All but ready belongs to the goroutine that iterates.
type stream struct {
	sched   *scheduler
	src     *source
	unwatch func() bool
	next    int         // index of the next input
	count   int         // inputs that were taken and whose results were not yielded
	held    list[*item] // those, in order

	finished func(*item) // of the items; nil if only the order counts

	ready struct {
		sync.Mutex
		items []*item
		wake  chan struct{} // holds a token while there are some
	}
}

func newStream(ctx context.Context, s *scheduler) *stream {
	st := &stream{sched: s, src: newSource(0), unwatch: func() bool { return true }}
	st.ready.wake = make(chan struct{}, 1)
	s.open(st.src)
	if ctx.Done() != nil {
		st.unwatch = context.AfterFunc(ctx, func() { s.abandon(st.src, gaveUp(ctx)) })
	}
	return st
}

// end gives up what is left and forgets the source.
func (st *stream) end() {
	st.unwatch()
	st.sched.forget(st.src, errStopped)
}

// item makes the item for the next input.
func (st *stream) item() *item {
	it := newItem(st.src)
	it.index = st.next
	it.finished = st.finished
	st.next++
	st.count++
	st.held.pushBack(&it.held)
	return it
}

// add takes in an item that is settled.
func (st *stream) add(it *item) {
	st.ready.Lock()
	st.ready.items = append(st.ready.items, it)
	st.ready.Unlock()
	signal(st.ready.wake)
}

// take returns the items that were settled since it was last called. If there are none and it is told to wait, it waits
// for the first, which cannot be for ever: every item is settled when the context ends, if not before.
func (st *stream) take(wait bool) []*item {
	for {
		st.ready.Lock()
		items := st.ready.items
		st.ready.items = nil
		st.ready.Unlock()
		if len(items) > 0 || !wait {
			return items
		}
		<-st.ready.wake
	}
}
