// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import "github.com/tutti-go/tutti/internal/wire"

// castOff completes the slots of a cast that was submitted. If its argument lies in the store, or if some of its messages go through relays, it stays
// known until the nodes have it, which is all that they answer: the object must not go before, and what dies with a relay is sent again.
func (s *Slots) castOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := codeEmpty
	if s.cfg.acked {
		c = codeUnacked
	}
	for i := range s.mu.results.len() {
		slot := uint32(i)
		if !s.mu.results.pending(slot) {
			continue // it was not submitted, or its node has the argument already
		}
		if c == codeUnacked {
			s.mu.unacked++
		}
		s.completeLocked(slot, c)
	}
	s.progressLocked()
}

// acknowledgeLocked takes in that a node has the argument of a cast, or never will.
func (s *Slots) acknowledgeLocked(slot uint32) {
	if s.mu.results.code(slot) == codeUnacked {
		s.mu.results.set(slot, codeEmpty)
		if s.mu.unacked--; s.mu.unacked == 0 {
			s.letGoLocked()
		}
	}
}

// castTaken tells the caller of a cast, if it wants to know, that the node has it and needs nothing more from it.
func (c *inbound) castTaken() {
	if !c.cast || !c.acked || c.stored {
		return
	}
	c.acknowledge(false)
}

// acknowledge answers all slots of a cast. last says that they have all ended.
func (c *inbound) acknowledge(last bool) {
	c.mu.Lock()
	c.eachSlot(func(slot uint32) { c.mu.answers.add(slot, wire.StatusEmpty, nil) })
	c.mu.last = last
	c.mu.Unlock()
	c.node.outbox(c.from).put(&c.outgoing)
}

// castDone counts the end of one call of a cast, and reports whether it was the last. If the argument lies in the store, the caller is told then that it
// may go.
func (c *inbound) castDone(slot uint32, err error) (last bool) {
	n := c.node
	if err != nil {
		n.counters.castsFailed.Add(1)
		if c.failures.Add(1) == 1 { // one line for a message tells enough
			n.log.Warn("a cast failed", "method", c.method, "slot", slot, "err", err)
		}
	}
	n.counters.casts.Add(1)
	if c.left.Add(-1) > 0 {
		return false
	}
	if !c.acked || !c.stored {
		n.dismiss(c.key)
		return true
	}
	c.acknowledge(true)
	return true
}
