// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/wire"
)

// replySize is the size in bytes at which the answers to one call message are divided among several frames. A single
// answer never exceeds InlineMax by much, and a frame carries wire.MaxBody.
const replySize = 1 << 20

// param is an argument at the node that received it.
type param struct {
	value codec.Value
	mode  codec.Mode
}

// inbound is a call message at the node that received it: one argument, decoded by each actor it is meant for, or one for
// each actor.
type inbound struct {
	node   *node
	from   uint32
	caller uint64
	seq    uint64
	method *method

	param  param                // of all slots, unless each is set
	each   []wire.Payload       // of one slot each, in the order of the runs
	pinned []*arrowstore.Object // that arguments lie in, until the last answer; complete before the last slot is delivered

	ctx    context.Context //nolint:containedctx // ends with the deadline, the caller's cancellation, or the node
	cancel context.CancelCauseFunc
	left   atomic.Int64 // slots without an answer

	mu struct {
		sync.Mutex
		out   [][]byte    // answers that were not sent yet, as bodies of about replySize bytes
		run   wire.Result // answers with no value, in consecutive slots, that out does not hold yet
		dirty bool        // the outbox knows of this call
	}
}

// inboundKey identifies a call among all callers.
type inboundKey struct{ caller, seq uint64 }

// onCall takes a call message in. It runs on the link's reader and does not block.
func (n *node) onCall(from uint32, f wire.Frame) {
	body, err := wire.ParseCall(f.Body)
	if err != nil {
		n.log.Error("bad call, closing the link", "peer", from, "err", err)
		n.mesh.Lost(from, err)
		return
	}
	c := &inbound{node: n, from: from, caller: f.Caller, seq: f.Seq}
	total := 0
	for _, r := range body.Runs {
		total += int(r.Count)
	}
	if total == 0 {
		return
	}
	c.left.Store(int64(total))
	base, cancelBase := context.WithCancelCause(n.ctx)
	c.ctx, c.cancel = base, cancelBase
	if f.Deadline > 0 {
		ctx, cancel := context.WithTimeout(base, f.Deadline)
		c.ctx = ctx
		c.cancel = func(cause error) {
			cancelBase(cause)
			cancel()
		}
	}
	if err := c.prepare(body); err != nil {
		c.eachSlot(body.Runs, func(slot uint32) { c.finish(slot, codec.Value{}, err) })
		return
	}
	n.admit(c)
	next := 0
	for _, r := range body.Runs {
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
	v, mode, obj, err := c.node.payload(p)
	if obj != nil {
		c.pinned = append(c.pinned, obj)
	}
	return param{v, mode}, err
}

// payload resolves an argument or a configuration as it came over the wire. Inline values are decoded into memory of each actor's own;
// objects are shared and read-only.
func (n *node) payload(p wire.Payload) (codec.Value, codec.Mode, *arrowstore.Object, error) {
	if p.Kind == wire.PayloadInline {
		v, err := codec.ParseValue(p.Data, len(p.Data))
		if err != nil {
			return codec.Value{}, codec.Copy, nil, fmt.Errorf("%w: %w", ErrDecode, err)
		}
		return v, codec.Copy, nil, nil
	}
	id, err := arrowstore.ParseID(p.Data)
	if err != nil {
		return codec.Value{}, codec.View, nil, fmt.Errorf("%w: %w", ErrDecode, err)
	}
	v, obj, err := openObject(n.store, id)
	return v, codec.View, obj, err
}

func (c *inbound) eachSlot(runs []wire.Run, fn func(slot uint32)) {
	for _, r := range runs {
		for i := range r.Count {
			fn(r.Slot + i)
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
	if c.method.kind != forAll && a.kind.methods[c.method.name] != c.method {
		c.finish(slot, codec.Value{}, fmt.Errorf("%w: %v on actor %v of kind %q", ErrNoMethod, c.method, a.id, a.kind.name))
		return
	}
	if err := a.push(item{c, slot, p}); err != nil {
		c.finish(slot, codec.Value{}, err)
	}
}

// finish records the answer of one slot and lets the outbox know.
func (c *inbound) finish(slot uint32, v codec.Value, err error) {
	r := c.result(slot, v, err)
	c.mu.Lock()
	c.addLocked(r)
	tell := !c.mu.dirty
	c.mu.dirty = true
	c.mu.Unlock()
	if c.left.Add(-1) == 0 {
		c.node.dismiss(c)
		c.cancel(nil)
		for _, obj := range c.pinned {
			obj.Release()
		}
	}
	if tell {
		c.node.outbox(c.from).put(c)
	}
}

// result encodes an answer. A large value goes into the store.
func (c *inbound) result(slot uint32, v codec.Value, err error) wire.Result {
	if err == nil && len(v.Meta) == 0 && len(v.Bufs) == 0 {
		return wire.Result{Slot: slot, Count: 1, Status: wire.StatusEmpty}
	}
	r := wire.Result{Slot: slot, Count: 1, Status: wire.StatusInline}
	if err == nil && v.Size() > InlineMax {
		var obj *arrowstore.Object
		if obj, err = putObject(c.node.store, v); err == nil {
			r.Status, r.Data = wire.StatusObject, idBytes(obj.ID())
			obj.Release() // the store keeps it until the caller releases it
			return r
		}
		err = fmt.Errorf("result of %v: %w", c.method, err)
	}
	if err != nil {
		f := faultOf(err)
		r.Status, r.Data = wire.StatusFault, f.Append(nil)
		return r
	}
	r.Data = codec.AppendValue(nil, v)
	return r
}

// addLocked appends an answer, merging those that have no value and neighbouring slots.
func (c *inbound) addLocked(r wire.Result) {
	if r.Status == wire.StatusEmpty {
		if run := &c.mu.run; run.Count > 0 && run.Slot+run.Count == r.Slot {
			run.Count++
			return
		}
	}
	c.flushRunLocked()
	if r.Status == wire.StatusEmpty {
		c.mu.run = r
		return
	}
	c.appendLocked(r)
}

func (c *inbound) flushRunLocked() {
	if c.mu.run.Count > 0 {
		c.appendLocked(c.mu.run)
		c.mu.run.Count = 0
	}
}

// appendLocked starts another body when the last one is full, so that no body exceeds what a frame may carry.
func (c *inbound) appendLocked(r wire.Result) {
	last := len(c.mu.out) - 1
	if last < 0 || len(c.mu.out[last])+len(r.Data) > replySize && len(c.mu.out[last]) > 0 {
		c.mu.out = append(c.mu.out, nil)
		last++
	}
	c.mu.out[last] = wire.AppendResult(c.mu.out[last], r)
}

// take returns the answers that were not sent yet, as bodies of reply frames.
func (c *inbound) take() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushRunLocked()
	out := c.mu.out
	c.mu.out, c.mu.dirty = nil, false
	return out
}

// outbox sends the answers to one caller's node. One goroutine per peer takes whatever answers have come together since it
// last looked, so that many answers travel in one message without waiting for each other.
type outbox struct {
	node *node
	peer uint32
	wake chan struct{} // holds a token while calls wait
	mu   struct {
		sync.Mutex
		calls []*inbound
	}
}

func (o *outbox) put(c *inbound) {
	o.mu.Lock()
	o.mu.calls = append(o.mu.calls, c)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) loop() {
	for {
		select {
		case <-o.wake:
		case <-o.node.ctx.Done():
			return
		}
		runtime.Gosched() // let actors that are about to answer do so first
		o.mu.Lock()
		calls := o.mu.calls
		o.mu.calls = nil
		o.mu.Unlock()
		for _, c := range calls {
			for _, body := range c.take() {
				h := wire.Header{Kind: wire.KindReply, Caller: c.caller, Seq: c.seq}
				if err := o.node.mesh.Send(o.node.ctx, o.peer, &h, body); err != nil {
					o.node.log.Debug("answer was not delivered", "peer", o.peer, "err", err)
				}
			}
		}
	}
}
