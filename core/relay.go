// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tutti-go/tutti/internal/wire"
)

// A relay is a node that a caller has named to hand a call on: to the other nodes of its host, and to relays of further hosts. The
// answers come back through it. It sends nothing on that it was not told to, and when it dies the caller sends around it.

const (
	// relayRoom bounds the bytes of calls that wait at a relay for one peer. What exceeds it the caller has to send itself.
	relayRoom = 16 << 20
	// eachRelayed bounds the bytes of arguments of one actor each in one message to a relay, which hands nothing on before it has all.
	eachRelayed = 4 << 20
	// answerWindow is how many bytes of answers may be under way to a relay, which has not passed them on yet, before the sender waits. One
	// frame may exceed it. A relay holds no more than that for each of those who send to it.
	answerWindow = 512 << 10
)

// relayed is a call that this node hands on. Its answers, and the fields below, are guarded by outgoing.mu.
type relayed struct {
	outgoing

	upstream uint32   // where the call came from last
	seen     slotBits // slots whose answers come through here
	pending  slotBits // those that have not
	left     int      // how many have not
	downs    []down
}

// down is a peer that a call was handed to, and what is behind it.
type down struct {
	peer   uint32
	shares []wire.Share
}

// slotBits is a set of slots.
type slotBits []uint64

func (b *slotBits) add(slot uint32) bool {
	for int(slot/64) >= len(*b) {
		*b = append(*b, 0)
	}
	was := (*b)[slot/64]&(1<<(slot%64)) != 0
	(*b)[slot/64] |= 1 << (slot % 64)
	return !was
}

func (b *slotBits) has(slot uint32) bool {
	return int(slot/64) < len(*b) && (*b)[slot/64]&(1<<(slot%64)) != 0
}

func (b *slotBits) remove(slot uint32) { (*b)[slot/64] &^= 1 << (slot % 64) }

// onRelay carries out a part of a plan. It runs on the link's reader and does not block.
func (n *node) onRelay(from uint32, f wire.Frame) {
	e, err := parseErrand(f.Body)
	if err == nil {
		err = n.divide(e)
	}
	if err != nil {
		n.log.Error("bad relay frame, closing the link", "peer", from, "err", err)
		n.mesh.Lost(from, err)
		return
	}
	n.expect(inboundKey{f.Caller, f.Seq}, f.From, from, e.branch, e.downs)
	expires := time.Time{}
	if f.Deadline > 0 {
		expires = time.Now().Add(f.Deadline)
	}
	head := wire.Header{Caller: f.Caller, Seq: f.Seq, From: f.From}
	part := e.body.Payload.Kind == wire.PayloadEach
	local := len(e.branch.Local)
	for i, c := range e.branch.Children {
		onward := e.loads[local+i]
		below := wire.Relay{Method: e.body.Method, Flags: e.body.Flags, Payload: onward}
		head.Kind = wire.KindRelay
		n.forward(e.downs[local+i], onwardFrame{head, expires, part, [][]byte{below.AppendHead(nil, len(onward.Data)), onward.Data, c.Branch}})
	}
	for i, s := range e.branch.Local {
		call := wire.Call{Order: s.Order, Method: e.body.Method, Flags: e.body.Flags, Runs: s.Runs, Payload: e.loads[i]}
		head.Kind = wire.KindCall
		n.forward(e.downs[i], onwardFrame{head, expires, part, [][]byte{call.AppendHead(nil), call.Payload.Data}})
	}
	if own := e.branch.Own; len(own.Runs) > 0 {
		call := wire.Call{Order: own.Order, Method: e.body.Method, Flags: e.body.Flags, Runs: own.Runs, Payload: e.own}
		head.Kind, head.Deadline = wire.KindCall, f.Deadline
		if l := n.lane(f.Caller, f.From); l != nil {
			m := n.newMessage(n.mesh.Self(), head)
			m.body = call
			l.arrive(m)
		}
	}
}

// errand is what a relay frame tells its receiver to do.
type errand struct {
	body   wire.Relay
	branch wire.Branch
	downs  []down         // whom it is handed to: first the nodes of the same host, then the children
	own    wire.Payload   // for the receiver's own share
	loads  []wire.Payload // for each of downs
}

func parseErrand(b []byte) (*errand, error) {
	e := &errand{}
	var err error
	if e.body, err = wire.ParseRelay(b); err == nil {
		e.branch, err = wire.ParseBranch(e.body.Branch)
	}
	if err != nil {
		return nil, err
	}
	for _, s := range e.branch.Local {
		e.downs = append(e.downs, down{s.Node, []wire.Share{s}})
	}
	for _, c := range e.branch.Children {
		d := down{peer: c.Node}
		if err := wire.EachShare(c.Branch, func(s wire.Share) { d.shares = append(d.shares, s) }); err != nil {
			return nil, err
		}
		e.downs = append(e.downs, d)
	}
	return e, nil
}

// divide finds the argument for every receiver: the same for all, or what each of them is to have. An object that all are to have, this node
// fetches before anybody asks for it.
func (n *node) divide(e *errand) error {
	onward := e.body.Payload
	e.own = onward
	switch onward.Kind {
	case wire.PayloadEach:
		return e.divideEach()
	case wire.PayloadRemote:
		w, err := parseWhereabouts(onward.Data)
		if err != nil {
			return err
		}
		if obj := n.transfers.here(w.id); obj != nil {
			obj.Release()
		} else {
			n.transfers.fetch(w)
		}
		w.source = n.mesh.Self()
		onward = w.payload()
	default:
	}
	e.loads = slices.Repeat([]wire.Payload{onward}, len(e.downs))
	return nil
}

// divideEach cuts the arguments of one actor each into what is for every receiver.
func (e *errand) divideEach() error {
	first, rest, err := wire.CutEach(e.body.Payload.Data, targetsOf([]wire.Share{e.branch.Own}))
	if err != nil {
		return err
	}
	e.own.Data = slices.Clone(first) // it may wait long, and is not to keep the whole frame
	for _, d := range e.downs {
		if first, rest, err = wire.CutEach(rest, targetsOf(d.shares)); err != nil {
			return err
		}
		e.loads = append(e.loads, wire.Payload{Kind: wire.PayloadEach, Data: first})
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: relay: %d bytes of arguments left over", wire.ErrFrame, len(rest))
	}
	return nil
}

func targetsOf(shares []wire.Share) (n int) {
	for _, s := range shares {
		for _, r := range s.Runs {
			n += int(r.Count)
		}
	}
	return n
}

// expect makes the answers to a call find their way through here. A copy of a call that is known changes where they go from here.
func (n *node) expect(key inboundKey, origin, upstream uint32, branch wire.Branch, downs []down) {
	n.mu.Lock()
	r := n.mu.relays[key]
	if r == nil {
		r = &relayed{}
		r.key, r.origin, r.passing = key, origin, true
		n.mu.relays[key] = r
	}
	n.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.upstream = upstream
	r.downs = append(r.downs, downs...)
	r.expectLocked([]wire.Share{branch.Own})
	for _, d := range downs {
		r.expectLocked(d.shares)
	}
}

func (r *relayed) expectLocked(shares []wire.Share) {
	for _, s := range shares {
		eachSlot(s.Runs, func(slot uint32) {
			if r.seen.add(slot) {
				r.pending.add(slot)
				r.left++
			}
		})
	}
}

func eachSlot(runs []wire.Run, fn func(slot uint32)) {
	for _, r := range runs {
		for i := range r.Count {
			fn(r.Slot + i)
		}
	}
}

// onReply passes answers on. It runs on the link's reader and does not block.
func (n *node) onReply(from uint32, f wire.Frame) {
	key := inboundKey{f.Caller, f.Seq}
	n.mu.Lock()
	r := n.mu.relays[key]
	n.mu.Unlock()
	known := r != nil
	if !known { // a copy of what went through, or it was handed on before this node knew: the caller sorts it out
		r = &relayed{upstream: f.From}
		r.key, r.origin, r.passing = key, f.From, true
	}
	r.mu.Lock()
	err := wire.ParseReply(f.Body, func(res wire.Result) bool {
		for first, count := range res.Slots.Ranges {
			for slot := first; slot < first+count; slot++ {
				switch {
				case !known, known && !r.seen.has(slot):
				case !r.pending.has(slot):
					continue
				default:
					r.pending.remove(slot)
					r.left--
				}
				r.mu.answers.add(slot, res.Status, res.Data)
			}
		}
		return true
	})
	r.mu.debts = append(r.mu.debts, debt{from, len(f.Body)})
	tell, ended, upstream := !r.mu.dirty, r.left == 0, r.upstream
	r.mu.dirty = true
	r.mu.Unlock()
	if err != nil {
		n.mesh.Lost(from, fmt.Errorf("bad reply: %w", err))
	}
	if ended && known {
		n.mu.Lock()
		delete(n.mu.relays, key)
		n.mu.Unlock()
	}
	if tell {
		n.outbox(upstream).put(&r.outgoing)
	}
}

// debt is what a sender of answers is to be told when they have been passed on.
type debt struct {
	peer  uint32
	bytes int
}

// pay tells who has sent answers that they were passed on, when it is worth a message.
func (n *node) pay(debts []debt) {
	for _, d := range debts {
		n.mu.Lock()
		a := n.mu.accounts[d.peer]
		a.taken += uint64(d.bytes)
		tell := a.taken-a.told >= answerWindow/2
		if tell {
			a.told = a.taken
		}
		n.mu.accounts[d.peer] = a
		n.mu.Unlock()
		if !tell {
			continue
		}
		if d.peer == n.mesh.Self() {
			n.onAnswered(d.peer, a.told)
			continue
		}
		credit := wire.Credit{Taken: a.told}
		n.begin(func() {
			if err := n.mesh.Send(n.ctx, d.peer, &wire.Header{Kind: wire.KindCredit}, credit.Append(nil)); err != nil {
				n.log.Debug("credit was not delivered", "peer", d.peer, "err", err)
			}
		})
	}
}

// account is how much of a peer's answers was taken, and how much of it the peer knows.
type account struct{ taken, told uint64 }

// onAnswered is told how many bytes of answers a relay has passed on.
func (n *node) onAnswered(relay uint32, taken uint64) { n.outbox(relay).answered(taken) }

// onwardFrame is a frame that a relay hands on.
type onwardFrame struct {
	head    wire.Header
	expires time.Time
	part    bool // of a larger frame, which it would keep
	body    [][]byte
}

func (f *onwardFrame) size() int {
	n := wire.HeaderSize
	for _, b := range f.body {
		n += len(b)
	}
	return n
}

// forwarder hands calls on to one peer, in order.
type forwarder struct {
	node *node
	peer uint32
	wake chan struct{} // holds a token while frames wait
	mu   struct {
		sync.Mutex
		queue []forwarding
		bytes int
	}
}

type forwarding struct {
	frame onwardFrame
	down  down
}

// forward hands a frame on to a peer. It does not block.
func (n *node) forward(d down, f onwardFrame) {
	n.mu.Lock()
	w := n.mu.forwarders[d.peer]
	if w == nil {
		w = &forwarder{node: n, peer: d.peer, wake: make(chan struct{}, 1)}
		n.mu.forwarders[d.peer] = w
		if !n.mu.closed {
			n.wg.Go(w.loop)
		}
	}
	n.mu.Unlock()
	w.mu.Lock()
	full := w.mu.bytes > 0 && w.mu.bytes+f.size() > relayRoom
	if !full {
		if f.part && w.mu.bytes > 0 { // it waits
			for i, b := range f.body {
				f.body[i] = slices.Clone(b)
			}
		}
		w.mu.queue = append(w.mu.queue, forwarding{f, d})
		w.mu.bytes += f.size()
	}
	w.mu.Unlock()
	if full {
		n.unreached(inboundKey{f.head.Caller, f.head.Seq}, f.head.From, n.mesh.Self(), d.shares)
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *forwarder) loop() {
	for {
		select {
		case <-w.wake:
		case <-w.node.ctx.Done():
			return
		}
		w.mu.Lock()
		queue := w.mu.queue
		w.mu.queue = nil
		w.mu.Unlock()
		for _, q := range queue {
			h := q.frame.head
			if !q.frame.expires.IsZero() {
				h.Deadline = max(time.Until(q.frame.expires), 1)
			}
			err := w.node.mesh.Send(w.node.ctx, w.peer, &h, slices.Clone(q.frame.body)...)
			w.mu.Lock()
			w.mu.bytes -= q.frame.size()
			w.mu.Unlock()
			if err != nil && w.node.ctx.Err() == nil {
				w.node.log.Debug("a call was not handed on", "peer", w.peer, "err", err)
				w.node.unreached(inboundKey{h.Caller, h.Seq}, h.From, w.peer, q.down.shares)
			}
		}
	}
}

// unreached tells the caller that nodes cannot be reached from here, and expects no answers from them. peer is who cannot be reached, or
// this node if it has no room. It does not block.
func (n *node) unreached(key inboundKey, origin, peer uint32, shares []wire.Share) {
	n.mu.Lock()
	r := n.mu.relays[key]
	n.mu.Unlock()
	body := wire.AppendUnreached(nil, peer)
	none, ended := len(body), false
	if r != nil {
		r.mu.Lock()
		for _, s := range shares {
			missing := false
			eachSlot(s.Runs, func(slot uint32) {
				if r.pending.has(slot) {
					r.pending.remove(slot)
					r.left--
					missing = true
				}
			})
			if missing {
				body = wire.AppendUnreached(body, s.Node)
			}
		}
		ended = r.left == 0
		r.mu.Unlock()
	} else {
		for _, s := range shares {
			body = wire.AppendUnreached(body, s.Node)
		}
	}
	if ended {
		n.mu.Lock()
		delete(n.mu.relays, key)
		n.mu.Unlock()
	}
	if len(body) == none {
		return // nobody behind it has to answer
	}
	n.begin(func() {
		h := wire.Header{Kind: wire.KindUnreached, Caller: key.caller, Seq: key.seq, From: origin}
		if err := n.mesh.Send(n.ctx, origin, &h, body); err != nil {
			n.log.Debug("the caller cannot be told of nodes out of reach", "peer", origin, "err", err)
		}
	})
}

// lostDown does what a lost peer means for the calls that this node relays.
func (n *node) lostDown(peer uint32) {
	n.mu.Lock()
	relays := slices.Collect(maps.Values(n.mu.relays))
	for key, r := range n.mu.relays {
		if r.origin == peer {
			delete(n.mu.relays, key)
		}
	}
	o := n.mu.outboxes[peer]
	n.mu.Unlock()
	if o != nil {
		o.answered(0) // it waits for nothing any more
	}
	for _, r := range relays {
		if r.origin == peer {
			continue
		}
		r.mu.Lock()
		var shares []wire.Share
		for _, d := range r.downs {
			if d.peer == peer {
				shares = append(shares, d.shares...)
			}
		}
		r.mu.Unlock()
		if len(shares) > 0 {
			n.unreached(r.key, r.origin, peer, shares)
		}
	}
}

// passCancel hands the cancellation of a call on.
func (n *node) passCancel(f wire.Frame) {
	n.mu.Lock()
	r := n.mu.relays[inboundKey{f.Caller, f.Seq}]
	n.mu.Unlock()
	if r == nil {
		return
	}
	r.mu.Lock()
	downs := slices.Clone(r.downs)
	r.mu.Unlock()
	for _, d := range downs {
		h := wire.Header{Kind: wire.KindCancel, Caller: f.Caller, Seq: f.Seq, From: f.From}
		n.forward(down{peer: d.peer}, onwardFrame{h, time.Time{}, false, [][]byte{f.Body}})
	}
}

// allowance is how far an outbox may go towards a relay.
type allowance struct {
	sent, taken uint64
}

// answered is told how many bytes of answers the peer has passed on.
func (o *outbox) answered(taken uint64) {
	o.mu.Lock()
	o.mu.window.taken = max(o.mu.window.taken, min(taken, o.mu.window.sent))
	o.mu.Unlock()
	select {
	case o.more <- struct{}{}:
	default:
	}
}

// await waits until n bytes may be sent to the relay, or until it is lost.
func (o *outbox) await(ctx context.Context, n int) {
	for {
		o.mu.Lock()
		ok := o.mu.window.sent-o.mu.window.taken < answerWindow
		if ok {
			o.mu.window.sent += uint64(n)
		}
		o.mu.Unlock()
		if ok || o.node.mesh.IsLost(o.peer) != nil {
			return
		}
		select {
		case <-o.more:
		case <-ctx.Done():
			return
		}
	}
}
