// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// watch looks after the rounds of a heap, tick by tick, while there are any: it ends the epoch when nothing moves for too long or the
// group's timeout is over. There is one for all members, so that operations that follow each other fast start no timers.
type watch struct {
	timer *time.Timer
	armed bool

	// At the last tick, and how long it has been like that.
	number uint64
	came   int
	moved  uint64
	idle   time.Duration
}

// tick is how often it looks.
func (h *heap) tick() time.Duration {
	const parts = 8
	b := h.s.bounds
	return max(time.Millisecond, min(b.tick(), b.Timeout/parts))
}

func (h *heap) watchLocked() {
	w := &h.mu.watch
	switch {
	case w.armed:
		return
	case w.timer == nil:
		w.timer = time.AfterFunc(h.tick(), h.onTick)
	default:
		w.timer.Reset(h.tick())
	}
	w.armed = true
}

func (h *heap) onTick() {
	h.mu.Lock()
	r := h.openedLocked()
	if r == nil || h.mu.over != nil {
		h.mu.watch.armed = false
		h.mu.Unlock()
		return
	}
	number := r.number.Load()
	seen := h.lookAroundLocked(r)
	h.mu.Unlock()

	moved := uint64(r.next.Load())
	for _, rank := range seen.late { // which may send or receive
		if m := h.s.member(rank); m != nil {
			moved += m.movedSoFar()
		}
	}

	h.mu.Lock()
	var f finding
	if !r.ended && r.number.Load() == number {
		f = h.lookLocked(number, seen, moved)
	}
	h.mu.watch.timer.Reset(h.tick())
	h.mu.Unlock()
	if f.found != nothing {
		h.act(f, seen.late)
	}
}

// finding is what the watch has found in a round.
type finding struct {
	found found
	rank  int // for which it holds
	stall time.Duration
}

type found int

const (
	nothing found = iota
	idling        // for a tick
	stalled
	overdue
)

// lookLocked compares a round with what it was at the last tick.
func (h *heap) lookLocked(number uint64, seen census, moved uint64) finding {
	w, tick := &h.mu.watch, h.tick()
	if w.number != number || w.came != seen.came || w.moved != moved {
		w.number, w.came, w.moved, w.idle = number, seen.came, moved, 0
	} else {
		w.idle += tick
	}
	switch {
	case seen.bounded >= 0 && time.Since(seen.began) >= h.s.bounds.Timeout:
		return finding{overdue, seen.bounded, 0}
	case seen.judge >= 0 && w.idle >= seen.stall:
		return finding{stalled, seen.judge, seen.stall}
	case w.idle == tick:
		return finding{found: idling}
	default:
		return finding{}
	}
}

// act does what a finding calls for.
func (h *heap) act(f finding, late []int) {
	first := -1
	if len(late) > 0 {
		first = late[0]
	}
	failed, why := h.s.blame(first)
	switch f.found {
	case overdue:
		err := fmt.Errorf("%s: %w", waitedFor(first), context.DeadlineExceeded)
		h.s.abort(&ending{code: codeDeadline, failed: failed, text: fmt.Sprintf("rank %d: %v%s", f.rank, err, why), cause: err})
	case stalled:
		text := fmt.Sprintf("rank %d: %s, nothing moved for %v%s", f.rank, waitedFor(first), f.stall, why)
		h.s.abort(&ending{code: codeStalled, failed: failed, text: text})
	default:
		for rank := range h.ranks {
			if _, missing := slices.BinarySearch(late, rank); first >= 0 && !missing {
				if m := h.s.member(rank); m != nil {
					m.log.Wait(first)
				}
			}
		}
	}
}

func (m *member) movedSoFar() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.moved
}

// blame says who is to blame where all wait for a rank, or for nobody: that rank, or the one for which it waits itself to send or to
// receive, as far as they live on this node. It must be called without the lock of a member.
func (s *session) blame(rank int) ([]int, string) {
	if rank < 0 {
		return nil, ""
	}
	for range s.members { // no longer, should they wait for each other
		m := s.member(rank)
		if m == nil {
			break
		}
		m.mu.Lock()
		point, next := m.mu.point, m.mu.awaits
		m.mu.Unlock()
		if !point || next < 0 {
			break
		}
		rank = next
	}
	return []int{rank}, fmt.Sprintf("; rank %d has not called it", rank)
}
