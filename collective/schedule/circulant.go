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
// or a rack, little leaves it. That is the near-heavy order. In the far-heavy one the distances are N halved again and again,
// rounded up, and the blocks of a message follow each other; but the longest messages go farthest.

// circulantStep returns the part of rank in the round of skip 2^k: what it sends up, what it receives from below.
func circulantStep(ranks, rank, k int) (up, below Transfer) {
	skip := 1 << k
	count := (ranks - skip + 2*skip - 1) / (2 * skip) // offsets below ranks whose lowest set bit is k
	above, under := (rank+skip)%ranks, (rank-skip+ranks)%ranks
	up = Transfer{Peer: above, Blocks: Blocks{First: above, Stride: 2 * skip % ranks, Count: count}}
	below = Transfer{Peer: under, Blocks: Blocks{First: rank, Stride: 2 * skip % ranks, Count: count}}
	return up, below
}

// farStep is circulantStep in the far-heavy order. The offsets from ceil(N/2^(k+1)) up to before ceil(N/2^k) leave in round k.
func farStep(ranks, rank, k int) (up, below Transfer) {
	halved := func(k int) int { return (ranks + 1<<k - 1) >> k }
	skip := halved(k + 1)
	count := halved(k) - skip
	above, under := (rank+skip)%ranks, (rank-skip+ranks)%ranks
	up = Transfer{Peer: above, Blocks: Blocks{First: above, Stride: 1 % ranks, Count: count}}
	below = Transfer{Peer: under, Blocks: Blocks{First: rank, Stride: 1 % ranks, Count: count}}
	return up, below
}

func circulant(ranks, rank int, part func(ranks, rank, k int) (up, below Transfer)) Schedule {
	check(ranks, rank, 0)
	q := Rounds(ranks)
	s := Schedule{Ranks: ranks, Rank: rank, Blocks: ranks, Rounds: q, Turn: 1, steps: q}
	s.at = func(k int) Step {
		up, below := part(ranks, rank, k)
		return Step{Round: k, Send: up, Recv: below, Reduce: true, Final: k == q-1}
	}
	return s
}

// CirculantReduceScatter combines block b of all ranks at rank b, for every b. There are as many blocks as ranks. Blocks of
// other ranks hold partial results afterwards. Rounds: ceil(log2 ranks).
func CirculantReduceScatter(ranks, rank int) Schedule { return circulant(ranks, rank, circulantStep) }

// CirculantAllGather copies block b from rank b to all ranks, for every b: the reduce-scatter run backwards. There are as
// many blocks as ranks. Rounds: ceil(log2 ranks).
func CirculantAllGather(ranks, rank int) Schedule {
	return circulant(ranks, rank, circulantStep).backwards(false)
}

// CirculantAllReduce combines all blocks of all ranks at all ranks: a reduce-scatter followed by an all-gather. There are
// as many blocks as ranks. Rounds: 2*ceil(log2 ranks).
func CirculantAllReduce(ranks, rank int) Schedule {
	return CirculantReduceScatter(ranks, rank).Then(CirculantAllGather(ranks, rank))
}

// FarReduceScatter is CirculantReduceScatter in the far-heavy order: for networks without bottlenecks between racks.
func FarReduceScatter(ranks, rank int) Schedule { return circulant(ranks, rank, farStep) }

// FarAllGather is CirculantAllGather in the far-heavy order.
func FarAllGather(ranks, rank int) Schedule { return circulant(ranks, rank, farStep).backwards(false) }

// FarAllReduce is CirculantAllReduce in the far-heavy order.
func FarAllReduce(ranks, rank int) Schedule {
	return FarReduceScatter(ranks, rank).Then(FarAllGather(ranks, rank))
}

// CirculantReduce combines all blocks of all ranks at root: a reduce-scatter followed by a gather. There are as many blocks as
// ranks; those of other ranks hold partial results afterwards. Rounds: 2*ceil(log2 ranks).
func CirculantReduce(ranks, rank, root int) Schedule {
	return CirculantReduceScatter(ranks, rank).Then(BinomialGather(ranks, rank, root))
}

// ScatterBroadcast copies all blocks of root to all ranks: a binomial scatter followed by an all-gather. There are as many blocks
// as ranks. Rounds: 2*ceil(log2 ranks).
func ScatterBroadcast(ranks, rank, root int) Schedule {
	return BinomialScatter(ranks, rank, root).Then(CirculantAllGather(ranks, rank))
}
