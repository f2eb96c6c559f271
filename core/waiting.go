// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
)

// countWaiter waits until n slots of one submission are complete.
type countWaiter struct {
	n  int
	ch chan struct{}
}

// waiter waits until left slots, of any submissions, are complete.
type waiter struct {
	left atomic.Int64
	done chan struct{}
}

func newWaiter(n int) *waiter {
	w := &waiter{done: make(chan struct{})}
	w.left.Store(int64(n))
	return w
}

func (w *waiter) completed() {
	if w.left.Add(-1) == 0 {
		close(w.done)
	}
}

// Wait blocks until n slots are complete, and returns the context's error if it ends first. n is capped at Len.
func (s *Slots) Wait(ctx context.Context, n int) error {
	s.mu.Lock()
	if s.mu.order.n >= min(n, s.mu.results.len()) {
		s.mu.Unlock()
		return nil
	}
	w := countWaiter{min(n, s.mu.results.len()), make(chan struct{})}
	s.mu.byCount = append(s.mu.byCount, w)
	s.mu.Unlock()
	select {
	case <-w.ch:
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := range s.mu.byCount {
			if s.mu.byCount[i].ch == w.ch {
				s.mu.byCount = append(s.mu.byCount[:i], s.mu.byCount[i+1:]...)
				break
			}
		}
		if s.mu.order.n >= w.n {
			return nil // the same context ended the calls: their slots say so, one by one
		}
		return fmt.Errorf("%d of %d answers of %v are there: %w", s.mu.order.n, w.n, s.method, ended(ctx))
	}
}

// subscribe makes w count the completion of slot i, and reports false if that has happened already.
func (s *Slots) subscribe(i int, w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.results.pending(uint32(i)) {
		return false
	}
	if s.mu.bySlot == nil {
		s.mu.bySlot = map[uint32][]*waiter{}
	}
	s.mu.bySlot[uint32(i)] = append(s.mu.bySlot[uint32(i)], w)
	return true
}

func (s *Slots) unsubscribe(i int, w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ws := slices.DeleteFunc(s.mu.bySlot[uint32(i)], func(x *waiter) bool { return x == w })
	if len(ws) == 0 {
		delete(s.mu.bySlot, uint32(i))
		return
	}
	s.mu.bySlot[uint32(i)] = ws
}
