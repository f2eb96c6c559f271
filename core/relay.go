// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"fmt"
	"slices"
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
