// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import "unsafe"

// Whose doing it is when a round fails.

// compare compares the call of a member that comes with that of who came first. The error is a mismatch.
func (r *round) compare(m *member) *ending {
	ours, theirs := r.called, m.heap.now.descriptor
	switch {
	case r.seq != m.mu.seq: // one of them had an operation before that was messages
		return mismatch("operation %d: rank %d called %v, but rank %d called %v as its operation %d", r.seq, r.first, ours, m.rank, theirs, m.mu.seq)
	case !ours.same(theirs):
		return mismatch("operation %d: rank %d called %v, rank %d called %v", r.seq, r.first, ours, m.rank, theirs)
	case r.math.custom != nil:
		return r.compareFunctions(m, ours)
	default:
		return nil
	}
}

// compareFunctions compares the function of a member that comes with that of who came first, for one of them does it for all.
func (r *round) compareFunctions(m *member, ours descriptor) *ending {
	first, own := r.math.custom.declared(), m.heap.now.math.custom.declared()
	if first == own || first == "" || own == "" {
		return nil
	}
	return mismatch("operation %d: %v: rank %d reduces by %s, rank %d by %s", r.seq, ours, r.first, first, m.rank, own)
}

// faulted returns the rank in whose memory a panic was a fault, if it was one.
func (r *round) faulted(p any) (rank int, ok bool) {
	fault, ok := p.(interface{ Addr() uintptr })
	if !ok {
		return 0, false
	}
	for rank := range r.given {
		for _, b := range [][]byte{r.given[rank].out, r.given[rank].in} {
			if at := fault.Addr() - uintptr(unsafe.Pointer(unsafe.SliceData(b))); at < uintptr(len(b)) {
				return rank, true
			}
		}
	}
	return 0, false
}
