// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

// The k-nomial trees. Number the ranks from the root on: a rank's place. Written in base k, the parent of a place is the place with
// its lowest digit that is not 0 made 0; so a place stands for all places from it on that differ in lower digits only.
// Neighbours come together first, and what has to travel far is little or late. A level of the tree takes k-1 rounds, for a
// rank sends or receives one message in each. A higher k makes the tree flatter: fewer messages one after the other on the
// longest way, more of them at one rank.

// levels returns the number of digits of ranks-1 in base radix.
func levels(ranks, radix int) int {
	n := 0
	for span := 1; span < ranks; span *= radix {
		n++
	}
	return n
}

// knomial goes from the leaves to the root. blocks names what travels for count ranks from first on.
func knomial(ranks, rank, root, radix int, blocks func(first, count int) Blocks) Schedule {
	check(ranks, rank, root)
	if radix < 2 {
		panic("schedule: a tree of radix below 2")
	}
	place := (rank - root + ranks) % ranks
	var steps []Step
	level := 0
	for span := 1; span < ranks; span *= radix {
		round := level * (radix - 1)
		if digit := place / span % radix; digit > 0 {
			below := (rank - digit*span + ranks) % ranks
			steps = append(steps, Step{
				Round: round + digit - 1,
				Send:  Transfer{Peer: below, Blocks: blocks(rank, min(span, ranks-place))},
				Recv:  nothing(),
			})
			break
		}
		for digit := 1; digit < radix && place+digit*span < ranks; digit++ {
			above := (rank + digit*span) % ranks
			steps = append(steps, Step{
				Round: round + digit - 1,
				Send:  nothing(),
				Recv:  Transfer{Peer: above, Blocks: blocks(above, min(span, ranks-place-digit*span))},
			})
		}
		level++
	}
	return Of(ranks, rank, ranks, levels(ranks, radix)*(radix-1), steps...)
}

// whole names the one block there is.
func whole(int, int) Blocks { return block(0) }

// KnomialReduce combines the one block of all ranks at root. Blocks of other ranks hold partial results afterwards. If root is
// 0, contributions are combined in the order of ranks. Rounds: (radix-1)*ceil(log ranks) to base radix.
func KnomialReduce(ranks, rank, root, radix int) Schedule {
	s := knomial(ranks, rank, root, radix, whole)
	s.Blocks = 1
	up, last := s.at, s.steps-1
	s.at = func(i int) Step {
		st := up(i)
		st.Reduce = st.Recv.Peer != None
		st.Final = st.Reduce && rank == root && i == last
		return st
	}
	return s
}

// KnomialBroadcast copies the one block of root to all ranks: the reduce run backwards, so that the first messages go far and the
// last to neighbours. Rounds: (radix-1)*ceil(log ranks) to base radix.
func KnomialBroadcast(ranks, rank, root, radix int) Schedule {
	s := knomial(ranks, rank, root, radix, whole)
	s.Blocks = 1
	return s.backwards(false)
}

// KnomialGather copies block b from rank b to root, for every b. There are as many blocks as ranks; a rank that is not the
// root passes on the blocks of the ranks behind it: those that it receives, and its own in front of them. Rounds:
// (radix-1)*ceil(log ranks) to base radix.
func KnomialGather(ranks, rank, root, radix int) Schedule {
	return knomial(ranks, rank, root, radix, func(first, count int) Blocks { return Blocks{First: first, Stride: 1 % ranks, Count: count} })
}

// KnomialScatter copies block b from root to rank b, for every b: the gather run backwards.
func KnomialScatter(ranks, rank, root, radix int) Schedule {
	return KnomialGather(ranks, rank, root, radix).backwards(false)
}

// BinomialBroadcast is KnomialBroadcast of radix 2.
func BinomialBroadcast(ranks, rank, root int) Schedule {
	return KnomialBroadcast(ranks, rank, root, 2)
}

// BinomialReduce is KnomialReduce of radix 2.
func BinomialReduce(ranks, rank, root int) Schedule { return KnomialReduce(ranks, rank, root, 2) }

// BinomialGather is KnomialGather of radix 2.
func BinomialGather(ranks, rank, root int) Schedule { return KnomialGather(ranks, rank, root, 2) }

// BinomialScatter is KnomialScatter of radix 2.
func BinomialScatter(ranks, rank, root int) Schedule { return KnomialScatter(ranks, rank, root, 2) }
