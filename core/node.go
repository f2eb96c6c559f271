// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/scope"
	"github.com/tutti-go/tutti/internal/wire"
)

// node hosts actors: it creates them, runs the calls that arrive for them, and sends the answers back.
type node struct {
	mesh  *mesh.Mesh
	store *arrowstore.Store
	codec *codec.Codec
	table *table
	log   *slog.Logger
	scope *scope.Node

	ctx    context.Context //nolint:containedctx // ends with the node; parent of all its actors and calls
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // outboxes and workers

	workers  workers
	messages sync.Pool // *message: a node that is woken for one call among many has cold caches
	kept     kept

	transfers *transfers
	counters  struct{ casts, castsFailed, restarts atomic.Uint64 }

	mu struct {
		sync.Mutex
		closed   bool
		actors   map[uint32]*actor
		births   map[*birth]struct{}
		inbound  openCalls
		outboxes map[uint32]*outbox
		lanes    map[uint64]*lane // by caller

		lastLane   *lane   // that was asked for last; nil if it may be gone
		lastOutbox *outbox // likewise
		lastActor  *actor  // likewise

		relays     map[inboundKey]*relayed // calls that this node hands on
		forwarders map[uint32]*forwarder   // by peer
		accounts   map[uint32]account      // with those who send answers to be relayed
	}
}

// newNode takes the node's side of the mesh into service. The mesh must not have been started.
func newNode(ctx context.Context, dir string, m *mesh.Mesh, st *arrowstore.Store, host string, c *codec.Codec, t *table, log *slog.Logger) *node {
	n := &node{mesh: m, store: st, codec: c, table: t, log: log, scope: &scope.Node{Mesh: m, Dir: dir, Store: st, Host: host}}
	n.workers.wg = &n.wg
	n.ctx, n.cancel = context.WithCancelCause(ctx)
	n.mu.actors = map[uint32]*actor{}
	n.mu.births = map[*birth]struct{}{}
	n.mu.outboxes = map[uint32]*outbox{}
	n.mu.lanes = map[uint64]*lane{}
	n.mu.relays = map[inboundKey]*relayed{}
	n.mu.forwarders = map[uint32]*forwarder{}
	n.mu.accounts = map[uint32]account{}
	n.transfers = newTransfers(n.ctx, m, st, host, log, n.begin)
	m.Handle(wire.KindCall, n.onCall)
	m.Handle(wire.KindCancel, n.onCancel)
	m.Handle(wire.KindRelease, n.onRelease)
	m.Handle(wire.KindSkip, n.onSkip)
	n.transfers.answered = n.onAnswered
	m.Handle(wire.KindRelay, n.onRelay)
	m.Handle(wire.KindReply, n.onReply)
	m.OnLost(n.onLost)
	onNode(n.ctx, n.scope)
	return n
}

// actor returns the actor with a serial number, or nil.
func (n *node) actor(serial uint32) *actor {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a := n.mu.lastActor; a != nil && a.id.Serial() == serial {
		return a
	}
	a := n.mu.actors[serial]
	n.mu.lastActor = a
	return a
}

// admit makes a call known, so that its caller can cancel it.
func (n *node) admit(c *inbound) {
	if c.from != c.origin {
		n.kept.begin(c.key)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.inbound.add(c)
}

// dismiss forgets a call whose last answer was sent.
func (n *node) dismiss(key inboundKey) {
	n.kept.end(key)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.inbound.remove(key)
}

// conclude is dismiss for a call that was answered to its caller directly, so that nothing of it is kept. It reports whether nobody else has
// looked it up.
func (n *node) conclude(c *inbound) (alone bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.inbound.remove(c.key)
	return !c.seen
}

// outbox returns the outbox for a peer, starting it if need be.
func (n *node) outbox(peer uint32) *outbox {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.mu.lastOutbox
	if o != nil && o.peer == peer {
		return o
	}
	o = n.mu.outboxes[peer]
	if o == nil {
		o = &outbox{node: n, peer: peer, wake: make(chan struct{}, 1), more: make(chan struct{}, 1)}
		n.mu.outboxes[peer] = o
		if !n.mu.closed {
			n.wg.Go(o.loop)
		}
	}
	n.mu.lastOutbox = o
	return o
}

func (n *node) onCancel(from uint32, f wire.Frame) {
	slots, all, err := wire.ParseCancel(f.Body)
	if err != nil {
		n.log.Error("bad cancellation, closing the link", "peer", from, "err", err)
		n.mesh.Lost(from, err)
		return
	}
	n.passCancel(f)
	n.mu.Lock()
	c, _ := n.mu.inbound.find(inboundKey{f.Caller, f.Seq})
	if c != nil {
		c.seen = true
	}
	l := n.mu.lanes[f.Caller]
	n.mu.Unlock()
	switch {
	case c == nil && l == nil:
	case c == nil:
		if all {
			l.cancel(f.Seq)
		}
	case all:
		c.batch.end(context.Canceled)
	default:
		c.interrupt(slots, context.Canceled)
	}
}

func (n *node) onRelease(from uint32, f wire.Frame) {
	err := wire.ParseRelease(f.Body, func(b []byte) bool {
		id, err := arrowstore.ParseID(b)
		if err == nil {
			err = n.store.Delete(id)
			n.transfers.released(id)
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

// onLost cancels the calls of a caller that is gone, and sends around a peer that calls were handed to.
func (n *node) onLost(e *mesh.LostError) {
	n.lostDown(e.Node)
	n.mu.Lock()
	var calls []*inbound
	for c := range n.mu.inbound.all {
		if c.origin == e.Node {
			c.seen = true
			calls = append(calls, c)
		}
	}
	var lanes []*lane
	for caller, l := range n.mu.lanes {
		if l.origin == e.Node {
			lanes = append(lanes, l)
			delete(n.mu.lanes, caller)
			n.mu.lastLane = nil
		}
	}
	n.mu.Unlock()
	for _, l := range lanes {
		l.close()
		n.kept.drop(l.caller)
	}
	for _, c := range calls {
		c.batch.end(fmt.Errorf("caller: %w", e))
	}
}

// kill ends actors, also such as are being created.
func (n *node) kill(serials []uint32, reason error) {
	n.mu.Lock()
	var actors []*actor
	for _, s := range serials {
		if a := n.mu.actors[s]; a != nil {
			actors = append(actors, a)
			delete(n.mu.actors, s)
			n.mu.lastActor = nil
			continue
		}
		for b := range n.mu.births {
			if s-b.first < b.count {
				b.cancel(reason)
			}
		}
	}
	n.mu.Unlock()
	for _, a := range actors {
		a.end(reason)
	}
}

// remove ends an actor that has died for good.
func (n *node) remove(a *actor, reason error) {
	n.mu.Lock()
	if n.mu.actors[a.id.Serial()] == a {
		delete(n.mu.actors, a.id.Serial())
		n.mu.lastActor = nil
	}
	n.mu.Unlock()
	a.end(reason)
}

// begin runs fn on a goroutine that close waits for, and reports false if the node is closed.
func (n *node) begin(fn func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.mu.closed {
		n.wg.Go(fn)
	}
	return !n.mu.closed
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
	for b := range n.mu.births {
		b.cancel(ErrClosed)
	}
	lanes := slices.Collect(maps.Values(n.mu.lanes))
	n.mu.Unlock()
	for _, l := range lanes {
		l.close()
	}
	n.kill(serials, fmt.Errorf("%w: its node shut down", ErrActorDead))
	n.cancel(ErrClosed)
	n.workers.close()
	done := make(chan struct{})
	go func() {
		n.wg.Wait()
		n.transfers.close()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("node %d: actors still run: %w", n.mesh.Self(), ended(ctx))
	}
}
