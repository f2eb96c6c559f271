// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build invariants

package invariants

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// Enabled says whether the checks are compiled in. It is a constant, so code behind it disappears without the tag.
const Enabled = true

// mangled is a pattern that is no small number, no valid UTF-8 and a NaN-free but absurd float, so that it is recognised.
const mangled = 0xcc

// Mangle overwrites buf, which its owner has released, so that whoever still reads it fails. It does nothing without the tag.
func Mangle(buf []byte) {
	for i := range buf {
		buf[i] = mangled
	}
}

// CloseChecker panics when the value that holds it is closed twice or used after it was closed. Its zero value is open. It
// must not be copied.
type CloseChecker struct {
	mu struct {
		sync.Mutex

		closedBy []byte
	}
}

// Close records the one permitted closing. A second call panics with the stacks of both.
func (c *CloseChecker) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checkLocked("closed twice")
	c.mu.closedBy = debug.Stack()
}

// AssertOpen panics, with the stack of the Close and of this call, when Close was called before.
func (c *CloseChecker) AssertOpen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checkLocked("used after close")
}

func (c *CloseChecker) checkLocked(what string) {
	if c.mu.closedBy != nil {
		panic(fmt.Sprintf("%s; first closed by:\n%s\nnow by:\n%s", what, c.mu.closedBy, debug.Stack()))
	}
}
