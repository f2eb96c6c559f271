// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import "github.com/tutti-go/tutti/collective/schedule"

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

// exchange is memory of one rank in an all-to-all: block s*row+i goes from rank s to the rank i above. Blocks that are only on
// their way have memory of their own, all as long as the longest.
type exchange struct {
	rank, ranks, row int
	in               *pieces // by receiver
	out              *pieces // by sender
	passing          map[int][]byte
}

func newExchange(s schedule.Schedule, in, out *pieces) *exchange {
	x := &exchange{rank: s.Rank, ranks: s.Ranks, row: s.Blocks / s.Ranks, in: in, out: out}
	x.passing = map[int][]byte{}
	longest := len(in.block(s.Rank)) // of blocks of one length
	for _, st := range s.Steps() {
		for b := range st.Recv.Blocks.All(s.Blocks) {
			if from, i := b/x.row, b%x.row; i < s.Ranks && (from+i)%s.Ranks != s.Rank { // none in pairs
				x.passing[b] = nil
			}
		}
	}
	memory := make([]byte, longest*len(x.passing))
	for b := range x.passing {
		x.passing[b], memory = memory[:longest:longest], memory[longest:]
	}
	return x
}

func (x *exchange) block(b int) []byte {
	from, i := b/x.row, b%x.row
	switch to := (from + i) % x.ranks; {
	case i >= x.ranks: // there is no such rank
		return nil
	case from == x.rank:
		return x.in.block(to)
	case to == x.rank:
		return x.out.block(from)
	}
	return x.passing[b]
}

// duplex is memory of two blocks: what is sent and what is received.
type duplex [2][]byte

func (d duplex) block(i int) []byte { return d[i] }
