// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import "sync/atomic"

// hold counts who still needs something: its owner, and the calls under way that name it in their messages. Nodes
// look an object up when the message arrives, so it must not be deleted before they have answered.
type hold struct {
	users    atomic.Int64 // 0 once freed
	released atomic.Bool  // the owner has let go
	free     func()
}

// newHold returns a hold that the owner has.
func newHold(free func()) *hold {
	h := &hold{free: free}
	h.users.Store(1)
	return h
}

// retain adds a user, and reports false if the owner has let go.
func (h *hold) retain() bool {
	for {
		n := h.users.Load()
		if n == 0 || h.released.Load() {
			return false
		}
		if h.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// done takes a user out that retain has added.
func (h *hold) done() {
	if h.users.Add(-1) == 0 {
		h.free()
	}
}

// release is the owner letting go. Calling it again has no effect.
func (h *hold) release() {
	if h.released.CompareAndSwap(false, true) {
		h.done()
	}
}
