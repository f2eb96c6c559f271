// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import "math/bits"

// bufferSet finds out which buffers are the same: the same address and length. It is a hash table with open addressing,
// which is kept and used again; its zero value is empty.
type bufferSet struct {
	entries []bufferEntry // a power of two, more than half of them free
	used    int
}

type bufferEntry struct {
	at  uintptr
	len int
	n   int // as added, never 0; 0 says that the entry is free
}

const minEntries = 64

// reset empties the set, and gives memory back that few values need.
func (s *bufferSet) reset() {
	if len(s.entries) > 64*minEntries {
		s.entries = nil
	}
	clear(s.entries)
	s.used = 0
}

// add adds a buffer under the number n, which is not 0. If it is there already it returns its number and true.
func (s *bufferSet) add(b []byte, n int) (int, bool) {
	if 2*s.used >= len(s.entries) {
		s.grow()
	}
	e := s.find(address(b), len(b))
	if e.n != 0 {
		return e.n, true
	}
	*e = bufferEntry{at: address(b), len: len(b), n: n}
	s.used++
	return n, false
}

// find returns the entry of a buffer, or the free one that it would get.
func (s *bufferSet) find(at uintptr, n int) *bufferEntry {
	mask := uint64(len(s.entries) - 1)
	// Addresses differ in their middle bits; the multiplication brings them to the top.
	i := (uint64(at) ^ uint64(n)<<40) * 0x9e3779b97f4a7c15 >> (64 - bits.Len64(mask))
	for ; ; i++ {
		e := &s.entries[i&mask]
		if e.n == 0 || e.at == at && e.len == n {
			return e
		}
	}
}

func (s *bufferSet) grow() {
	old := s.entries
	s.entries = make([]bufferEntry, max(minEntries, 2*len(old)))
	for _, e := range old {
		if e.n != 0 {
			*s.find(e.at, e.len) = e
		}
	}
}
