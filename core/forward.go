// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tutti-go/tutti/internal/wire"
)

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
