// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build invariants

package arrowstore

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// leakCheck panics when an Object becomes unreachable without having been released, with the stack that made it.
type leakCheck struct{ cleanup runtime.Cleanup }

func (c *leakCheck) start(o *Object) {
	c.cleanup = runtime.AddCleanup(o, leaked, string(debug.Stack()))
}

func leaked(stack string) {
	panic(fmt.Sprintf("arrowstore: an Object was never released; it was made by\n%s", stack))
}

func (c *leakCheck) stop() { c.cleanup.Stop() }
