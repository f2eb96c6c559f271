// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

// The pipelined broadcast of n blocks on the circulant graph whose skips are N halved again and again, rounded up. With q =
// ceil(log2 N) it takes n-1+q rounds, the least possible, in each of which every rank sends a block to one rank and receives one
// from another: skip k mod q in round k. A rank's plan for q rounds says which blocks, counted from the phase that begins: in the
// next q rounds it is the same, q blocks further.
//
// Of q rounds in a row each rank receives q different blocks modulo q, and sends only what it has. How the plans are found:
// J. L. Traeff, Optimal Broadcast Schedules in Logarithmic Time (arXiv 2407.18004), whose names are used below.

// halvings returns the skips: skip[q] is ranks, skip[k] half of skip[k+1], rounded up; skip[0] is 1.
func halvings(ranks int) []int {
	skip := make([]int, Rounds(ranks)+1)
	skip[len(skip)-1] = ranks
	for k := len(skip) - 2; k >= 0; k-- {
		skip[k] = (skip[k+1] + 1) / 2
	}
	return skip
}

// baseblock returns the block of the first phase that comes straight down the greedy path from the root to a place: the index
// of the last skip on it.
func baseblock(skip []int, place int) int {
	for k := len(skip) - 2; k >= 0; k-- {
		switch {
		case skip[k] == place:
			return k
		case skip[k] < place:
			place -= skip[k]
		}
	}
	return len(skip) - 1 // of the root itself
}

// finder looks, depth first, for the paths from the root along which the blocks of a phase reach one place. The skips that are
// still to be given a block are in a list, largest first.
type finder struct {
	skip       []int
	place      int
	next, prev []int // by skip index plus 1; index 0 is the list's end
	blocks     []int
}

func (f *finder) remove(e int) {
	f.next[f.prev[e+1]] = f.next[e+1]
	f.prev[f.next[e+1]] = f.prev[e+1]
}

// find goes on from a node that was reached, with the largest skip e that may come next, to fill in blocks from index k on. least
// is the node at which the block before was found.
func (f *finder) find(node, least, e, k int) (int, int) {
	for ; e >= 0; e = f.next[e+1] - 1 {
		to := node + f.skip[e]
		if to > f.place-f.skip[k] || to >= least {
			continue
		}
		if k+1 < len(f.skip) && to <= f.place-f.skip[k+1] {
			k, least = f.find(to, least, e, k)
		}
		if k == len(f.skip)-1 || node > f.place-f.skip[k+1] {
			return k, least
		}
		if to < least && to <= f.place-f.skip[k] {
			least = to
			f.blocks[k] = e
			k++
			f.remove(e)
			if k == len(f.skip)-1 {
				return k, least
			}
		}
	}
	return k, least
}

// receives returns the blocks that a place, counted from the root, receives in the q rounds of a phase: those below 0 belong to the
// phase before, the one that is not to this one.
func receives(ranks, place int) []int {
	skip := halvings(ranks)
	q := len(skip) - 1
	f := &finder{skip: skip, place: ranks + place, next: make([]int, q+2), prev: make([]int, q+2), blocks: make([]int, q)}
	for e := q; e >= 0; e-- {
		f.next[e+1] = e
		f.prev[e+1] = (e + 2) % (q + 2)
	}
	f.next[0], f.prev[0] = q+1, 1
	base := baseblock(skip, place)
	f.remove(base)
	f.find(0, 2*ranks, q, 0)
	for k, b := range f.blocks {
		if b == q {
			f.blocks[k] = base
		} else {
			f.blocks[k] = b - q
		}
	}
	return f.blocks
}

// pipelined is the broadcast of blocks from root, in rounds.
func pipelined(ranks, rank, root, blocks int) Schedule {
	check(ranks, rank, root)
	if blocks < 1 {
		panic("schedule: a pipeline of no blocks")
	}
	if ranks == 1 {
		return Of(ranks, rank, blocks, 0)
	}
	skip := halvings(ranks)
	q := len(skip) - 1
	place := (rank - root + ranks) % ranks
	recv, send := receives(ranks, place), make([]int, q)
	for k := range send {
		send[k] = receives(ranks, (place+skip[k])%ranks)[k]
	}
	rounds := blocks - 1 + q
	void := (q - rounds%q) % q // rounds before the first, so that the last phase is a whole one
	steps := make([]Step, 0, rounds)
	for round := range rounds {
		k, phase := (round+void)%q, (round+void)/q
		part := func(peer, block int, there bool) Transfer {
			if block += phase*q - void; !there || block < 0 {
				return nothing()
			}
			// Of the last phase, one block of each rank would be the last or later: it is the last.
			return Transfer{Peer: (rank + peer + ranks) % ranks, Blocks: Blocks{First: min(block, blocks-1), Count: 1}}
		}
		st := Step{
			Round: round,
			Send:  part(skip[k], send[k], (place+skip[k])%ranks != 0), // the root has all
			Recv:  part(-skip[k], recv[k], place != 0),
		}
		if st.Send.Peer != None || st.Recv.Peer != None {
			steps = append(steps, st)
		}
	}
	return Of(ranks, rank, blocks, rounds, steps...)
}

// PipelinedBroadcast copies all blocks of root to all ranks, of which there may be any number: each rank passes on one block while
// it receives the next. Rounds: blocks-1+ceil(log2 ranks), with a block in each.
func PipelinedBroadcast(ranks, rank, root, blocks int) Schedule {
	return pipelined(ranks, rank, root, blocks)
}

// PipelinedReduce combines each block of all ranks at root: the broadcast run backwards. Blocks of other ranks hold partial
// results afterwards. Rounds: blocks-1+ceil(log2 ranks), with a block in each.
func PipelinedReduce(ranks, rank, root, blocks int) Schedule {
	s := pipelined(ranks, rank, root, blocks).backwards(true)
	if rank != root {
		return s
	}
	last := map[int]int{} // by block: the step that brings the last contributions
	for i, st := range s.Steps() {
		if st.Recv.Peer != None {
			last[st.Recv.Blocks.First] = i
		}
	}
	at := s.at
	s.at = func(i int) Step {
		st := at(i)
		st.Final = st.Reduce && last[st.Recv.Blocks.First] == i
		return st
	}
	return s
}
