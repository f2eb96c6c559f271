// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/wire"
)

// param is an argument at the node that received it.
type param struct {
	value codec.Value
	mode  codec.Mode
	late  *late // what is waited for before value is there; nil if it is
}

// late is an argument that is being fetched from another host.
type late struct {
	ready chan struct{} // closed when value or err is there
	value codec.Value
	err   error
}

// await returns the argument when it is there.
func (p *param) await(actor context.Context, c *inbound) (codec.Value, error) {
	if p.late == nil {
		return p.value, nil
	}
	call := c.batch.get()
	select {
	case <-p.late.ready:
		return p.late.value, p.late.err
	case <-call.Done():
		return codec.Value{}, context.Cause(call)
	case <-actor.Done():
		return codec.Value{}, context.Cause(actor)
	}
}

// inbound is a call message at the node that received it: one argument, decoded by each actor it is meant for, or one for
// each actor.
type inbound struct {
	outgoing

	node   *node
	from   uint32 // where the answers go: the caller's node, or the relay that the call came from
	method *method
	runs   []wire.Run
	cast   bool // no answers are wanted
	acked  bool // of a cast: its caller wants to know that it is here
	stored bool // an argument lies in the store

	idempotent bool // it may run again on another incarnation

	param param          // of all slots, unless each is set
	each  []wire.Payload // of one slot each, in the order of the runs
	pins  pins           // on the objects that arguments lie in, until the last answer

	batch batchContext
	left  atomic.Int64 // slots without an answer

	failures atomic.Int64 // of a cast

	home  *message     // that it is a part of
	users atomic.Int32 // accept, and the sender of the last answer; who is the last of them gives home back
	seen  bool         // guarded by the node: somebody has looked it up, and home is not given back
}

// inboundKey identifies a call among all callers.
type inboundKey struct{ caller, seq uint64 }

// onCall takes a call message in. It runs on the link's reader and does not block.
func (n *node) onCall(from uint32, f wire.Frame) {
	m := n.newMessage(from, f.Header)
	var err error
	if m.body, err = wire.ParseCall(f.Body, m.room[:]); err != nil {
		n.log.Error("bad call, closing the link", "peer", from, "err", err)
		n.mesh.Lost(from, err)
		return
	}
	if l := n.lane(f.Caller, f.From); l != nil {
		l.arrive(m)
	}
}

// accept takes a call whose turn it is.
func (n *node) accept(m *message) {
	body, c := m.body, &m.call
	c.node, c.home, c.from, c.runs = n, m, m.from, body.Runs
	c.cast, c.acked, c.idempotent = body.Flags&wire.CallCast != 0, body.Flags&wire.CallAcked != 0, body.Flags&wire.CallIdempotent != 0
	c.users.Store(2)
	c.key, c.origin = inboundKey{m.head.Caller, m.head.Seq}, m.head.From
	total := 0
	for _, r := range body.Runs {
		total += int(r.Count)
	}
	if total == 0 {
		return
	}
	c.left.Store(int64(total))
	c.batch.begin(n.ctx, m.expires)
	n.admit(c)
	if m.cancelled {
		c.batch.end(context.Canceled)
	}
	c.stored = inStore(body.Payload.Kind)
	err := c.prepare(body)
	for i := range c.each {
		c.stored = c.stored || inStore(c.each[i].Kind)
	}
	if err != nil {
		c.eachSlot(func(slot uint32) { c.finish(slot, codec.Value{}, err) })
	} else {
		c.deliverAll()
	}
	c.castTaken()
	c.leave()
}

// leave says that the caller will not touch the call again.
func (c *inbound) leave() {
	if c.users.Add(-1) == 0 {
		c.node.recycle(c.home)
	}
}

// deliverAll puts the call into all mailboxes.
func (c *inbound) deliverAll() {
	next := 0
	for _, r := range c.runs {
		for i := range r.Count {
			p, err := c.paramOf(next)
			next++
			if err != nil {
				c.finish(r.Slot+i, codec.Value{}, fmt.Errorf("argument of %v: %w", c.method, err))
				continue
			}
			c.deliver(r.Actor+i, r.Slot+i, p)
		}
	}
}

// inStore reports whether a payload is an object, on whichever host.
func inStore(k wire.PayloadKind) bool { return k == wire.PayloadObject || k == wire.PayloadRemote }

// prepare resolves the method and the argument.
func (c *inbound) prepare(body wire.Call) error {
	if int(body.Method) >= len(c.node.table.methods) {
		return fmt.Errorf("%w: number %d in a table of %d", ErrNoMethod, body.Method, len(c.node.table.methods))
	}
	c.method = c.node.table.methods[body.Method]
	var err error
	if body.Payload.Kind == wire.PayloadEach {
		c.each, err = wire.ParseEach(body.Payload.Data, int(c.left.Load()))
	} else {
		c.param, err = c.resolve(body.Payload)
	}
	if err != nil {
		return fmt.Errorf("argument of %v: %w", c.method, err)
	}
	return nil
}

// paramOf returns the argument of the i-th slot.
func (c *inbound) paramOf(i int) (*param, error) {
	if c.each == nil {
		return &c.param, nil
	}
	p, err := c.resolve(c.each[i])
	return &p, err
}

func (c *inbound) resolve(p wire.Payload) (param, error) {
	if p.Kind != wire.PayloadRemote {
		v, mode, obj, err := c.node.payload(c.node.ctx, p)
		if obj != nil {
			c.pins.add(obj)
		}
		return param{value: v, mode: mode}, err
	}
	w, err := parseWhereabouts(p.Data)
	if err != nil {
		return param{}, err
	}
	if obj := c.node.transfers.here(w.id); obj != nil {
		c.pins.add(obj)
		v, err := objectValue(obj)
		return param{value: v, mode: codec.View}, err
	}
	l := &late{ready: make(chan struct{})}
	c.users.Add(1) // of fetch, for good
	if !c.node.begin(func() { c.fetch(l, w) }) {
		return param{}, ErrClosed
	}
	return param{mode: codec.View, late: l}, nil
}

// fetch brings an argument from another host.
func (c *inbound) fetch(l *late, w whereabouts) {
	defer close(l.ready)
	obj, err := c.node.transfers.open(c.batch.get(), w)
	if err == nil {
		c.pins.add(obj)
		l.value, err = objectValue(obj)
	}
	if err != nil {
		l.err = fmt.Errorf("argument of %v: %w", c.method, err)
	}
}

// pins are the objects that a call keeps from going away.
type pins struct {
	mu struct {
		sync.Mutex
		released bool
		objects  []*arrowstore.Object
	}
}

func (p *pins) add(obj *arrowstore.Object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.released {
		obj.Release()
		return
	}
	p.mu.objects = append(p.mu.objects, obj)
}

func (p *pins) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.released = true
	for _, obj := range p.mu.objects {
		obj.Release()
	}
	p.mu.objects = nil
}

// payload resolves an argument or a configuration as it came over the wire, waiting for one that is on another host. Inline values are
// decoded into memory of each actor's own; objects are shared and read-only.
func (n *node) payload(ctx context.Context, p wire.Payload) (codec.Value, codec.Mode, *arrowstore.Object, error) {
	switch p.Kind {
	case wire.PayloadInline:
		v, err := codec.ParseValue(p.Data, len(p.Data))
		if err != nil {
			return codec.Value{}, codec.Copy, nil, fmt.Errorf("%w: %w", ErrDecode, err)
		}
		return v, codec.Copy, nil, nil
	case wire.PayloadRemote:
		w, err := parseWhereabouts(p.Data)
		if err != nil {
			return codec.Value{}, codec.View, nil, err
		}
		obj, err := n.transfers.open(ctx, w)
		if err != nil {
			return codec.Value{}, codec.View, nil, err
		}
		v, err := objectValue(obj)
		return v, codec.View, obj, err
	default: // an object of this host
	}
	id, err := arrowstore.ParseID(p.Data)
	if err != nil {
		return codec.Value{}, codec.View, nil, fmt.Errorf("%w: %w", ErrDecode, err)
	}
	v, obj, err := openObject(n.store, id)
	return v, codec.View, obj, err
}

func (c *inbound) eachSlot(fn func(slot uint32)) {
	for _, r := range c.runs {
		for i := range r.Count {
			fn(r.Slot + i)
		}
	}
}

// interrupt gives up the slots of a set, those that wait first: none of them runs because another that ran has ended.
func (c *inbound) interrupt(slots wire.SlotSet, cause error) {
	for _, giveUp := range []func(*actor, *inbound, uint32, error){(*actor).forgo, (*actor).interrupt} {
		for first, count := range slots.Ranges {
			for _, r := range c.runs {
				for slot := max(first, r.Slot); slot < min(first+count, r.Slot+r.Count); slot++ {
					if a := c.node.actor(r.Actor + slot - r.Slot); a != nil {
						giveUp(a, c, slot, cause)
					}
				}
			}
		}
	}
}

// deliver puts the call into one actor's mailbox.
func (c *inbound) deliver(serial, slot uint32, p *param) {
	a := c.node.actor(serial)
	if a == nil {
		c.finish(slot, codec.Value{}, fmt.Errorf("%w: no actor %v", ErrActorDead, newActorID(c.node.mesh.Self(), serial)))
		return
	}
	if c.method.kind != forAll && c.method.owner != a.kind {
		c.finish(slot, codec.Value{}, fmt.Errorf("%w: %v on actor %v of kind %q", ErrNoMethod, c.method, a.id, a.kind.name))
		return
	}
	if err := a.push(item{call: c, slot: slot, param: p}); err != nil {
		c.finish(slot, codec.Value{}, err)
	}
}

// finish records the answer of one slot and lets the outbox know.
func (c *inbound) finish(slot uint32, v codec.Value, err error) {
	var tell, last, boxed bool
	if c.cast {
		last = c.castDone(slot, err)
	} else {
		status, data := c.outcome(v, err)
		c.mu.Lock()
		c.mu.answers.add(slot, status, data)
		tell = !c.mu.dirty
		c.mu.dirty = true
		last = c.left.Add(-1) == 0
		c.mu.last = last
		boxed = c.mu.boxed
		c.mu.boxed = boxed || tell && !last
		c.mu.Unlock()
	}
	if last {
		c.batch.end(nil)
		c.pins.release()
	}
	if !tell {
		return
	}
	o := c.node.outbox(c.from)
	if last && c.from == c.origin && c.node.workers.quiet() && o.direct(&c.outgoing) {
		if c.node.conclude(c) && !boxed {
			c.leave()
		}
		return
	}
	o.put(&c.outgoing)
}

// outcome encodes an answer. A large value goes into the store.
func (c *inbound) outcome(v codec.Value, err error) (wire.Status, []byte) {
	if err == nil && len(v.Meta) == 0 && len(v.Bufs) == 0 {
		return wire.StatusEmpty, nil
	}
	if err == nil && v.Size() > InlineMax {
		var obj *arrowstore.Object
		if obj, err = c.node.transfers.put(v); err == nil {
			obj.Release() // the store keeps it until the caller releases it
			return wire.StatusObject, idBytes(obj.ID())
		}
		err = fmt.Errorf("result of %v: %w", c.method, err)
	}
	if err != nil {
		f := faultOf(err)
		return wire.StatusFault, f.Append(nil)
	}
	return wire.StatusInline, codec.AppendValue(nil, v)
}
