// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

// LinearWindow is how many ranks may send to the root of a linear gather at once, and how many messages of a root of a linear
// scatter may be under way.
const LinearWindow = 16

// LinearGather copies block b from rank b to root, for every b, without ranks in between. There are as many blocks as ranks. The
// first LinearWindow ranks after the root send at once. Each other waits for a signal, which the root sends when it has what
// was sent before that: so at most LinearWindow blocks come to it at a time. Rounds: ranks-1.
func LinearGather(ranks, rank, root int) Schedule {
	check(ranks, rank, root)
	s := Schedule{Ranks: ranks, Rank: rank, Blocks: ranks, Rounds: ranks - 1}
	at := func(place int) int { return (root + place) % ranks }
	if rank == root {
		s.steps = ranks - 1
		s.at = func(i int) Step {
			st := Step{Round: i, Send: nothing(), Recv: Transfer{Peer: at(i + 1), Blocks: block(at(i + 1))}}
			if i > 0 && i+LinearWindow < ranks { // those of places 1 to i have come
				st.Send = Transfer{Peer: at(i + LinearWindow)}
			}
			return st
		}
		return s
	}
	place := (rank - root + ranks) % ranks
	steps := []Step{{Round: place - 1, Send: Transfer{Peer: root, Blocks: block(rank)}, Recv: nothing()}}
	if place > LinearWindow {
		steps = []Step{{Round: place - LinearWindow, Send: nothing(), Recv: Transfer{Peer: root}}, steps[0]}
	}
	s.steps = len(steps)
	s.at = func(i int) Step { return steps[i] }
	return s
}

// LinearScatter copies block b from root to rank b, for every b, without ranks in between. There are as many blocks as ranks.
// Rounds: ranks-1.
func LinearScatter(ranks, rank, root int) Schedule {
	check(ranks, rank, root)
	s := Schedule{Ranks: ranks, Rank: rank, Blocks: ranks, Rounds: ranks - 1, Window: LinearWindow}
	if rank == root {
		s.steps = ranks - 1
		s.at = func(i int) Step {
			to := (root + i + 1) % ranks
			return Step{Round: i, Send: Transfer{Peer: to, Blocks: block(to)}, Recv: nothing()}
		}
		return s
	}
	s.steps = 1
	s.at = func(int) Step {
		return Step{Round: (rank-root+ranks)%ranks - 1, Send: nothing(), Recv: Transfer{Peer: root, Blocks: block(rank)}}
	}
	return s
}

// DirectAllGather copies block b from rank b to all ranks, for every b, without ranks in between: everyone sends to everyone. There
// are as many blocks as ranks. The longest way is one message. Rounds: ranks-1, none of which waits for another.
func DirectAllGather(ranks, rank int) Schedule {
	check(ranks, rank, 0)
	return Schedule{
		Ranks: ranks, Rank: rank, Blocks: ranks, Rounds: ranks - 1, Turn: 1, steps: ranks - 1,
		at: func(i int) Step {
			to, from := (rank+i+1)%ranks, (rank-i-1+ranks)%ranks
			return Step{Round: i, Send: Transfer{Peer: to, Blocks: block(rank)}, Recv: Transfer{Peer: from, Blocks: block(from)}}
		},
	}
}

// DisseminationBarrier moves no data: when a rank has run its steps, every rank has begun. In round k each rank signals to the
// rank 2^k above and hears from the rank 2^k below, and so, indirectly, from the 2^(k+1)-1 ranks below. Rounds:
// ceil(log2 ranks).
func DisseminationBarrier(ranks, rank int) Schedule {
	check(ranks, rank, 0)
	return Schedule{
		Ranks: ranks, Rank: rank, Rounds: Rounds(ranks), Turn: 1, steps: Rounds(ranks),
		at: func(k int) Step {
			return Step{Round: k, Send: Transfer{Peer: (rank + 1<<k) % ranks}, Recv: Transfer{Peer: (rank - 1<<k + ranks) % ranks}}
		},
	}
}
