// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

// The circulant family. Call block (r+i) mod N the block at offset i of rank r. A contribution at offset i has to travel i
// ranks upwards to the owner of its block, and goes there in powers of two: lowest set bit first. So in round k each rank
// sends all offsets whose lowest set bit is k to the rank 2^k above, where they arrive at offset i-2^k, whose lowest set bit
// is higher: they are combined there and leave in a later round. After ceil(log2 N) rounds offset 0 holds all
// contributions, for any N, and each rank has sent, received and combined exactly N-1 blocks.
//
// Half of all data moves between neighbours, a quarter over distance two, and so on: where neighbouring ranks share a node
// or a rack, little leaves it.

// circulantStep returns the part of rank in the round of skip 2^k: what it sends up, what it receives from below.
func circulantStep(ranks, rank, k int) (up, below Transfer) {
	skip := 1 << k
	count := (ranks - skip + 2*skip - 1) / (2 * skip) // offsets below ranks whose lowest set bit is k
	above, under := (rank+skip)%ranks, (rank-skip+ranks)%ranks
	up = Transfer{Peer: above, Blocks: Blocks{First: above, Stride: 2 * skip % ranks, Count: count}}
	below = Transfer{Peer: under, Blocks: Blocks{First: rank, Stride: 2 * skip % ranks, Count: count}}
	return up, below
}

// CirculantReduceScatter combines block b of all ranks at rank b, for every b. There are as many blocks as ranks. Blocks of
// other ranks hold partial results afterwards. Rounds: ceil(log2 ranks).
func CirculantReduceScatter(ranks, rank int) Schedule {
	check(ranks, rank, 0)
	s := Schedule{Ranks: ranks, Rank: rank, Blocks: ranks}
	for k := range Rounds(ranks) {
		up, below := circulantStep(ranks, rank, k)
		s.Steps = append(s.Steps, Step{Round: k, Send: up, Recv: below, Reduce: true})
	}
	return s
}

// CirculantAllGather copies block b from rank b to all ranks, for every b: the reduce-scatter run backwards. There are as
// many blocks as ranks. Rounds: ceil(log2 ranks).
func CirculantAllGather(ranks, rank int) Schedule {
	check(ranks, rank, 0)
	s := Schedule{Ranks: ranks, Rank: rank, Blocks: ranks}
	q := Rounds(ranks)
	for round := range q {
		up, below := circulantStep(ranks, rank, q-1-round)
		s.Steps = append(s.Steps, Step{Round: round, Send: below, Recv: up})
	}
	return s
}

// CirculantAllReduce combines all blocks of all ranks at all ranks: a reduce-scatter followed by an all-gather. There are
// as many blocks as ranks. Rounds: 2*ceil(log2 ranks).
func CirculantAllReduce(ranks, rank int) Schedule {
	s := CirculantReduceScatter(ranks, rank)
	for _, step := range CirculantAllGather(ranks, rank).Steps {
		step.Round += Rounds(ranks)
		s.Steps = append(s.Steps, step)
	}
	return s
}

// CirculantReduce combines all blocks of all ranks at root: a reduce-scatter followed by a gather. There are as many blocks as
// ranks; those of other ranks hold partial results afterwards. Rounds: 2*ceil(log2 ranks).
func CirculantReduce(ranks, rank, root int) Schedule {
	s := CirculantReduceScatter(ranks, rank)
	for _, step := range BinomialGather(ranks, rank, root).Steps {
		step.Round += Rounds(ranks)
		s.Steps = append(s.Steps, step)
	}
	return s
}
