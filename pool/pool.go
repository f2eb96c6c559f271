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
	proto   *core.Targets // to prepare calls with
	handles map[core.ActorID]*core.Handle[A]
	sched   *scheduler
}

// New makes a pool of actors, which must be of one kind and system, and starts its goroutines: one for each node and one more, which end
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
	p := &Pool[A]{proto: proto, handles: make(map[core.ActorID]*core.Handle[A], len(handles))}
	members := make([]*member, len(handles))
	for i, h := range handles {
		if p.handles[h.ID()] != nil {
			return nil, fmt.Errorf("pool: %w: actor %v is there twice", core.ErrInvalid, h.ID())
		}
		p.handles[h.ID()] = h
		targets, err := core.NewTargets([]*core.Handle[A]{h})
		if err != nil {
			return nil, fmt.Errorf("pool: %w", err)
		}
		members[i] = &member{targets: targets, id: h.ID()}
	}
	p.sched = newScheduler(o, members)
	return p, nil
}

// BatchRemote returns the actors that are in the pool and alive at this moment, in the order given to New, to be called all at once. What
// happens to the pool later does not change it. The calls do not count as work of the pool: they go to the actors'
// mailboxes like anybody else's. If no actor is left, calls on it fail with core.ErrNoActors.
func (p *Pool[A]) BatchRemote(opts ...batch.Option) *batch.Remote[A] {
	members := p.sched.refresh()
	handles := make([]*core.Handle[A], len(members))
	for i, m := range members {
		handles[i] = p.handles[m.id]
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
func Submit[A, In, Out any](ctx context.Context, p *Pool[A], m func(A, context.Context, In) (Out, error), in In) *core.Ref[Out] {
	if p == nil {
		it := newItem(newSource(0))
		it.promise.Fail(fmt.Errorf("pool: %w: nil Pool", core.ErrInvalid))
		return core.RefOf[Out](&it.promise)
	}
	it := newItem(p.sched.calls)
	ref := core.RefOf[Out](&it.promise)
	if prepare(ctx, p, it, m, in) != nil {
		return ref
	}
	var stop func() bool
	if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, func() { p.sched.giveUp(it, gaveUp(ctx)) })
	}
	if admitted, _ := p.sched.enqueue(it, stop); admitted != nil { // the error is the item's
		<-admitted // closed at the latest when ctx or the pool ends, because the item is given up then
	}
	return ref
}

// prepare checks and encodes a call. If that fails, so does the item.
func prepare[A, In, Out any](ctx context.Context, p *Pool[A], it *item, m func(A, context.Context, In) (Out, error), in In) error {
	var err error
	if ctx.Err() != nil {
		err = gaveUp(ctx)
	} else {
		it.call, err = core.Prepare(p.proto, m, in)
	}
	if err != nil {
		it.fail(err)
		return err
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
