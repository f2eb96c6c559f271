// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/scope"
	"github.com/tutti-go/tutti/internal/wire"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// node hosts actors: it creates them, runs the calls that arrive for them, and sends the answers back.
type node struct {
	mesh  *mesh.Mesh
	store *arrowstore.Store
	codec *codec.Codec
	table *table
	log   *slog.Logger
	scope *scope.Node

	ctx    context.Context // ends with the node; parent of all its actors and calls
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // outboxes and running calls

	mu struct {
		sync.Mutex
		closed   bool
		actors   map[uint32]*actor
		inbound  map[inboundKey]*inbound
		outboxes map[uint32]*outbox
	}
}

// newNode takes the node's side of the mesh into service. The mesh must not have been started.
func newNode(ctx context.Context, m *mesh.Mesh, st *arrowstore.Store, c *codec.Codec, t *table, log *slog.Logger) *node {
	n := &node{mesh: m, store: st, codec: c, table: t, log: log, scope: &scope.Node{Mesh: m}}
	n.ctx, n.cancel = context.WithCancelCause(ctx)
	n.mu.actors = map[uint32]*actor{}
	n.mu.inbound = map[inboundKey]*inbound{}
	n.mu.outboxes = map[uint32]*outbox{}
	m.Handle(wire.KindCall, n.onCall)
	m.Handle(wire.KindCancel, n.onCancel)
	m.Handle(wire.KindRelease, n.onRelease)
	m.OnLost(n.onLost)
	return n
}

// actor returns the actor with a serial number, or nil.
func (n *node) actor(serial uint32) *actor {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.actors[serial]
}

// admit makes a call known, so that its caller can cancel it.
func (n *node) admit(c *inbound) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.inbound[inboundKey{c.caller, c.seq}] = c
}

func (n *node) dismiss(c *inbound) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.mu.inbound, inboundKey{c.caller, c.seq})
}

// outbox returns the outbox for a peer, starting it if need be.
func (n *node) outbox(peer uint32) *outbox {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.mu.outboxes[peer]
	if o == nil {
		o = &outbox{node: n, peer: peer, wake: make(chan struct{}, 1)}
		n.mu.outboxes[peer] = o
		if !n.mu.closed {
			n.wg.Go(o.loop)
		}
	}
	return o
}

func (n *node) onCancel(_ uint32, f wire.Frame) {
	n.mu.Lock()
	c := n.mu.inbound[inboundKey{f.Caller, f.Seq}]
	n.mu.Unlock()
	if c != nil {
		c.cancel(context.Canceled)
	}
}

func (n *node) onRelease(from uint32, f wire.Frame) {
	err := wire.ParseRelease(f.Body, func(b []byte) bool {
		id, err := arrowstore.ParseID(b)
		if err == nil {
			err = n.store.Delete(id)
		}
		if err != nil {
			n.log.Warn("cannot release an object", "peer", from, "err", err)
		}
		return true
	})
	if err != nil {
		n.log.Error("bad release", "peer", from, "err", err)
	}
}

// onLost cancels the calls of a caller that is gone.
func (n *node) onLost(e *mesh.LostError) {
	n.mu.Lock()
	var calls []*inbound
	for _, c := range n.mu.inbound {
		if c.from == e.Node {
			calls = append(calls, c)
		}
	}
	n.mu.Unlock()
	for _, c := range calls {
		c.cancel(fmt.Errorf("caller: %w", e))
	}
}

// spawn creates actors, all or none.
func (n *node) spawn(ctx context.Context, req *controlpb.Spawn) *controlpb.Reply {
	k, v, mode, obj, err := n.resolveSpawn(req)
	if err != nil {
		f := faultOf(err)
		return &controlpb.Reply{Fault: f.Append(nil)}
	}
	if obj != nil {
		defer obj.Release()
	}
	actors := make([]*actor, req.GetCount())
	errs := make([]error, len(actors))
	var wg sync.WaitGroup
	for i := range actors {
		errs[i] = &methodError{errGoexit} // unless construct returns
		wg.Go(func() { actors[i], errs[i] = n.construct(ctx, k, req, uint32(i), v, mode) })
	}
	wg.Wait()
	reply := &controlpb.Reply{Failures: failures(errs)}
	if len(reply.GetFailures()) == 0 && n.adopt(actors) {
		return reply
	}
	for _, a := range actors {
		if a != nil {
			a.end(ErrActorDead)
		}
	}
	if len(reply.GetFailures()) == 0 {
		f := faultOf(ErrClosed)
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

func (n *node) resolveSpawn(req *controlpb.Spawn) (*kind, codec.Value, codec.Mode, *arrowstore.Object, error) {
	if int(req.GetKind()) >= len(n.table.kinds) {
		return nil, codec.Value{}, 0, nil, fmt.Errorf("%w: number %d in a table of %d", ErrNoKind, req.GetKind(), len(n.table.kinds))
	}
	if req.GetCount() > wire.MaxTargets {
		return nil, codec.Value{}, 0, nil, fmt.Errorf("%w: %d actors at once, the bound is %d", ErrTooLarge, req.GetCount(), wire.MaxTargets)
	}
	v, mode, obj, err := n.payload(wire.Payload{Kind: wire.PayloadKind(req.GetPayloadKind()), Data: req.GetPayload()})
	return n.table.kinds[req.GetKind()], v, mode, obj, err
}

// construct runs the kind's constructor. A panic is an error of that actor.
func (n *node) construct(ctx context.Context, k *kind, req *controlpb.Spawn, i uint32, v codec.Value, mode codec.Mode) (a *actor, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = newPanicError(r)
		}
	}()
	a = &actor{
		node: n, id: newActorID(n.mesh.Self(), req.GetFirst()+i), kind: k,
		mailbox: int(req.GetMailbox()), concurrency: int(req.GetConcurrency()),
	}
	a.scope = &scope.Scope{Actor: uint64(a.id), Node: n.scope}
	a.ctx, a.cancel = context.WithCancelCause(n.ctx)
	if a.impl, err = k.construct(scope.With(ctx, a.scope), n.codec, v, codec.Copy); err != nil {
		a.cancel(ErrActorDead)
		return nil, err
	}
	return a, nil
}

// adopt puts actors into service. It reports false if the node is closed.
func (n *node) adopt(actors []*actor) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.closed {
		return false
	}
	for _, a := range actors {
		n.mu.actors[a.id.Serial()] = a
	}
	return true
}

// kill ends actors.
func (n *node) kill(serials []uint32, reason error) {
	n.mu.Lock()
	var actors []*actor
	for _, s := range serials {
		if a := n.mu.actors[s]; a != nil {
			actors = append(actors, a)
			delete(n.mu.actors, s)
		}
	}
	n.mu.Unlock()
	for _, a := range actors {
		a.end(reason)
	}
}

// close ends all actors and waits for their running calls, or for ctx. The mesh must still be open, so that callers
// are answered; it is closed by whoever made it.
func (n *node) close(ctx context.Context) error {
	n.mu.Lock()
	n.mu.closed = true
	serials := make([]uint32, 0, len(n.mu.actors))
	for s := range n.mu.actors {
		serials = append(serials, s)
	}
	n.mu.Unlock()
	n.kill(serials, fmt.Errorf("%w: its node shut down", ErrActorDead))
	n.cancel(ErrClosed)
	done := make(chan struct{})
	go func() {
		n.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("node %d: actors still run: %w", n.mesh.Self(), context.Cause(ctx))
	}
}
