// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"

	"github.com/tutti-go/tutti/internal/wire"
)

// Answers go up through the relays that the call came down. A relay passes on what has come together, and tells who sent it, so that these do not
// send more than it can pass on.

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
