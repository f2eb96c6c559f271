// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"runtime"
	"slices"
	"sync"

	"github.com/tutti-go/tutti/internal/wire"
)

const (
	// keptBytes bounds the answers that a node keeps after it has sent them to a relay, which may die with them.
	keptBytes = 16 << 20
	// keptCalls bounds the calls that have ended and whose answers are kept.
	keptCalls = 4096
)

// outgoing are the answers to a call on their way to its caller.
type outgoing struct {
	key    inboundKey
	origin uint32 // node of the caller
	// passing says that another node has run the call, and this one relays the answers.
	passing bool
	head    wire.Header // of direct, which sends once

	mu struct {
		sync.Mutex
		answers answers  // that were not sent yet
		unsent  [][]byte // bodies of answers that found no room
		debts   []debt   // to whom they came from
		dirty   bool     // the outbox knows of them
		last    bool     // no more will come: this node has run the call
		boxed   bool     // an outbox has it or has had it
	}
}

func (a *outgoing) header() wire.Header {
	return wire.Header{Kind: wire.KindReply, Caller: a.key.caller, Seq: a.key.seq, From: a.origin}
}

// take returns the answers that were not sent yet, as bodies of reply frames, what is to be paid when they were, and whether
// they are the last.
func (a *outgoing) take() (bodies [][]byte, debts []debt, last bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.dirty = false
	debts, a.mu.debts = a.mu.debts, nil
	bodies = a.mu.answers.take()
	if a.mu.unsent != nil {
		bodies, a.mu.unsent = append(a.mu.unsent, bodies...), nil
	}
	return bodies, debts, a.mu.last
}

// outbox sends the answers that go to or through one peer. One goroutine per peer takes whatever answers have come together since it
// last looked, so that many answers travel in one message without waiting for each other.
type outbox struct {
	node *node
	peer uint32
	wake chan struct{} // holds a token while answers wait
	more chan struct{} // holds a token when the peer, as a relay, has taken more
	mu   struct {
		sync.Mutex
		calls  []*outgoing
		window allowance
	}
}

func (o *outbox) put(a *outgoing) {
	o.mu.Lock()
	o.mu.calls = append(o.mu.calls, a)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// direct sends the only answers to a call from the goroutine that has them, and reports false if it cannot, or if others that wait
// can travel with them. The call is not dismissed.
func (o *outbox) direct(a *outgoing) bool {
	o.mu.Lock()
	others := len(o.mu.calls) > 0
	o.mu.Unlock()
	if others {
		return false
	}
	bodies, _, _ := a.take() // it ran here, so that nothing is owed
	if len(bodies) == 1 {
		a.head = a.header()
		if o.node.mesh.TrySend(o.peer, &a.head, bodies...) {
			return true
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.unsent, a.mu.dirty = bodies, true
	return false
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
		for _, a := range calls {
			bodies, debts, last := a.take()
			for _, body := range bodies {
				o.send(a, body)
			}
			o.node.pay(debts)
			if last {
				o.node.dismiss(a.key)
			}
		}
	}
}

// send sends answers to the peer, or to the caller's node itself if the peer is a relay that cannot be reached.
func (o *outbox) send(a *outgoing, body []byte) {
	h := a.header()
	relayed := o.peer != a.origin
	if relayed {
		if !a.passing {
			o.node.kept.add(a.key, body)
		}
		o.await(o.node.ctx, len(body))
	}
	err := o.node.mesh.Send(o.node.ctx, o.peer, &h, body)
	if err != nil && relayed {
		err = o.node.mesh.Send(o.node.ctx, a.origin, &h, body)
	}
	if err != nil {
		o.node.log.Debug("answer was not delivered", "peer", o.peer, "err", err)
	}
}

// kept holds answers that were sent to relays, so that they can be sent again if a relay dies with them.
type kept struct {
	mu struct {
		sync.Mutex
		calls map[inboundKey]*keptCall
		ended []inboundKey // whose last answer was sent, the oldest first
		bytes int
	}
}

// keptCall are the answers to one call.
type keptCall struct {
	bodies [][]byte
	bytes  int
	lost   []wire.Run // slots whose answers were sent and are not kept: of each run, Slot and Count
	ended  bool
}

// begin makes a call known whose answers are to be kept.
func (k *kept) begin(key inboundKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mu.calls == nil {
		k.mu.calls = map[inboundKey]*keptCall{}
	}
	k.mu.calls[key] = &keptCall{}
}

// add keeps a body of answers, and drops others for it: those of calls that have ended first.
func (k *kept) add(key inboundKey, body []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.mu.calls[key]
	if c == nil {
		return // only passing through, or its caller is gone
	}
	c.bodies = append(c.bodies, body)
	c.bytes += len(body)
	k.mu.bytes += len(body)
	for k.mu.bytes > keptBytes && len(k.mu.ended) > 0 {
		k.dropOldestLocked()
	}
	if k.mu.bytes > keptBytes {
		k.mu.bytes -= c.bytes
		c.forget()
	}
}

// forget drops the answers and remembers of which slots.
func (c *keptCall) forget() {
	for _, body := range c.bodies {
		_ = wire.ParseReply(body, func(r wire.Result) bool { // this node has made it
			for first, count := range r.Slots.Ranges {
				c.lost = append(c.lost, wire.Run{Slot: first, Count: count})
			}
			return true
		})
	}
	c.bodies, c.bytes = nil, 0
}

func (k *kept) dropOldestLocked() {
	oldest := k.mu.ended[0]
	k.mu.ended = k.mu.ended[1:]
	if c := k.mu.calls[oldest]; c != nil {
		k.mu.bytes -= c.bytes
		delete(k.mu.calls, oldest)
	}
}

// end says that a call will have no more answers than those that are on their way.
func (k *kept) end(key inboundKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.mu.calls[key]
	if c == nil || c.ended {
		return
	}
	c.ended = true
	k.mu.ended = append(k.mu.ended, key)
	if len(k.mu.ended) > keptCalls {
		k.dropOldestLocked()
	}
}

// replay returns what was answered to a call: the answers that are kept, and the slots of those that are not. It reports false if
// it knows nothing of the call.
func (k *kept) replay(key inboundKey) (bodies [][]byte, lost []wire.Run, known bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.mu.calls[key]
	if c == nil {
		return nil, nil, false
	}
	for _, b := range c.bodies {
		bodies = append(bodies, slices.Clip(b)) // who appends to one must not write into what is kept
	}
	return bodies, slices.Clone(c.lost), true
}

// drop forgets the calls of a caller that is gone.
func (k *kept) drop(caller uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, c := range k.mu.calls {
		if key.caller == caller {
			k.mu.bytes -= c.bytes
			delete(k.mu.calls, key)
		}
	}
}
