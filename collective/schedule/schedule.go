// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"iter"
	"math/bits"
)

// None stands for the peer of a transfer that does not take place.
const None = -1

// Blocks is an ordered set of blocks: First, First+Stride, First+2*Stride and so on, modulo the number of blocks of the
// schedule, Count of them. The zero value is empty.
type Blocks struct {
	First, Stride, Count int
}

// All yields the numbers of the blocks in the order in which they travel. total is the schedule's number of blocks.
func (b Blocks) All(total int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, at := 0, b.First; i < b.Count; i, at = i+1, (at+b.Stride)%total {
			if !yield(at) {
				return
			}
		}
	}
}

// Transfer is one direction of a step: blocks that go to Peer or come from it. An empty set of blocks is still a message.
type Transfer struct {
	Peer   int // a rank, or None
	Blocks Blocks
}

// Step is what one rank does in one round: it sends and receives, at the same time if it can.
type Step struct {
	Round  int // counts from 0 over the operation; both ends of a transfer are in the same round
	Send   Transfer
	Recv   Transfer
	Reduce bool // received blocks are combined with what is there, rather than copied over it
}

// Schedule is one rank's part in an operation. Rounds in which the rank has nothing to do are left out.
type Schedule struct {
	Ranks  int
	Rank   int
	Blocks int // into how many blocks the buffer is cut; 0 if no data moves
	Steps  []Step
}

// Rounds returns the logarithm of ranks to base two, rounded up: the number of rounds of most algorithms of this package. Two
// phases take twice as many, and an all-to-all one less than there are ranks.
func Rounds(ranks int) int { return bits.Len(uint(ranks - 1)) }

func check(ranks, rank, root int) {
	if ranks < 1 || rank < 0 || rank >= ranks || root < 0 || root >= ranks {
		panic(fmt.Sprintf("schedule: rank %d, root %d of %d ranks", rank, root, ranks))
	}
}
