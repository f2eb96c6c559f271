// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/tutti-go/tutti/collective/hostshm"
)

// onHost is an operation of a member in the memory of a machine. A member has one, for its operations follow each other.
type onHost struct {
	*hostshm.Port

	g    *Group
	ctx  context.Context //nolint:containedctx // of the operation, which this is
	call invocation
	rows rows
	ends []int // of the blocks of all ranks, in bytes, behind a 0, where they are of different lengths
	root int   // slot of the member whom others await to publish, or -1
	near *team // the members whose memory it is, by slot; nil: all

	guarded bool // it is under the eyes of the guard already

	pause    time.Duration // between questions
	asked    time.Time
	progress uint64
	until    time.Time   // when its time is over; zero until it was waited for a while, and where its context has a deadline
	unhook   func() bool // from the context; nil until it was waited for a while
	cancel   func()      // of the context that bounds it; nil until something else than a round waits
}

// begin begins an operation. rest ends it.
func (r *onHost) begin(ctx context.Context, g *Group, c *invocation) {
	r.Port, r.g, r.ctx, r.call, r.root = g.m.host.port.Load(), g, ctx, *c, -1
}

// idle looks around for a member that has waited for a while: whether its time is over, another called something else, or the one that it waits for is
// silent. It returns when to look again.
func (r *onHost) idle() (time.Duration, error) {
	m, tick := r.g.m, r.g.s.bounds.tick()
	r.watched()
	if end := r.mismatch(r.Differing()); end != nil {
		return 0, end
	}
	rank, ask := r.missing()
	m.mu.Lock()
	m.mu.awaits = rank
	if number := m.numberLocked(); m.mu.chase.seq != number {
		m.mu.chase.begin(number)
	}
	if m.mu.chase.asked < 0 { // else it is told by whether there is an answer
		m.mu.chase.suspect, m.mu.chase.idle = rank, true
	}
	if now := r.Progress(); now != r.progress {
		r.progress = now
		m.mu.moved++
	}
	m.mu.Unlock()
	if !r.until.IsZero() {
		tick = min(tick, time.Until(r.until))
	}
	if tick <= 0 {
		r.bounded() // by a context whose time is over
	}
	if r.ctx.Err() != nil {
		if rank < 0 {
			return 0, fmt.Errorf("waited: %w", stopped(r.ctx))
		}
		return 0, fmt.Errorf("waited for rank %d: %w", rank, stopped(r.ctx))
	}
	if ask < 0 || time.Since(r.asked) < r.pause {
		return tick, nil
	}
	r.bounded()
	m.log.Wait(ask)
	quiet, err := m.probe(r.ctx, ask)
	if r.pause = min(2*r.pause, probeEvery); quiet {
		r.pause = 0 // at every tick
	}
	r.asked = time.Now()
	return tick, err
}

// missing returns the rank that the member waits for, as far as it is known, and one to ask whether it lives; or -1. All can see who is missing,
// but in a large group only neighbours ask, at distances that are powers of two: else all would connect to one at once. Somebody who waits is
// a neighbour of somebody who is missing.
func (r *onHost) missing() (rank, ask int) {
	const few = 32
	own, n := r.g.m.rank, r.Members()
	if r.near != nil {
		own = r.near.at
	}
	defer func() { rank, ask = r.rankOf(rank), r.rankOf(ask) }()
	others := func(rank int) bool { return rank != own }
	near := func(rank int) bool {
		ahead := (rank - own + n) % n
		return rank != own && (n <= few || ahead&(ahead-1) == 0 || (n-ahead)&(n-ahead-1) == 0)
	}
	if rank = r.Missing(others); rank >= 0 {
		return rank, r.Missing(near)
	}
	if r.root < 0 || r.root == own {
		return -1, -1
	}
	if near(r.root) {
		return r.root, r.root
	}
	return r.root, -1
}

// rankOf returns the rank of a slot's member, if it is one.
func (r *onHost) rankOf(slot int) int {
	if r.near == nil || slot < 0 {
		return slot
	}
	return r.near.ranks[slot]
}

// watched puts the operation under the eyes of the guard, and makes it notice the end of its context at once. That of the epoch ends its rounds.
func (r *onHost) watched() {
	if r.unhook != nil {
		return
	}
	s, now := r.g.s, time.Now()
	if !r.guarded {
		r.g.m.guarded(s.stallOf(r.ctx))
	}
	if _, ok := r.ctx.Deadline(); !ok {
		r.until = now.Add(s.bounds.Timeout)
	}
	r.unhook = context.AfterFunc(r.ctx, s.host.nudged)
	r.pause, r.asked = probeAfter, now
}

// bounded gives the operation a context that is bounded like that of any other, for what is no round.
func (r *onHost) bounded() {
	r.watched()
	if r.cancel == nil {
		r.ctx, r.cancel = r.g.s.boundUntil(r.ctx, r.until)
	}
}

// over waits for the reason why the epoch is over, which another has found out and which is on its way.
func (r *onHost) over() error {
	r.bounded()
	<-r.ctx.Done()
	return stopped(r.ctx)
}

// rest ends the waits of an operation.
func (r *onHost) rest() {
	if r.unhook != nil {
		r.unhook()
		r.g.m.mu.Lock()
		r.g.m.mu.awaits = -1
		r.g.m.mu.Unlock()
	}
	if r.cancel != nil {
		r.cancel()
	}
	ends, rows := r.ends, r.rows
	*r = onHost{} // it holds on to nobody's memory
	r.ends, r.rows = ends, rows
}

// mismatch makes the reason of a member that called something else, if there is one.
func (r *onHost) mismatch(found *hostshm.Mismatch) error {
	if found == nil {
		return nil
	}
	other, rank, seq := r.rankOf(found.Rank), r.g.m.rank, r.g.m.mu.seq // which only this operation changes
	b := make([]byte, 0, descriptorSize)
	for _, w := range found.Call.What {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	theirs, err := parseDescriptor(b)
	switch {
	case found.Call.Seq != seq:
		return mismatch("operation %d: rank %d called %v, but rank %d is at operation %d", seq, rank, r.call.descriptor, other, found.Call.Seq)
	case err != nil:
		return fmt.Errorf("of rank %d: %w", other, err)
	default:
		return mismatch("operation %d: rank %d called %v, rank %d called %v", seq, other, theirs, rank, r.call.descriptor)
	}
}
