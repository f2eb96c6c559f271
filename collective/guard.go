// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"fmt"
	"sync/atomic"
	"time"
)

// guard looks after the operation that runs on a member, tick by tick. It ends the epoch when nothing moves for too long, or when the
// operation hangs in a link whose other end gives no sign of life. It counts ticks, not time: a process that was stopped or
// starved itself accuses nobody.
type guard struct {
	timer *time.Timer // nil until an operation began
	runs  atomic.Bool // the timer; so that who ends an operation can see, without the lock, that it never ran
	stall time.Duration
	idle  time.Duration // since something moved
	moved uint64        // of the member, at the last tick

	post  uint64        // that hangs
	hangs time.Duration // how long
	heard uint32        // from the other end, when it began to hang
}

// guarded puts the operation that runs under the eyes of the guard.
func (m *member) guarded(stall time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.guardLocked(stall)
}

func (m *member) guardLocked(stall time.Duration) {
	g := &m.mu.guard
	g.stall, g.idle, g.moved, g.hangs = stall, 0, m.mu.moved, 0
	g.runs.Store(true)
	m.mu.chase.went = false
	if g.timer == nil {
		g.timer = time.AfterFunc(m.s.bounds.tick(), m.onTick)
	} else {
		g.timer.Reset(m.s.bounds.tick())
	}
}

func (m *member) unguardLocked() {
	if m.mu.guard.runs.Load() {
		m.mu.guard.timer.Stop()
		m.mu.guard.runs.Store(false)
	}
}

func (m *member) onTick() {
	m.mu.Lock()
	var end *ending
	if m.mu.guard.runs.Load() && (m.mu.running && !m.mu.inHeap || m.mu.point) {
		if end = m.tickLocked(); end == nil {
			m.mu.guard.timer.Reset(m.s.bounds.tick())
		}
	}
	m.mu.Unlock()
	if end != nil {
		m.s.abort(end)
	}
}

func (m *member) tickLocked() *ending {
	g, tick := &m.mu.guard, m.s.bounds.tick()
	if g.moved != m.mu.moved || m.mu.chase.went {
		g.moved, g.idle, m.mu.chase.went = m.mu.moved, 0, false
	} else {
		g.idle += tick
	}
	if rank := m.mu.posting; rank >= 0 {
		heard := m.s.heardFrom(m.s.nodeOf(rank)).Load()
		if g.post != m.mu.post || g.heard != heard {
			g.post, g.heard, g.hangs = m.mu.post, heard, 0
		} else if g.hangs += tick; g.hangs >= m.s.bounds.Silence {
			return m.s.silentNode(rank, m.rank)
		}
	}
	if g.stall == 0 || g.idle < g.stall {
		return nil
	}
	failed, why := m.blameLocked()
	waited := ""
	if m.mu.awaits >= 0 {
		waited = fmt.Sprintf("waited for rank %d, ", m.mu.awaits)
	}
	return &ending{code: codeStalled, failed: failed, text: fmt.Sprintf("rank %d: %snothing moved for %v%s", m.rank, waited, g.stall, why)}
}
