// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"sync"

	"github.com/tutti-go/tutti/internal/wire"
)

const (
	// defaultInFlight is the bound of InFlight that holds unless another is given.
	defaultInFlight = 256 << 20
	// slotCharge is what one slot of a call counts as: about what it takes at its node while it waits.
	slotCharge = 64
)

// window bounds the bytes of calls that one node was sent and has not answered. Whoever wants more waits, in the order of coming.
type window struct {
	limit int64
	mu    struct {
		sync.Mutex
		used    int64
		waiting []*ticket
	}
}

type ticket struct {
	bytes int64
	ready chan struct{} // closed when the bytes were taken for it
}

// acquire takes bytes, waiting for room. What exceeds the bound by itself is let in when nothing else is there.
func (w *window) acquire(ctx context.Context, bytes int64) error {
	w.mu.Lock()
	if len(w.mu.waiting) == 0 && w.fitsLocked(bytes) {
		w.mu.used += bytes
		w.mu.Unlock()
		return nil
	}
	t := &ticket{bytes, make(chan struct{})}
	w.mu.waiting = append(w.mu.waiting, t)
	w.mu.Unlock()
	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, other := range w.mu.waiting {
		if other == t {
			w.mu.waiting = append(w.mu.waiting[:i], w.mu.waiting[i+1:]...)
			w.admitLocked() // those behind it may fit
			return fmt.Errorf("wait for room: %d bytes of calls are under way to the node, the bound is %d: %w", w.mu.used, w.limit, ended(ctx))
		}
	}
	return nil // it was let in at the same time
}

func (w *window) fitsLocked(bytes int64) bool { return w.mu.used == 0 || w.mu.used+bytes <= w.limit }

func (w *window) release(bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.used -= bytes
	w.admitLocked()
}

func (w *window) admitLocked() {
	for len(w.mu.waiting) > 0 && w.fitsLocked(w.mu.waiting[0].bytes) {
		t := w.mu.waiting[0]
		w.mu.waiting = w.mu.waiting[1:]
		w.mu.used += t.bytes
		close(t.ready)
	}
}

// windowLocked returns the window of a node.
func (s *System) windowLocked(node uint32) *window {
	w := s.windows.byNode[node]
	if w == nil {
		w = &window{limit: s.windows.limit}
		s.windows.byNode[node] = w
	}
	return w
}

// inFlight is how many bytes of calls are under way to all nodes.
func (s *System) inFlight() int64 {
	s.windows.Lock()
	defer s.windows.Unlock()
	var sum int64
	for _, w := range s.windows.byNode {
		w.mu.Lock()
		sum += w.mu.used
		w.mu.Unlock()
	}
	return sum
}

// shareState is what becomes of the part of a submission that goes to one node.
type shareState struct {
	order   uint64 // number of its message; 0 until it is taken
	charged int64  // bytes taken from the window of the node; 0 until they are
	left    int    // slots without an answer
}

// chargeAll waits until all messages of a submission may be sent. It comes before anything is sent or numbered, so that nobody waits behind a
// submission that waits, and takes the nodes in the order of their numbers, so that no two submissions wait for each other. What it takes of a node's
// window is given back with the last answer from there, or at once if it fails.
func (s *Slots) chargeAll(ctx context.Context) error {
	for _, i := range s.targets.byNode {
		share := &s.targets.shares[i]
		bytes := int64(wire.HeaderSize+s.arg.sizeFor(share)) + slotCharge*int64(len(share.slots))
		if err := share.window.acquire(ctx, bytes); err != nil {
			s.uncharge()
			return fmt.Errorf("node %d: %w", share.node, err)
		}
		s.mu.shares[i].charged = bytes
	}
	return nil
}

// uncharge gives back what chargeAll has taken.
func (s *Slots) uncharge() {
	for i := range s.mu.shares {
		s.unchargeShare(i)
	}
}

// sizeFor returns how many bytes of argument go to a share in its message.
func (a *argument) sizeFor(s *share) int {
	if a.each == nil {
		return len(a.payload.Data)
	}
	sum := 0
	for _, slot := range s.slots {
		sum += len(a.each[slot].payload.Data)
	}
	return sum
}

// settleLocked counts the completion of a slot.
func (s *Slots) settleLocked(slot uint32) {
	i := uint32(0)
	if s.targets.slotShare != nil {
		i = s.targets.slotShare[slot]
	}
	st := &s.mu.shares[i]
	st.left--
	if st.left == 0 {
		s.unchargeShare(int(i))
	}
}

func (s *Slots) unchargeShare(i int) {
	if bytes := s.mu.shares[i].charged; bytes > 0 {
		s.targets.shares[i].window.release(bytes)
	}
}
