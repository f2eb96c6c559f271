// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package invariants holds checks that are compiled in only under the build tag invariants and cost nothing without it.
// They make misuse of released memory and of closed values fail loudly in tests.
//
//	type frame struct {
//		closed invariants.CloseChecker
//		buf    []byte
//	}
//
//	func (f *frame) release() {
//		f.closed.Close()             // a second release panics with both stacks
//		invariants.Mangle(f.buf)     // a reader that kept the buffer sees garbage
//		if invariants.Enabled {
//			f.checkLinks()           // removed by the compiler without the tag
//		}
//	}
//
// Concurrency: Mangle writes to its argument, so the caller must own it; a CloseChecker may be used from any number of
// goroutines. Memory: nothing is kept but the stack of the first Close. Failure: a broken invariant panics, for it is an
// error of this library and never of its user. Without the tag a CloseChecker has no size; do not make it the last field of
// a struct, where Go pads it. Test kit: none, the package is one; make test-full runs all tests under the tag.
package invariants
