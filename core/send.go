// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/plan"
	"github.com/tutti-go/tutti/internal/wire"
)

// send sends the messages of a submission: to nodes, and to relays for all that is behind them.
func (s *Slots) send(ctx context.Context) (messages int, bytes int64, err error) {
	s.takeOrders()
	way := s.route()
	burst := s.sys.mesh.Burst(len(way.Direct) + len(way.Relays))
	defer burst.End()
	d := &draft{heads: make([]byte, 0, len(way.Direct)*callHead)}
	var skips []skipped
	defer func() { s.sys.sendSkips(skips) }()
	actors := 0 // that were submitted to
	var failed error
	for hop := range len(way.Direct) + len(way.Relays) {
		i, n, err := s.sendHop(ctx, burst.Send, d, way, hop)
		share := &s.targets.shares[i]
		if err == nil {
			messages++
			bytes += n
			actors += s.reached(way, hop)
			continue
		}
		err = sendError(err)
		skips = append(skips, s.skipShare(i))
		followed := s.loseNode(share.node, err)
		if followed {
			actors += len(share.slots)
		} else if failed == nil {
			failed = fmt.Errorf("submit %v to node %d (%d actors): %w", s.method, share.node, len(share.slots), err)
		}
		if s.cfg.policy == FailFast && !followed {
			rest := s.unsent(way, hop)
			nodes := map[uint32]bool{}
			for _, i := range rest {
				nodes[s.targets.shares[i].node] = true
				skips = append(skips, s.skipShare(i))
			}
			s.failWhere(func(slot int) bool { return nodes[s.place(slot).Node()] }, fmt.Errorf("%w: %w", ErrNotSubmitted, failed))
			return messages, bytes, failed
		}
		if relay := hop - len(way.Direct); relay >= 0 {
			var rest []int
			behind(way.Relays[relay:relay+1], func(share int) { rest = append(rest, share) })
			actors += s.reached(way, hop) - len(share.slots)
			s.reroute(ctx, rest)
		}
	}
	if actors < s.cfg.quorum {
		return messages, bytes, fmt.Errorf("submitted to %d actors of %d, the quorum is %d: %w", actors, s.Len(), s.cfg.quorum, failed)
	}
	return messages, bytes, nil
}

// reached returns how many actors a hop leads to.
func (s *Slots) reached(way *plan.Plan, hop int) (actors int) {
	if hop < len(way.Direct) {
		return len(s.targets.shares[way.Direct[hop]].slots)
	}
	relay := hop - len(way.Direct)
	behind(way.Relays[relay:relay+1], func(share int) { actors += len(s.targets.shares[share].slots) })
	return actors
}

// sendHop sends one message, and returns the share of the node that it goes to and its size.
func (s *Slots) sendHop(ctx context.Context, send sender, d *draft, way *plan.Plan, hop int) (share int, bytes int64, err error) {
	if hop < len(way.Direct) {
		share = way.Direct[hop]
		bytes, err = s.sendShare(ctx, send, d, share)
		return share, bytes, err
	}
	r := &way.Relays[hop-len(way.Direct)]
	if bytes, err = s.sendRelay(ctx, send, r); err == nil {
		s.mu.Lock()
		s.mu.relays++
		s.mu.Unlock()
	}
	return r.Node, bytes, err
}

// unsent returns the shares that are not reached if a hop fails and the later ones are left out, without that of the hop's own node.
func (s *Slots) unsent(way *plan.Plan, hop int) (rest []int) {
	if hop < len(way.Direct) {
		rest = append(rest, way.Direct[hop+1:]...)
		behind(way.Relays, func(share int) { rest = append(rest, share) })
		return rest
	}
	behind(way.Relays[hop-len(way.Direct):], func(share int) { rest = append(rest, share) })
	return rest[1:]
}

// header returns the header of the call's messages as of now.
func (s *Slots) header(k wire.Kind) wire.Header {
	h := wire.Header{Kind: k, Caller: s.sys.mesh.Incarnation(), Seq: s.seq, From: driverNode}
	if !s.deadline.IsZero() {
		h.Deadline = max(time.Until(s.deadline), 1) // 0 would be none
	}
	return h
}

// sender is Send of a mesh, or of a burst.
type sender func(ctx context.Context, to mesh.NodeID, h *wire.Header, body ...[]byte) error

// draft is where the messages of a submission are put together, one after the other. What was sent of it is not changed: it may wait for room.
type draft struct {
	head  wire.Header
	heads []byte   // of the bodies, one behind the other
	parts [][]byte // of a body
}

// callHead is the room in bytes for what stands before the payload in a message to consecutive actors.
const callHead = 24

// sendShare sends the message of one node to it, and returns its size.
func (s *Slots) sendShare(ctx context.Context, send sender, d *draft, i int) (bytes int64, err error) {
	share := &s.targets.shares[i]
	body := wire.Call{Order: s.orderOf(i), Method: s.sys.table.methID[s.method], Flags: s.cfg.flags(), Runs: share.runs}
	body.Payload.Kind, d.parts = s.arg.payloadFor(s.sys, share, append(d.parts[:0], nil))
	at := len(d.heads)
	d.heads = body.AppendHead(d.heads)
	d.parts[0] = slices.Clip(d.heads[at:])
	d.head = s.header(wire.KindCall)
	if err := send(ctx, share.node, &d.head, d.parts...); err != nil {
		return 0, err
	}
	return int64(wire.HeaderSize + d.head.Length), nil
}

func (s *Slots) skipShare(i int) skipped {
	return skipped{s.targets.shares[i].node, wire.Orders{First: s.orderOf(i), Last: s.orderOf(i)}}
}
