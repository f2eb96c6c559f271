// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

// memory is what the blocks of a schedule stand for at one rank. Only blocks that the schedule names for this rank exist.
type memory interface {
	block(i int) []byte
}

// even is memory cut into blocks of whole elements that are as long as each other, or nearly: block b of n begins at element
// count*b/n.
type even struct {
	bytes  []byte
	size   int // bytes per element
	count  int // elements
	blocks int
}

func evenly[T Element](s []T, blocks int) *even {
	b := bytesOf(s)
	return &even{bytes: b, size: len(b) / max(len(s), 1), count: len(s), blocks: blocks}
}

func (e *even) block(i int) []byte {
	// In two steps, for count*i may be more than an int holds.
	at := func(i int) int { return (e.count/e.blocks*i + e.count%e.blocks*i/e.blocks) * e.size }
	return e.bytes[at(i):at(i+1)]
}

// pieces is memory with one block for each of some ranks that follow each other, of any length.
type pieces struct {
	bytes []byte
	first int   // rank whose block is the first
	ranks int   // in the group, after which they begin anew
	ends  []int // of the blocks, in bytes, behind a 0
}

// split cuts bytes into blocks for the ranks from first on. length tells how many bytes the block of a rank has.
func split(bytes []byte, first, count, ranks int, length func(rank int) int) *pieces {
	p := &pieces{bytes: bytes, first: first, ranks: ranks, ends: make([]int, 1, count+1)}
	for i := range count {
		p.ends = append(p.ends, p.ends[i]+length((first+i)%ranks))
	}
	return p
}

func (p *pieces) block(i int) []byte {
	at := (i - p.first + p.ranks) % p.ranks
	return p.bytes[p.ends[at]:p.ends[at+1]]
}

// length returns how many bytes all blocks have.
func (p *pieces) length() int { return p.ends[len(p.ends)-1] }

// exchange is memory of one rank in an all-to-all: block s*ranks+d goes from rank s to rank d.
type exchange struct {
	rank int
	in   *pieces // by receiver
	out  *pieces // by sender
}

func (x *exchange) block(i int) []byte {
	s, d := i/x.in.ranks, i%x.in.ranks
	if s == x.rank {
		return x.in.block(d)
	}
	return x.out.block(s)
}

// duplex is memory of two blocks: what is sent and what is received.
type duplex [2][]byte

func (d duplex) block(i int) []byte { return d[i] }
