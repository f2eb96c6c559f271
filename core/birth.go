// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"sync"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/wire"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// birth is the creation of the actors of one request. Until it is over they cannot be called, but they can be killed: a
// caller that gives up a Spawn does not know how far the node has come.
type birth struct {
	first, count uint32          // serial numbers
	ctx          context.Context //nolint:containedctx // of the constructors; ends with the request, the node, or when the actors are killed
	cancel       context.CancelCauseFunc
}

// conceive registers a birth, which the caller ends with adopt.
func (n *node) conceive(ctx context.Context, req *controlpb.Spawn) *birth {
	b := &birth{first: req.GetFirst(), count: req.GetCount()}
	b.ctx, b.cancel = context.WithCancelCause(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.births[b] = struct{}{}
	if n.mu.closed {
		b.cancel(ErrClosed)
	}
	return b
}

// spawn creates actors, all or none.
func (n *node) spawn(ctx context.Context, req *controlpb.Spawn) *controlpb.Reply {
	k, v, obj, err := n.resolveSpawn(ctx, req)
	if err != nil {
		f := faultOf(err)
		return &controlpb.Reply{Fault: f.Append(nil)}
	}
	bp := &blueprint{value: v, obj: obj}
	bp.users.Store(1)
	defer bp.done()
	if req.GetDeaths() > 0 {
		n.makeAnew(k, req, bp)
		return &controlpb.Reply{}
	}
	b := n.conceive(ctx, req)
	defer b.cancel(nil)
	actors := make([]*actor, req.GetCount())
	errs := make([]error, len(actors))
	var wg sync.WaitGroup
	for i := range actors {
		errs[i] = &methodError{errGoexit} // unless construct returns
		wg.Go(func() { actors[i], errs[i] = n.construct(b.ctx, k, req, uint32(i), v, bp) })
	}
	wg.Wait()
	reply := &controlpb.Reply{Failures: failures(errs)}
	err = n.adopt(b, actors, len(reply.GetFailures()) == 0)
	if err == nil && len(reply.GetFailures()) == 0 {
		return reply
	}
	for _, a := range actors {
		if a != nil {
			a.end(ErrActorDead)
		}
	}
	if len(reply.GetFailures()) == 0 {
		f := faultOf(err)
		reply.Fault = f.Append(nil)
	}
	return reply
}

// failureRoom bounds the bytes of the failures in one reply, so that a control message always holds them.
const failureRoom = 1 << 20

// failures lists why actors were not created: all, or as many as there is room for, and one at least.
func failures(errs []error) []*controlpb.Failure {
	var list []*controlpb.Failure
	room := failureRoom
	for i, err := range errs {
		if err == nil {
			continue
		}
		f := faultOf(err)
		b := f.Append(nil)
		if room -= len(b) + 16; room < 0 && len(list) > 0 {
			break
		}
		list = append(list, &controlpb.Failure{Index: uint32(i), Fault: b})
	}
	return list
}

func (n *node) resolveSpawn(ctx context.Context, req *controlpb.Spawn) (*kind, codec.Value, *arrowstore.Object, error) {
	if int(req.GetKind()) >= len(n.table.kinds) {
		return nil, codec.Value{}, nil, fmt.Errorf("%w: number %d in a table of %d", ErrNoKind, req.GetKind(), len(n.table.kinds))
	}
	if req.GetCount() > wire.MaxTargets {
		return nil, codec.Value{}, nil, fmt.Errorf("%w: %d actors at once, the bound is %d", ErrTooLarge, req.GetCount(), wire.MaxTargets)
	}
	v, _, obj, err := n.payload(ctx, wire.Payload{Kind: wire.PayloadKind(req.GetPayloadKind()), Data: req.GetPayload()})
	return n.table.kinds[req.GetKind()], v, obj, err
}

// makeAnew takes actors in whose node was lost, and begins to make them anew. What comes for them meanwhile waits.
func (n *node) makeAnew(k *kind, req *controlpb.Spawn, bp *blueprint) {
	for i := range req.GetCount() {
		a := n.unborn(k, req, i)
		a.mu.deaths = int(req.GetDeaths())
		bp.users.Add(1)
		a.blueprint = bp
		n.mu.Lock()
		n.mu.actors[a.id.Serial()] = a
		n.mu.Unlock()
		if !n.begin(a.revive) {
			n.remove(a, fmt.Errorf("%w: its node shut down", ErrActorDead))
		}
	}
}

// unborn makes an actor that has no life yet.
func (n *node) unborn(k *kind, req *controlpb.Spawn, i uint32) *actor {
	a := &actor{
		node: n, id: newActorID(n.mesh.Self(), req.GetFirst()+i), kind: k,
		mailbox: int(req.GetMailbox()), mailboxWait: req.GetMailboxWait(), concurrency: int(req.GetConcurrency()),
		restarts: int(req.GetRestarts()),
	}
	a.ctx, a.cancel = context.WithCancelCause(n.ctx)
	return a
}

// construct makes an actor, which keeps bp if it may be made anew.
func (n *node) construct(ctx context.Context, k *kind, req *controlpb.Spawn, i uint32, cfg codec.Value, bp *blueprint) (*actor, error) {
	a := n.unborn(k, req, i)
	life, err := a.build(ctx, cfg)
	if err != nil {
		a.cancel(ErrActorDead)
		return nil, err
	}
	if a.restarts > 0 {
		bp.users.Add(1)
		a.blueprint = bp
	}
	a.mu.life = life
	return a, nil
}

// adopt ends a birth and puts its actors into service, if all are there. The error says that they were killed meanwhile or
// that the node is closed.
func (n *node) adopt(b *birth, actors []*actor, all bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.mu.births, b)
	if err := context.Cause(b.ctx); err != nil {
		return err
	}
	if all {
		for _, a := range actors {
			n.mu.actors[a.id.Serial()] = a
		}
	}
	return nil
}
