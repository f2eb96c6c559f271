// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/tutti-go/tutti/collective/schedule"
)

// line lets one after the other in, in the order in which they came.
type line struct {
	mu struct {
		sync.Mutex

		busy  bool
		queue []chan struct{}
	}
}

// enter takes the turn if nobody has it, and reports whether it did.
func (l *line) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.busy {
		return false
	}
	l.mu.busy = true
	return true
}

// join returns a channel that closes when the caller's turn has come.
func (l *line) join() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	turn := make(chan struct{})
	if l.mu.busy {
		l.mu.queue = append(l.mu.queue, turn)
	} else {
		l.mu.busy = true
		close(turn)
	}
	return turn
}

// leave ends the turn of who has it.
func (l *line) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaveLocked()
}

func (l *line) leaveLocked() {
	if len(l.mu.queue) == 0 {
		l.mu.busy = false
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
	if s, ok := ctx.Value(slotKey{}).(*slot); ok && s.m == m {
		return &s.line
	}
	return &m.line
}

// Work is a function that Async runs.
type Work struct {
	done chan struct{}
	err  error // valid when done is closed
}

// Done is closed when the function has returned.
func (w *Work) Done() <-chan struct{} { return w.done }

// Wait waits for the function and returns its error; or the context's, if ctx ends first, which does not end the function.
func (w *Work) Wait(ctx context.Context) error {
	select {
	case <-w.done:
		return w.err
	default:
	}
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return fmt.Errorf("collective: wait: %w", stopped(ctx))
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
// epoch and is its error. Somebody should wait for it before the actor's call returns, whose end ends ctx.
func (g *Group) Async(ctx context.Context, run func(ctx context.Context) error) *Work {
	w := &Work{done: make(chan struct{})}
	if err := g.checkMember(ctx, named("Async")); err != nil {
		w.err = err
		close(w.done)
		return w
	}
	l := g.m.lineFor(ctx)
	turn := l.join()
	s := &slot{m: g.m}
	go func() {
		select {
		case <-turn:
			defer l.leave() // when it is done for all to see
		case <-ctx.Done(): // its operations find that out, and tell the others
			l.quit(turn)
		}
		defer close(w.done)
		defer func() {
			if p := recover(); p != nil {
				text := fmt.Sprintf("rank %d: a function given to Async panicked: %v", g.m.rank, p)
				g.s.abort(&ending{failed: []int{g.m.rank}, text: text})
				w.err = fmt.Errorf("collective: %s\n%s", text, debug.Stack())
			}
		}()
		w.err = run(context.WithValue(ctx, slotKey{}, s))
	}()
	return w
}

// Prepared is an operation whose arguments are checked, and whose way through the group is known and open. It is for loops that call
// the same operation with the same buffer again and again.
type Prepared struct {
	g    *Group
	call invocation
}

// Run carries the operation out once. All members must call it as if they called the operation itself; some may do that.
func (p *Prepared) Run(ctx context.Context) error {
	return p.g.allReduce(ctx, p.call)
}

// Start does the same in the background, as Async does.
func (p *Prepared) Start(ctx context.Context) *Work { return p.g.Async(ctx, p.Run) }

// PrepareAllReduce prepares AllReduce(ctx, g, buf, op). It sends nothing to the members, which need not prepare alike, but opens the
// connections that the operation takes. buf is the operation's from each Run or Start to its end, and the caller's in between.
// Errors: ErrNotMember, ErrArgument, *Error, and those of a node that cannot be reached.
func PrepareAllReduce[T Element](ctx context.Context, g *Group, buf []T, op Reduction) (*Prepared, error) {
	c, err := allReduceOf(buf, op)
	if err != nil {
		return nil, err
	}
	if err := g.admit(ctx, c.descriptor); err != nil {
		return nil, err
	}
	if g.s.medium != nil { // there is nothing to open
		return &Prepared{g, c}, nil
	}
	return &Prepared{g, c}, g.open(ctx, g.plan(g.choose(schedule.AllReduce, len(bytesOf(buf))), 0))
}

// open connects the caller's node to those of the members that it sends to in a plan.
func (g *Group) open(ctx context.Context, p plan) error {
	for _, st := range p.Steps() {
		if st.Send.Peer == schedule.None {
			continue
		}
		if err := g.s.hub.mesh.Connect(ctx, g.s.nodeOf(st.Send.Peer)); err != nil {
			return fmt.Errorf("collective: group %q: %w", g.Name(), err)
		}
	}
	return nil
}
