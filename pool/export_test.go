// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"time"

	"github.com/tutti-go/tutti/core"
)

// WatchSilence watches what nodes says in place of the system's own nodes, until the pool is closed. The pool must have been given a long
// Quarantine.
func WatchSilence[A any](p *Pool[A], nodes func() []core.NodeInfo, after time.Duration) {
	p.sched.wg.Go(func() { p.sched.watchSilence(nodes, after) })
}
