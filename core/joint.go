// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"time"

	"github.com/tutti-go/tutti/internal/wire"
)

// Assignment gives a prepared call to actors.
type Assignment struct {
	Call    *Prepared
	Targets *Targets
}

// Matches reports whether two calls can be started together: they are of one method and system.
func (c *Prepared) Matches(other *Prepared) bool {
	return c.method == other.method && c.sys == other.sys
}

// Size returns how many bytes the argument takes in a message, for each actor.
func (c *Prepared) Size() int { return len(c.arg.payload.Data) }

// StartAll starts many prepared calls of one method as one submission, each on its own targets with its own argument, so that one message goes
// to every node, however many calls it is for. The slots are those of the assignments, one behind the other. Interrupt, Cancel and
// the deadline concern all; InterruptSlots and ReleaseSlot concern some. The arguments are kept until the last answer.
//
// What the message to one node carries is bounded: keep the sum of Size times actors below 64 MiB, or the submission to that node fails with
// ErrTooLarge. Errors and ctx are those of Prepared.Start; ErrMixed if methods or systems differ, ErrNoActors if there are no assignments.
func StartAll(ctx context.Context, as []Assignment, deadline time.Time) (*Slots, error) {
	if len(as) == 0 {
		return nil, fmt.Errorf("start calls: %w", ErrNoActors)
	}
	first := as[0].Call
	t := &Targets{sys: first.sys, kind: first.kind}
	for i, a := range as {
		if a.Call.sys != first.sys || a.Call.method != first.method || a.Targets.sys != first.sys || a.Targets.kind != first.kind {
			return nil, fmt.Errorf("call %v: %w: call %d is to another method or system", first.method, ErrMixed, i)
		}
		t.ids = append(t.ids, a.Targets.ids...)
	}
	if len(t.ids) > wire.MaxTargets {
		return nil, fmt.Errorf("call %v: %w: %d actors, the bound is %d", first.method, ErrTooLarge, len(t.ids), wire.MaxTargets)
	}
	if err := t.Check(); err != nil { // on the ids alone
		return nil, fmt.Errorf("call %v: %w", first.method, err)
	}
	t.locate()
	t, err := t.now(ctx)
	if err != nil {
		return nil, fmt.Errorf("call %v: %w", first.method, err)
	}
	arg := argument{each: make([]argument, 0, len(t.ids))}
	var held []*Prepared
	for _, a := range as {
		if a.Call.arg.release != nil {
			held = append(held, a.Call.Retain())
		}
		for range a.Targets.ids {
			arg.each = append(arg.each, argument{payload: a.Call.arg.payload, origin: a.Call.arg.origin})
		}
	}
	if held != nil {
		arg.release = func() {
			for _, c := range held {
				c.Release()
			}
		}
	}
	return first.start(ctx, t, arg, deadline)
}

// InterruptSlots is Interrupt for some slots. Those on one node are one message.
func (s *Slots) InterruptSlots(slots ...uint32) {
	byNode := map[uint32][]uint32{}
	for _, slot := range slots {
		if !s.complete(int(slot)) {
			node := s.place(int(slot)).Node()
			byNode[node] = append(byNode[node], slot)
		}
	}
	for node, pending := range byNode {
		s.sys.sendCancels(s.seq, []uint32{node}, pending...)
	}
}

// ReleaseSlot is Release for one slot. It may be called before the slot is complete.
func (s *Slots) ReleaseSlot(i int) {
	s.mu.Lock()
	state := s.mu.results.of(uint32(i)).state
	s.mu.Unlock()
	if state == pending || state == succeededObject { // other answers take no room
		s.remote.release(uint32(i))
	}
}
