// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

// parts says where the bytes of each of some ranks are in a memory with those of all.
type parts struct {
	n, length int   // of equal parts
	ends      []int // of parts of different lengths, behind a 0; else nil
}

// equalParts are n parts of some bytes.
func equalParts(n, length int) parts { return parts{n: n, length: length} }

// unequalParts are parts with counts of elements of a size.
func unequalParts(counts []int, size int) parts {
	p := parts{n: len(counts), ends: make([]int, 1, len(counts)+1)}
	for i, c := range counts {
		p.ends = append(p.ends, p.ends[i]+c*size)
	}
	return p
}

// at returns where the part of a rank begins, and how many bytes it has.
func (p parts) at(rank int) (begin, length int) {
	if p.ends == nil {
		return rank * p.length, p.length
	}
	return p.ends[rank], p.ends[rank+1] - p.ends[rank]
}

// of returns the part of a rank in a memory with those of all.
func (p parts) of(mem []byte, rank int) []byte {
	begin, length := p.at(rank)
	return mem[begin : begin+length : begin+length]
}

// total returns how many bytes all have.
func (p parts) total() int {
	if p.ends == nil {
		return p.n * p.length
	}
	return p.ends[p.n]
}

// bytes returns how many bytes some ranks have.
func (p parts) bytes(ranks []int) int {
	total := 0
	for _, rank := range ranks {
		_, length := p.at(rank)
		total += length
	}
	return total
}

// among returns the parts of some ranks, in a memory with theirs alone.
func (p parts) among(ranks []int) parts {
	if p.ends == nil {
		return equalParts(len(ranks), p.length)
	}
	q := parts{n: len(ranks), ends: make([]int, 1, len(ranks)+1)}
	for i, rank := range ranks {
		_, length := p.at(rank)
		q.ends = append(q.ends, q.ends[i]+length)
	}
	return q
}
