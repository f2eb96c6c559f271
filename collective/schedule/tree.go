// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"math/bits"
	"slices"
)

// BinomialBroadcast copies the one block of root to all ranks. In round k the 2^k ranks that have it each send it to one that
// has not, 2^k ranks above. Rounds: ceil(log2 ranks).
func BinomialBroadcast(ranks, rank, root int) Schedule {
	check(ranks, rank, root)
	s := Schedule{Ranks: ranks, Rank: rank, Blocks: 1}
	all := Blocks{First: 0, Stride: 0, Count: 1}
	place := (rank - root + ranks) % ranks // places are ranks counted from the root
	first := bits.Len(uint(place))         // the first round in which this rank has the block
	if place > 0 {
		above := (rank - 1<<(first-1) + ranks) % ranks
		s.Steps = append(s.Steps, Step{Round: first - 1, Send: Transfer{Peer: None}, Recv: Transfer{Peer: above, Blocks: all}})
	}
	for k := first; k < Rounds(ranks) && place+1<<k < ranks; k++ {
		s.Steps = append(s.Steps, Step{
			Round: k,
			Send:  Transfer{Peer: (rank + 1<<k) % ranks, Blocks: all},
			Recv:  Transfer{Peer: None},
		})
	}
	return s
}

// The trees below are the broadcast's backwards, but lowest bit first: place p, counted from the root, stands for the places
// from p up to p plus its lowest set bit. So neighbours come together first, and what has to travel far is little or late.

// span returns how many places the part of a tree has that hangs at a place, once it has heard from the places below skip.
func span(ranks, place, skip int) int { return min(skip, ranks-place) }

// BinomialReduce combines the one block of all ranks at root. Blocks of other ranks hold partial results afterwards. If root is
// 0, contributions are combined in the order of ranks. Rounds: ceil(log2 ranks).
func BinomialReduce(ranks, rank, root int) Schedule {
	s := gather(ranks, rank, root, func(int, int) Blocks { return Blocks{First: 0, Stride: 0, Count: 1} })
	s.Blocks = 1
	for i := range s.Steps {
		s.Steps[i].Reduce = s.Steps[i].Recv.Peer != None
	}
	return s
}

// BinomialGather copies block b from rank b to root, for every b. There are as many blocks as ranks; a rank that is not the
// root passes on the blocks of the ranks behind it: those that it receives, and its own in front of them. Rounds:
// ceil(log2 ranks).
func BinomialGather(ranks, rank, root int) Schedule {
	return gather(ranks, rank, root, func(first, count int) Blocks { return Blocks{First: first, Stride: 1 % ranks, Count: count} })
}

// gather goes from the leaves to the root. blocks names what travels for count ranks from first on.
func gather(ranks, rank, root int, blocks func(first, count int) Blocks) Schedule {
	check(ranks, rank, root)
	s := Schedule{Ranks: ranks, Rank: rank, Blocks: ranks}
	place := (rank - root + ranks) % ranks
	for k := range Rounds(ranks) {
		skip := 1 << k
		st := Step{Round: k, Send: Transfer{Peer: None}, Recv: Transfer{Peer: None}}
		switch {
		case place&skip != 0:
			below := (rank - skip + ranks) % ranks
			st.Send = Transfer{Peer: below, Blocks: blocks(rank, span(ranks, place, skip))}
			s.Steps = append(s.Steps, st)
			return s
		case place+skip < ranks:
			above := (rank + skip) % ranks
			st.Recv = Transfer{Peer: above, Blocks: blocks(above, span(ranks, place+skip, skip))}
			s.Steps = append(s.Steps, st)
		}
	}
	return s
}

// BinomialScatter copies block b from root to rank b, for every b: the gather run backwards. Rounds: ceil(log2 ranks).
func BinomialScatter(ranks, rank, root int) Schedule {
	s := BinomialGather(ranks, rank, root)
	slices.Reverse(s.Steps)
	for i, st := range s.Steps {
		s.Steps[i] = Step{Round: Rounds(ranks) - 1 - st.Round, Send: st.Recv, Recv: st.Send}
	}
	return s
}

// DisseminationBarrier moves no data: when a rank has run its steps, every rank has begun. In round k each rank sends to the
// rank 2^k above and hears from the rank 2^k below, and so, indirectly, from the 2^(k+1)-1 ranks below. Rounds:
// ceil(log2 ranks).
func DisseminationBarrier(ranks, rank int) Schedule {
	check(ranks, rank, 0)
	s := Schedule{Ranks: ranks, Rank: rank}
	for k := range Rounds(ranks) {
		s.Steps = append(s.Steps, Step{
			Round: k,
			Send:  Transfer{Peer: (rank + 1<<k) % ranks},
			Recv:  Transfer{Peer: (rank - 1<<k + ranks) % ranks},
		})
	}
	return s
}
