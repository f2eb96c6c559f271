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
// schedule, Count of them. With Groups above 1, that many such rows, each Jump further than the one before. The zero value is
// empty.
type Blocks struct {
	First, Stride, Count int
	Groups, Jump         int
}

// block is the set of one block.
func block(b int) Blocks { return Blocks{First: b, Count: 1} }

// Len returns how many blocks the set has.
func (b Blocks) Len() int { return b.Count * max(b.Groups, 1) }

// At returns the number of the i-th block of the set, from 0 to Len-1. total is the schedule's number of blocks.
func (b Blocks) At(i, total int) int {
	if b.Groups <= 1 {
		return (b.First + i*b.Stride) % total
	}
	return (b.First + i/b.Count*b.Jump + i%b.Count*b.Stride) % total
}

// All yields the numbers of the blocks in the order in which they travel. total is the schedule's number of blocks.
func (b Blocks) All(total int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for group, first := 0, b.First; group < max(b.Groups, 1); group, first = group+1, (first+b.Jump)%total {
			for i, at := 0, first; i < b.Count; i++ {
				if !yield(at) {
					return
				}
				if at += b.Stride; at >= total {
					at -= total
				}
			}
			if b.Groups <= 1 {
				return
			}
		}
	}
}

// turned is the set with every block moved up by some.
func (b Blocks) turned(by, total int) Blocks {
	if b.Count > 0 {
		b.First = (b.First + by) % total
	}
	return b
}

// inside says whether the fields name blocks of 0 to total-1 only.
func (b Blocks) inside(total int) bool {
	return b.Count == 0 || b.Count > 0 && b.Groups >= 0 && min(b.First, b.Stride, b.Jump) >= 0 && max(b.First, b.Stride, b.Jump) < total
}

// Transfer is one direction of a step: blocks that go to Peer or come from it. An empty set of blocks is a signal: a message
// that is sent when all that the rank was to receive before has come, and that holds back all that comes after it.
type Transfer struct {
	Peer   int // a rank, or None
	Blocks Blocks
}

// nothing is the transfer that does not take place.
func nothing() Transfer { return Transfer{Peer: None} }

// IsSignal says whether the transfer is a message without blocks.
func (t Transfer) IsSignal() bool { return t.Peer != None && t.Blocks.Count == 0 }

// Step is what one rank does in one round: it sends and receives, at the same time if it can.
type Step struct {
	Round  int // counts from 0 over the operation; both ends of a transfer are in the same round
	Send   Transfer
	Recv   Transfer
	Reduce bool // received blocks are combined with what is there, rather than copied over it
	Final  bool // of a step that reduces: the received blocks hold all contributions then
}

// Schedule is one rank's part in an operation. Rounds in which the rank has nothing to do are left out. Steps are made when they
// are asked for, so that a schedule is small however many it has.
type Schedule struct {
	Ranks  int
	Rank   int
	Blocks int // into how many blocks the data is cut; 0 if none moves
	Rounds int // of the operation, at all ranks
	// Turn says that all ranks do alike: the schedule of rank r is that of rank 0 with r added to every rank, and r*Turn to
	// every block. 0: they do not.
	Turn int
	// Window is how many steps may be under way at once: none begins before the one Window places before it is done.
	// 0: all.
	Window int

	steps int
	at    func(i int) Step
}

// Of makes a schedule of steps that are listed. rounds is the number of rounds of the whole operation.
func Of(ranks, rank, blocks, rounds int, steps ...Step) Schedule {
	return Schedule{Ranks: ranks, Rank: rank, Blocks: blocks, Rounds: rounds, steps: len(steps), at: func(i int) Step { return steps[i] }}
}

// Len returns the number of steps.
func (s Schedule) Len() int { return s.steps }

// At returns a step, from 0 to Len-1.
func (s Schedule) At(i int) Step { return s.at(i) }

// Steps yields all steps in order.
func (s Schedule) Steps() iter.Seq2[int, Step] {
	return func(yield func(int, Step) bool) {
		for i := range s.steps {
			if !yield(i, s.at(i)) {
				return
			}
		}
	}
}

// Then is the schedule with another one behind it, of the same rank over the same blocks.
func (s Schedule) Then(t Schedule) Schedule {
	joined := s
	joined.Rounds, joined.steps = s.Rounds+t.Rounds, s.steps+t.steps
	joined.Window = max(s.Window, t.Window)
	if t.Turn != s.Turn {
		joined.Turn = 0
	}
	joined.at = func(i int) Step {
		if i < s.steps {
			return s.at(i)
		}
		st := t.at(i - s.steps)
		st.Round += s.Rounds
		return st
	}
	return joined
}

// Lanes is the schedule over data that is cut into lanes times as many blocks. Each lane is a part of every block and goes through the
// same steps, one place behind the lane before it, so that the transfers of some overlap with the sums of others.
func (s Schedule) Lanes(lanes int) Schedule {
	if lanes <= 1 || s.Blocks == 0 {
		return s
	}
	wide := s
	wide.Blocks, wide.Rounds, wide.Turn, wide.Window, wide.steps = s.Blocks*lanes, s.Rounds*lanes, s.Turn*lanes, s.Window*lanes, s.steps*lanes
	spread := func(t Transfer, lane int) Transfer {
		if t.Blocks.Count > 0 {
			b := t.Blocks
			t.Blocks = Blocks{First: b.First*lanes + lane, Stride: b.Stride * lanes, Count: b.Count, Groups: b.Groups, Jump: b.Jump * lanes}
		}
		return t
	}
	wide.at = func(i int) Step {
		st := s.at(i / lanes)
		lane := i % lanes
		st.Round = st.Round*lanes + lane
		st.Send, st.Recv = spread(st.Send, lane), spread(st.Recv, lane)
		return st
	}
	return wide
}

// backwards is the schedule from its end to its beginning: what was sent is received.
func (s Schedule) backwards(reduce bool) Schedule {
	back := s
	back.at = func(i int) Step {
		st := s.at(s.steps - 1 - i)
		return Step{Round: s.Rounds - 1 - st.Round, Send: st.Recv, Recv: st.Send, Reduce: reduce && st.Send.Peer != None}
	}
	return back
}

// Rounds returns the logarithm of ranks to base two, rounded up: the number of rounds of most algorithms of this package. Two
// phases take twice as many, and an all-to-all one less than there are ranks.
func Rounds(ranks int) int { return bits.Len(uint(ranks - 1)) }

func check(ranks, rank, root int) {
	if ranks < 1 || rank < 0 || rank >= ranks || root < 0 || root >= ranks {
		panic(fmt.Sprintf("schedule: rank %d, root %d of %d ranks", rank, root, ranks))
	}
}
