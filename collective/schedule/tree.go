// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

import "math/bits"

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
