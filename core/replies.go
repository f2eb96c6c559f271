// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"fmt"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/wire"
)

// onReply takes answers in. It runs on a link's reader.
func (s *System) onReply(from uint32, f wire.Frame) {
	if f.Caller != s.mesh.Incarnation() {
		s.log.Warn("an answer is for another process", "peer", from, "caller", f.Caller)
		return
	}
	s.calls.Lock()
	c := s.calls.open[f.Seq]
	s.calls.Unlock()
	var err error
	if c != nil {
		err = c.apply(f.Body)
	} else {
		err = s.releaseLate(from, f.Body)
	}
	if err != nil { // who waits for what it may have held must not wait for ever
		s.mesh.Lost(from, fmt.Errorf("bad reply: %w", err))
	}
}

// releaseLate releases the objects of answers that nobody waits for any more.
func (s *System) releaseLate(from uint32, body []byte) error {
	var ids []arrowstore.ID
	err := wire.ParseReply(body, func(r wire.Result) bool {
		if r.Status == wire.StatusObject { // one slot
			// An answer may come twice if a relay dies; what the first has brought may be in use.
			if id, err := arrowstore.ParseID(r.Data); err == nil && !s.holdsResult(id) {
				ids = append(ids, id)
			}
		}
		return true
	})
	s.releaseRemote(from, ids)
	return err
}

// releaseRemote tells a node that results it keeps are not needed any more. It does not block.
func (s *System) releaseRemote(node uint32, ids []arrowstore.ID) {
	if len(ids) == 0 {
		return
	}
	s.results.Lock()
	for _, id := range ids {
		delete(s.results.held, id)
	}
	s.results.Unlock()
	var body []byte
	for _, id := range ids {
		body = wire.AppendRelease(body, idBytes(id))
	}
	s.background(func() {
		if err := s.mesh.Send(s.ctx, node, &wire.Header{Kind: wire.KindRelease}, body); err != nil {
			s.log.Debug("objects were not released", "peer", node, "err", err) // they end with the node
		}
	})
}

// sendCancels tells nodes that a call was given up, or slots of it. It does not block.
func (s *System) sendCancels(seq uint64, nodes []uint32, slots ...uint32) {
	if len(nodes) == 0 {
		return
	}
	var body []byte
	if len(slots) > 0 {
		body = wire.AppendSlots(nil, slots)
	}
	s.background(func() {
		for _, n := range nodes {
			h := wire.Header{Kind: wire.KindCancel, Caller: s.mesh.Incarnation(), Seq: seq, From: driverNode}
			if err := s.mesh.Send(s.ctx, n, &h, body); err != nil {
				s.log.Debug("cancellation was not delivered", "peer", n, "err", err)
			}
		}
	})
}
