// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

// PairwiseAllToAll copies block s*ranks+d from rank s to rank d, for every s and d: there are as many blocks as pairs of ranks.
// The block of a rank for itself stays where it is. In round k each rank sends to the rank k+1 above and receives from the
// rank k+1 below, so that every block travels once. Rounds: ranks-1.
func PairwiseAllToAll(ranks, rank int) Schedule {
	check(ranks, rank, 0)
	s := Schedule{Ranks: ranks, Rank: rank, Blocks: ranks * ranks}
	for k := 1; k < ranks; k++ {
		to, from := (rank+k)%ranks, (rank-k+ranks)%ranks
		s.Steps = append(s.Steps, Step{
			Round: k - 1,
			Send:  Transfer{Peer: to, Blocks: Blocks{First: rank*ranks + to, Stride: 0, Count: 1}},
			Recv:  Transfer{Peer: from, Blocks: Blocks{First: from*ranks + rank, Stride: 0, Count: 1}},
		})
	}
	return s
}
