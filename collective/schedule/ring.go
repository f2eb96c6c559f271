// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

// The ring: all data moves from each rank to the next. It leaves a rack or a node on one link only, but takes a round for each rank.

func ring(ranks, rank int, step func(t int) Step) Schedule {
	check(ranks, rank, 0)
	return Schedule{Ranks: ranks, Rank: rank, Blocks: ranks, Rounds: ranks - 1, Turn: 1, steps: ranks - 1, at: step}
}

// ringStep sends a block of some distance below the rank to the next one, which receives it from the one before it.
func ringStep(ranks, rank, below int) (send, recv Transfer) {
	at := func(distance int) Blocks { return block((rank - distance + 2*ranks) % ranks) }
	return Transfer{Peer: (rank + 1) % ranks, Blocks: at(below)}, Transfer{Peer: (rank - 1 + ranks) % ranks, Blocks: at(below + 1)}
}

// RingReduceScatter combines block b of all ranks at rank b, for every b. There are as many blocks as ranks. Rounds: ranks-1.
func RingReduceScatter(ranks, rank int) Schedule {
	return ring(ranks, rank, func(t int) Step {
		send, recv := ringStep(ranks, rank, t+1)
		return Step{Round: t, Send: send, Recv: recv, Reduce: true, Final: t == ranks-2}
	})
}

// RingAllGather copies block b from rank b to all ranks, for every b. There are as many blocks as ranks. Rounds: ranks-1.
func RingAllGather(ranks, rank int) Schedule {
	return ring(ranks, rank, func(t int) Step {
		send, recv := ringStep(ranks, rank, t)
		return Step{Round: t, Send: send, Recv: recv}
	})
}

// RingAllReduce combines all blocks of all ranks at all ranks. There are as many blocks as ranks. Rounds: 2*(ranks-1).
func RingAllReduce(ranks, rank int) Schedule {
	return RingReduceScatter(ranks, rank).Then(RingAllGather(ranks, rank))
}
