// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"

	"github.com/tutti-go/tutti/internal/wire"
)

// lane is what a kind of traffic of a member goes through: that of operations, or that of Send and Recv.
type lane struct {
	edgeLocked func(rank int) *edge
	// pickLocked returns the place of the frame in the queue that a flow receives next, or -1. stray says that what is there
	// shows that the other has left this operation, or never was in it.
	pickLocked func(e *edge) (i int, stray bool)
	credit     uint32 // step of the frames that give credit
}

// wait implements peers.
func (m *member) wait(ctx context.Context, flows []*flow) error {
	return m.waitOn(ctx, flows, flows[0].step.Round, lane{
		edgeLocked: m.edgeLocked,
		pickLocked: func(e *edge) (int, bool) {
			switch {
			case len(e.queue) == 0:
				return -1, false
			case e.queue[0].Seq > m.mu.seq:
				return -1, true
			}
			return 0, false
		},
		credit: stepCredit,
	})
}

// waitOn waits until one of the flows can go on, and gives room or a frame to all that can.
func (m *member) waitOn(ctx context.Context, flows []*flow, round int, l lane) error {
	type due struct {
		rank   int
		credit []byte
	}
	var credits []due
	err := m.await(ctx, flows[0].peer, round, func() (done, stray bool) {
		for _, f := range flows {
			e := l.edgeLocked(f.peer)
			if f.action.Send {
				n := uint64(wire.HeaderSize + f.nextBody())
				if f.room || e.sent != e.granted && e.sent-e.granted+n > window {
					continue
				}
				e.sent += n
				f.room, done = true, true
				continue
			}
			i, odd := l.pickLocked(e)
			stray = stray || odd
			if i < 0 {
				continue
			}
			frame, credit := e.take(i)
			if credit != nil {
				credits = append(credits, due{f.peer, credit})
			}
			f.body, f.came, done = frame.Body, frame.Header, true
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
		return err
	}
	for _, f := range flows {
		// The operation is the same, or it would have been refused.
		if f.body != nil && round != unnumbered && f.came.Step != uint32(f.step.Round) {
			return fmt.Errorf("%w: rank %d is in round %d, want round %d", wire.ErrFrame, f.peer, f.came.Step, f.step.Round)
		}
	}
	for _, c := range credits {
		k := mark{step: l.credit}
		if l.credit == stepCredit {
			k = m.mark(l.credit)
		}
		if err := m.postGuarded(ctx, c.rank, k, c.credit); err != nil {
			return err
		}
	}
	return nil
}

// room implements peers.
func (m *member) room() *workspace { return &m.work }

// send implements peers.
func (m *member) send(ctx context.Context, f *flow, body []byte) error {
	return m.push(ctx, f.peer, m.mark(uint32(f.step.Round)), body)
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
