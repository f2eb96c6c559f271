// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

// All-to-alls. Block s*row+i goes from rank s to the rank i above it, where row is the schedule's number of blocks for each rank.

// PairwiseWindow is how many pairs of a rank may be under way at once in an all-to-all.
const PairwiseWindow = 16

// PairwiseAllToAll copies block s*ranks+i from rank s to the rank i above, for every s and i: there are as many blocks as pairs of
// ranks. The block of a rank for itself stays where it is. In round k each rank sends to the rank k+1 above and receives from the
// rank k+1 below, so that every block travels once; PairwiseWindow of these may be under way at once. Rounds: ranks-1.
func PairwiseAllToAll(ranks, rank int) Schedule {
	check(ranks, rank, 0)
	return Schedule{
		Ranks: ranks, Rank: rank, Blocks: ranks * ranks, Rounds: ranks - 1, Turn: ranks, Window: PairwiseWindow, steps: ranks - 1,
		at: func(i int) Step {
			to, from := (rank+i+1)%ranks, (rank-i-1+ranks)%ranks
			return Step{
				Round: i,
				Send:  Transfer{Peer: to, Blocks: block(rank*ranks + i + 1)},
				Recv:  Transfer{Peer: from, Blocks: block(from*ranks + i + 1)},
			}
		},
	}
}

// BruckRow returns the number of blocks for each rank in BruckAllToAll: ranks rounded up to a power of two, so that rows of a
// message are as long as each other. The blocks for which there is no rank are empty.
func BruckRow(ranks int) int { return 1 << Rounds(ranks) }

// BruckAllToAll copies block s*row+i from rank s to the rank i above, for every s and i; see BruckRow. Blocks go through ranks
// in between: in round k each rank passes on to the rank 2^k above all blocks that it has and whose i has bit k set. Each so
// travels in as many messages as its i has bits, in the company of a quarter of all blocks of a rank, or half. Rounds:
// ceil(log2 ranks).
func BruckAllToAll(ranks, rank int) Schedule {
	check(ranks, rank, 0)
	row, q := BruckRow(ranks), Rounds(ranks)
	total := ranks * row
	// What stands at a rank before round k are blocks of the ranks c below it whose i has c in its bits below k.
	set := func(rank, k int) Blocks {
		return Blocks{
			First: (rank*row + 1<<k) % total, Stride: 2 << k % total, Count: row >> (k + 1),
			Groups: 1 << k, Jump: (total - row + 1) % total,
		}
	}
	return Schedule{
		Ranks: ranks, Rank: rank, Blocks: total, Rounds: q, Turn: row, steps: q,
		at: func(k int) Step {
			to, from := (rank+1<<k)%ranks, (rank-1<<k+ranks)%ranks
			return Step{Round: k, Send: Transfer{Peer: to, Blocks: set(rank, k)}, Recv: Transfer{Peer: from, Blocks: set(from, k)}}
		},
	}
}
