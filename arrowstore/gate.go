// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import "sync/atomic"

// gate counts the users of something that can be shut: once shut nobody new enters, and whoever makes it both shut and
// empty, the last user or the one who shut it, is told so exactly once and tears down.
type gate struct{ word atomic.Int64 } // users<<1 | shut

func (g *gate) enter() bool {
	for {
		w := g.word.Load()
		if w&1 != 0 {
			return false
		}
		if g.word.CompareAndSwap(w, w+2) {
			return true
		}
	}
}

// leave reports whether the gate is now shut and empty.
func (g *gate) leave() (last bool) { return g.word.Add(-2) == 1 }

// shut reports whether this call was the one that shut the gate, and whether it was empty then.
func (g *gate) shut() (first, empty bool) {
	old := g.word.Or(1)
	return old&1 == 0, old>>1 == 0
}
