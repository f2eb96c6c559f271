// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"errors"
	"fmt"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
)

// Pool spreads calls over a set of actors of one kind: each call goes to the actor that has the least to do. It is safe for
// concurrent use.
type Pool[A any] struct {
	proto *core.Targets   // to prepare calls with
	first *core.Handle[A] // to compare others with
	sched *scheduler
}

// New makes a pool of actors, which must be of one kind and system, and starts its goroutines: one for each node and two more, which end
// with Close. The actors stay the caller's: the pool does not end them, and others may call them too. Errors: core.ErrNoActors,
// core.ErrMixed, and core.ErrInvalid for a nil or repeated handle or a bad option.
func New[A any](handles []*core.Handle[A], opts ...Option) (*Pool[A], error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	proto, err := core.NewTargets(handles)
	if err != nil {
		return nil, fmt.Errorf("pool: %w", err)
	}
	if o.queue == 0 {
		o.queue = min(o.inFlight*len(handles), maxQueue)
	}
	p := &Pool[A]{proto: proto, first: handles[0], sched: newScheduler(o)}
	if err := p.fill(handles, o); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// fill takes in the first actors.
func (p *Pool[A]) fill(handles []*core.Handle[A], o options) error {
	k, err := p.newKeeper(o)
	if err != nil {
		return err
	}
	if k != nil {
		p.sched.keeper = k
		p.sched.wg.Go(func() { k.run(p.sched) })
	}
	p.sched.wg.Go(func() { p.sched.watchSilence(p.proto.System().Nodes, o.quarantine) })
	if r := o.report; r != nil {
		p.sched.report = r
		p.sched.wg.Go(func() { r.run(p.sched) })
	}
	for _, h := range handles {
		m, err := p.newMember(h)
		if err == nil {
			err = p.sched.push(m)
		}
		if err != nil {
			return fmt.Errorf("pool: %w", err)
		}
	}
	return nil
}

// BatchRemote returns the actors that are in the pool and alive at this moment, in the order in which they came, to be called all at once. What
// happens to the pool later does not change it. The calls do not count as work of the pool: they go to the actors'
// mailboxes like anybody else's. If no actor is left, calls on it fail with core.ErrNoActors. With ReportDead, those that were lost come
// behind the others.
func (p *Pool[A]) BatchRemote(opts ...batch.Option) *batch.Remote[A] {
	members := append(p.sched.refresh(), p.sched.dead()...)
	handles := make([]*core.Handle[A], len(members))
	for i, m := range members {
		handles[i] = handleOf[A](m)
	}
	return batch.New(handles, opts...)
}

// Len returns the number of actors that are in the pool and, as far as this process knows, alive.
func (p *Pool[A]) Len() int { return len(p.sched.refresh()) }

// Close gives up whatever waits or runs, which fails with ErrClosed, and ends the pool's goroutines. Calls that run are asked to stop; Close
// does not wait for them, nor does it end the actors. Calling it again has no effect. Whoever wants the results waits for them first.
func (p *Pool[A]) Close() { p.sched.shut() }

// Submit calls method m of whichever actor is, or becomes, free first. The call is made in the background; the Ref stands for
// its result like that of core.Call. Submit returns at once, unless as many calls wait as Queue allows; it then blocks until there
// is room. in is encoded at once and may be changed afterwards.
//
// The end of ctx ends the wait and gives the call up wherever it is, with the context's error. Other errors, all reported by the Ref:
// those of core.Call, core.ErrNoActors if the last actor is gone, and ErrClosed. A call fails with core.ErrActorDead or core.ErrNodeLost only if its
// actor was lost after the call was sent to it; whether it ran is then unknown.
func Submit[A, In, Out any](ctx context.Context, p *Pool[A], m func(A, context.Context, In) (Out, error), in In, opts ...CallOption) *core.Ref[Out] {
	it := newItem(p.source())
	submit(ctx, p, it, opts, func() (*core.Prepared, error) { return core.Prepare(p.proto, m, in) })
	return core.RefOf[Out](&it.promise)
}

// SubmitRef is Submit with an object as the argument: the value of ref, passed by reference. An actor on the host that has the object goes
// first if one has room, however idle others are; only if none has, the object is brought to another host. If ref is the
// result of a call that is still running, SubmitRef waits for it before it takes a place in the queue. The object is kept until the call has ended,
// even if ref is released before.
func SubmitRef[A, In, Out any](ctx context.Context, p *Pool[A], m func(A, context.Context, In) (Out, error), ref *core.Ref[In], opts ...CallOption) *core.Ref[Out] {
	it := newItem(p.source())
	submit(ctx, p, it, opts, func() (*core.Prepared, error) { return core.PrepareRef(ctx, p.proto, m, ref) })
	return core.RefOf[Out](&it.promise)
}

// source is where the items of Submit and Tasks come from; nil for a nil Pool, which refuses them.
func (p *Pool[A]) source() *source {
	if p == nil {
		return nil
	}
	return p.sched.calls
}

// submit submits an item of no Map. Whatever goes wrong is the item's error.
func submit[A any](ctx context.Context, p *Pool[A], it *item, opts []CallOption, call func() (*core.Prepared, error)) {
	if p == nil {
		it.fail(fmt.Errorf("pool: %w: nil Pool", core.ErrInvalid))
		return
	}
	if prepare(ctx, p, it, opts, call) != nil {
		return
	}
	var stop func() bool
	if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, func() { p.sched.giveUp(gaveUp(ctx), it) })
	}
	if admitted, _ := p.sched.enqueue(it, stop); admitted != nil { // the error is the item's
		<-admitted // closed at the latest when ctx or the pool ends, because the item is given up then
	}
}

// prepare checks a call and makes it. If that fails, so does the item.
func prepare[A any](ctx context.Context, p *Pool[A], it *item, opts []CallOption, call func() (*core.Prepared, error)) error {
	o, err := newCallOptions(opts)
	switch {
	case err != nil:
	case ctx.Err() != nil:
		err = gaveUp(ctx)
	default:
		it.call, err = call()
	}
	if err != nil {
		it.fail(err)
		return err
	}
	it.host = it.call.Host()
	it.idempotent = o.idempotent
	if o.hedged {
		it.race = &race{owner: it, sched: p.sched, after: o.hedge}
	}
	if d, ok := ctx.Deadline(); ok {
		it.deadline = d
	}
	return nil
}

func gaveUp(ctx context.Context) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); !errors.Is(cause, err) {
		return fmt.Errorf("pool: %w: %w", err, cause)
	}
	return fmt.Errorf("pool: %w", context.Cause(ctx))
}
