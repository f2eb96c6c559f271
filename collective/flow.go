// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"

	"github.com/tutti-go/tutti/internal/wire"
)

// traffic is what a kind of messages of a member goes through: those of operations, or those of Send and Recv.
type traffic struct {
	edgeLocked func(rank int) *edge
	// pickLocked returns the place of the frame in the queue that a flow receives next, or -1. stray says that what is there
	// shows that the other has left this operation, or never was in it.
	pickLocked func(e *edge, f *flow) (i int, stray bool)
	credit     uint32 // step of the frames that give credit
}

// wait implements peers.
func (m *member) wait(ctx context.Context, flows []*flow) error {
	return m.waitOn(ctx, flows, flows[0].step.Round, traffic{
		edgeLocked: m.edgeLocked,
		pickLocked: func(e *edge, f *flow) (int, bool) {
			f.dockLocked(e, m.mu.seq)
			if len(e.queue) > 0 && e.queue[0].Seq > m.mu.seq {
				return -1, f.berth.landed == 0 // else the frames on lanes are late
			}
			return f.nextLocked(e), false
		},
		credit: stepCredit,
	})
}

// due is credit to give.
type due struct {
	rank   int
	credit []byte
}

// waitOn waits until one of the flows can go on, and gives room or a frame to all that can.
func (m *member) waitOn(ctx context.Context, flows []*flow, round int, t traffic) error {
	var credits []due
	err := m.await(ctx, flows[0].peer, round, func() (done, stray bool) {
		for _, f := range flows {
			e := t.edgeLocked(f.peer)
			if f.action.Send {
				done = f.reserveLocked(e) || done
				continue
			}
			i, odd := t.pickLocked(e, f)
			stray = stray || odd
			if i >= 0 {
				f.takeLocked(e, i)
			}
			f.seen = f.berth.landed
			if credit := e.creditLocked(); credit != nil {
				credits, done = append(credits, due{f.peer, credit}), true
			}
			done = done || i >= 0 || f.done()
		}
		m.mu.awaits, m.mu.also = flows[0].peer, flows[1:]
		if done {
			m.mu.also = nil
			if !flows[0].room { // else it is being sent to
				m.mu.awaits = -1
			}
		}
		return done, stray
	})
	if err != nil {
		m.mu.Lock()
		m.mu.also = nil // the flows are used for something else now, and a reader may have a frame at hand
		m.mu.Unlock()
		return err
	}
	for _, f := range flows {
		if f.fault != nil {
			return m.unreachable(f.peer, f.fault)
		}
		// The operation is the same, or it would have been refused.
		if f.body != nil && round != unnumbered && f.came.Step != uint32(f.step.Round) {
			return fmt.Errorf("%w: rank %d is in round %d, want round %d", wire.ErrFrame, f.peer, f.came.Step, f.step.Round)
		}
	}
	for _, c := range credits {
		k := mark{step: t.credit}
		if t.credit == stepCredit {
			k = m.mark(t.credit)
		}
		if err := m.postGuarded(ctx, c.rank, k, c.credit); err != nil {
			return err
		}
	}
	return nil
}

// reserveLocked takes room for the next frame of a flow that sends, if there is some and it has none, and reports whether the flow can go on.
func (f *flow) reserveLocked(e *edge) bool {
	f.lent, f.fault = len(f.out), f.failed
	if f.frames == 0 || f.fault != nil {
		return f.lent == 0 || f.fault != nil
	}
	if !f.room {
		n := uint64(wire.HeaderSize + f.nextBody())
		if e.sent != e.granted && e.sent-e.granted+n > window {
			return false
		}
		f.at = int(e.sent)
		e.sent += n
		f.room = true
	}
	return true
}

// takeLocked gives a flow a frame of a queue.
func (f *flow) takeLocked(e *edge, i int) {
	frame := e.take(i)
	f.body, f.came, f.at = frame.Body, frame.Header, f.placed
	if f.edge != nil {
		f.at = f.claimLocked(frame.Caller)
	}
}

// room implements peers.
func (m *member) room() *workspace { return &m.work }

// send implements peers.
func (m *member) send(ctx context.Context, f *flow, body []byte) error {
	k := m.mark(uint32(f.step.Round))
	k.at = uint64(f.at)
	return m.push(ctx, f.peer, k, body)
}

// push posts a frame for which there is room.
func (m *member) push(ctx context.Context, to int, k mark, body []byte) error {
	err := m.postGuarded(ctx, to, k, body) // may wait for a connection, or room in it
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.awaits = -1
	m.mu.moved++
	return err
}

// awaitsLocked says whether the operation can go on when something comes from a rank.
func (m *member) awaitsLocked(rank int) bool {
	if m.mu.awaits == rank {
		return true
	}
	for _, f := range m.mu.also {
		if f.peer == rank {
			return true
		}
	}
	return false
}

// hurryLocked says whether a frame is worth waking the operation for although it does not come from the rank that is awaited first:
// if it is long, or makes room. Short ones are taken when that rank's comes. The rank in the lowest round of all has nothing else
// to wait for, so that somebody always goes on.
func (m *member) hurryLocked(from int, f wire.Frame) bool {
	const short = 2 << 10
	return (len(f.Body) > short || f.Step == stepCredit || f.Step == stepPointCredit) && m.awaitsLocked(from)
}
