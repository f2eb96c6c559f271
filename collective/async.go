// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
)

// line lets one after the other in, in the order in which they came. Who finds nobody takes the lock neither to come nor to go.
type line struct {
	state atomic.Int32

	mu struct {
		sync.Mutex

		queue []chan struct{}
	}
}

// The states of a line. It becomes crowded, and is that no more, under the lock only.
const (
	lineFree    = iota
	lineBusy    // somebody has the turn
	lineCrowded // and others wait, or did
)

// join returns a channel that closes when the caller's turn has come, or nil if it has come already.
func (l *line) join() chan struct{} {
	if l.state.CompareAndSwap(lineFree, lineBusy) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.state.CompareAndSwap(lineBusy, lineCrowded) && l.state.Load() != lineCrowded {
		if l.state.CompareAndSwap(lineFree, lineBusy) {
			return nil
		}
	}
	turn := make(chan struct{})
	l.mu.queue = append(l.mu.queue, turn)
	return turn
}

// await waits for a turn that join returned. It returns false if ctx ends before: then there is no turn to leave.
func (l *line) await(ctx context.Context, turn chan struct{}) bool {
	if turn == nil {
		return true
	}
	select {
	case <-turn:
		return true
	case <-ctx.Done():
		l.quit(turn)
		return false
	}
}

// leave ends the turn of who has it.
func (l *line) leave() {
	if l.state.CompareAndSwap(lineBusy, lineFree) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaveLocked()
}

func (l *line) leaveLocked() {
	if len(l.mu.queue) == 0 {
		l.state.Store(lineFree)
		return
	}
	close(l.mu.queue[0])
	l.mu.queue = l.mu.queue[1:]
}

// quit is for one that does not want its turn any more, which may have come meanwhile.
func (l *line) quit(turn chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.mu.queue, turn); i >= 0 {
		l.mu.queue = slices.Delete(l.mu.queue, i, i+1)
		return
	}
	l.leaveLocked()
}

// slot is the turn of a function given to Async: operations under its context wait for each other, but not for the line outside.
type slot struct {
	m *member
	line
}

type slotKey struct{}

// lineFor returns where an operation under ctx stands in line.
func (m *member) lineFor(ctx context.Context) *line {
	if !m.slotted.Load() { // it is far to the end of a context
		return &m.line
	}
	if s, ok := ctx.Value(slotKey{}).(*slot); ok && s.m == m {
		return &s.line
	}
	return &m.line
}

// Work is what runs in the background: a function that Async was given, or what Prepared.Start has started.
type Work struct {
	token chan struct{} // full when it is over, but for the moment in which somebody looks

	mu struct {
		sync.Mutex

		runs int // that were begun after the first
		over bool
		err  error         // valid when it is over
		done chan struct{} // nil until somebody asked for it
	}
}

func newWork() *Work { return &Work{token: make(chan struct{}, 1)} }

// again begins a further run of work that is over, without an error.
func (w *Work) again() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.runs++
	w.mu.over, w.mu.done = false, nil
	select {
	case <-w.token:
	default: // one that waited has it, and puts it back
	}
}

func (w *Work) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endLocked(err)
}

func (w *Work) endLocked(err error) {
	w.mu.over, w.mu.err = true, err
	if w.mu.done != nil {
		close(w.mu.done)
	}
	w.wake()
}

// wake wakes one of those that wait, which wakes the next.
func (w *Work) wake() {
	select {
	case w.token <- struct{}{}:
	default: // there is a token already
	}
}

// Done is closed when the work is over.
func (w *Work) Done() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.done == nil {
		w.mu.done = make(chan struct{})
		if w.mu.over {
			close(w.mu.done)
		}
	}
	return w.mu.done
}

// Wait waits for the work and returns its error; or the context's, if ctx ends first, which does not end the work.
func (w *Work) Wait(ctx context.Context) error {
	w.mu.Lock()
	run := w.mu.runs
	w.mu.Unlock()
	for {
		w.mu.Lock()
		over, err := w.mu.over, w.mu.err
		if w.mu.runs != run { // nothing is started again after an error
			over, err = true, nil
		}
		w.mu.Unlock()
		if over {
			w.wake()
			return err
		}
		select {
		case <-w.token:
		case <-ctx.Done():
			return fmt.Errorf("collective: wait: %w", stopped(ctx))
		}
	}
}

// Async runs a function that calls operations on the group, while the caller goes on:
//
//	w := g.Async(ctx, func(ctx context.Context) error { return collective.AllReduce(ctx, g, grad, collective.Avg) })
//	... // work that does not touch grad
//	err := w.Wait(ctx)
//
// The place of its operations in the order of the member's is that of the call of Async: those that were called or given to Async before
// come first, those after wait until the function returns. So all members must call Async at the same place, like an operation. The
// function must use the context that it is given; an operation on g with another one waits for the function itself to end. It may
// call any number of operations, and operations on other groups.
//
// Buffers are the operations' until Done. The function ends with ctx and with the epoch, like any operation; a panic in it ends the
// epoch and is its error, and so does a fault at an address, such as a write to a view. Somebody should wait for it before the actor's call returns, whose end ends ctx.
func (g *Group) Async(ctx context.Context, run func(ctx context.Context) error) *Work {
	w := newWork()
	if err := g.checkMember(ctx, named("Async")); err != nil {
		w.end(err)
		return w
	}
	l := g.m.lineFor(ctx)
	turn := l.join()
	s := &slot{m: g.m}
	g.m.slotted.Store(true)
	go func() {
		debug.SetPanicOnFault(true)
		if l.await(ctx, turn) { // else its operations find that out, and tell the others
			defer l.leave() // when it is done for all to see
		}
		var err error
		defer func() { w.end(err) }()
		defer g.recoverTo(&err, "a function given to Async")
		err = run(context.WithValue(ctx, slotKey{}, s))
	}()
	return w
}

// recoverTo is deferred by what runs in the background. It makes a panic the end of the epoch, and an error.
func (g *Group) recoverTo(err *error, what string) {
	if p := recover(); p != nil {
		end := panicked(g.m.rank, unreturned(named(what), p))
		g.s.abort(end)
		*err = fmt.Errorf("collective: %w\n%s", end, debug.Stack())
	}
}
