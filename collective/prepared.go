// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"reflect"
	"runtime/debug"
	"sync/atomic"

	"github.com/tutti-go/tutti/collective/schedule"
)

// Prepared is an operation whose arguments are checked, and whose way through the group is known and open. It is for loops that call
// the same operation with the same buffers again and again. Its buffers are the operation's from each Run or Start to its end, and the
// caller's in between. It is of use until the epoch of its group ends.
type Prepared struct {
	g    *Group
	call invocation
	run  func(*Group, context.Context, invocation) error
	busy atomic.Bool // from Run or Start to its end

	// For Start, which writes it while it is not busy.
	work  *Work
	slot  slot
	start func()          // of the goroutine
	outer context.Context //nolint:containedctx // of the last Start, for the next may have the same
	inner context.Context //nolint:containedctx // outer with the slot
	line  *line
	turn  chan struct{}
}

// Run carries the operation out once. All members must call it as if they called the operation itself; some may do that. Errors: those
// of the operation; ErrArgument if a Run or Start of it has not ended, which leaves that as it is.
func (p *Prepared) Run(ctx context.Context) error {
	if err := p.occupy(ctx); err != nil {
		return err
	}
	defer p.busy.Store(false)
	return p.run(p.g, ctx, p.call)
}

// Start does the same in the background, as Async does, and takes its place among the member's operations when it is called. The Work
// is the same for each Start, and stands for the last; a Wait that began before that returns when the Start that it waited for has ended. To
// start costs no memory as long as ctx is the same each time, and nothing that the member began before is still under way. A Start
// that fails at once, as Run does with ErrArgument, or because the epoch is over, returns a Work of its own, which is over.
func (p *Prepared) Start(ctx context.Context) *Work {
	if err := p.occupy(ctx); err != nil {
		w := newWork()
		w.end(err)
		return w
	}
	p.g.m.slotted.Store(true)
	if !same(p.outer, ctx) {
		p.outer, p.inner = ctx, context.WithValue(ctx, slotKey{}, &p.slot)
	}
	p.work.again()
	p.line = p.g.m.lineFor(ctx)
	p.turn = p.line.join()
	go p.start()
	return p.work
}

// same reports whether two contexts are known to be one. Others than pointers and empty values may have parts that cannot be compared.
func same(a, b context.Context) bool {
	if a == nil {
		return false
	}
	t := reflect.TypeOf(a)
	return (t.Kind() == reflect.Pointer || t.Size() == 0 && t.Comparable()) && a == b
}

// occupy begins a run, unless one is under way.
func (p *Prepared) occupy(ctx context.Context) error {
	if err := p.g.admit(ctx, &p.call.descriptor); err != nil {
		return err
	}
	if !p.busy.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: %v, prepared by rank %d of group %q, is started while it runs: wait for its end first",
			ErrArgument, p.call.descriptor, p.g.Rank(), p.g.Name())
	}
	return nil
}

// background is what the goroutine of Start does.
func (p *Prepared) background() {
	debug.SetPanicOnFault(true)
	l := p.line
	var err error
	if l.await(p.inner, p.turn) { // else the operation finds that out, and tells the others
		defer func() { // the next Start finds the line free, the next in line the work over
			l.mu.Lock()
			defer l.mu.Unlock()
			p.end(err)
			l.leaveLocked()
		}()
	} else {
		defer func() { p.end(err) }()
	}
	defer p.g.recoverTo(&err, "a prepared operation")
	err = p.run(p.g, p.inner, p.call)
}

// end ends a run of Start. Another may begin at once, but not its work before that of this one has ended.
func (p *Prepared) end(err error) {
	p.work.mu.Lock()
	defer p.work.mu.Unlock()
	p.busy.Store(false)
	p.work.endLocked(err)
}

// PrepareAllReduce prepares AllReduce(ctx, g, buf, op). It sends nothing to the members, which need not prepare alike, but opens the
// connections that the operation takes, if any; so do all Prepare functions. Errors: ErrNotMember, ErrArgument, *Error, and those of a node
// that cannot be reached.
func PrepareAllReduce[T Element](ctx context.Context, g *Group, buf []T, op Reduction) (*Prepared, error) {
	c, err := allReduceOf(buf, op)
	return prepare(ctx, g, c, err, (*Group).allReduce)
}

// PrepareReduce prepares Reduce(ctx, g, buf, op, root), as [PrepareAllReduce] does.
func PrepareReduce[T Element](ctx context.Context, g *Group, buf []T, op Reduction, root int) (*Prepared, error) {
	c, err := reduceOf(g, buf, op, root)
	return prepare(ctx, g, c, err, (*Group).reduce)
}

// PrepareReduceScatter prepares ReduceScatter(ctx, g, in, out, op), as [PrepareAllReduce] does.
func PrepareReduceScatter[T Element](ctx context.Context, g *Group, in, out []T, op Reduction) (*Prepared, error) {
	c, err := reduceScatterOf(g, in, out, op)
	return prepare(ctx, g, c, err, (*Group).reduceScatter)
}

// PrepareBroadcast prepares Broadcast(ctx, g, buf, root), as [PrepareAllReduce] does.
func PrepareBroadcast[T Element](ctx context.Context, g *Group, buf []T, root int) (*Prepared, error) {
	c, err := broadcastOf(g, buf, root)
	return prepare(ctx, g, c, err, (*Group).broadcast)
}

// PrepareAllGather prepares AllGather(ctx, g, in, out), as [PrepareAllReduce] does.
func PrepareAllGather[T Element](ctx context.Context, g *Group, in, out []T) (*Prepared, error) {
	c, err := allGatherOf(g, in, out)
	return prepare(ctx, g, c, err, (*Group).allGather)
}

// PrepareAllToAll prepares AllToAll(ctx, g, in, out), as [PrepareAllReduce] does.
func PrepareAllToAll[T Element](ctx context.Context, g *Group, in, out []T) (*Prepared, error) {
	c, err := allToAllOf(g, in, out)
	return prepare(ctx, g, c, err, (*Group).allToAll)
}

// PrepareBarrier prepares Barrier(ctx, g), as [PrepareAllReduce] does.
func PrepareBarrier(ctx context.Context, g *Group) (*Prepared, error) {
	return prepare(ctx, g, invocation{descriptor: descriptor{op: opBarrier}}, nil, (*Group).barrier)
}

// prepare makes the prepared form of an operation, unless its arguments were bad.
func prepare(ctx context.Context, g *Group, c invocation, bad error, run func(*Group, context.Context, invocation) error) (*Prepared, error) {
	if bad != nil {
		return nil, bad
	}
	if err := g.admit(ctx, c.descriptor); err != nil {
		return nil, err
	}
	p := &Prepared{g: g, call: c, run: run, work: newWork(), slot: slot{m: g.m}}
	p.start = p.background
	if g.s.heap.takes(c.op) { // without messages
		return p, nil
	}
	if err := g.open(ctx, g.plan(g.choiceOf(c), int(c.root))); err != nil {
		return nil, err
	}
	return p, nil
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
