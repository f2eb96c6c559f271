// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Op is what a schedule must achieve.
type Op uint8

// The operations that Verify knows.
const (
	AllReduce     Op = iota + 1 // every block everywhere holds the contribution of every rank, each once
	ReduceScatter               // block b at rank b holds the contribution of every rank, each once
	AllGather                   // every block b everywhere is the one of rank b
	Broadcast                   // every block everywhere is the one of the root
	Barrier                     // every rank has heard, directly or not, from every rank
	Reduce                      // every block at the root holds the contribution of every rank, each once
	Gather                      // every block b at the root is the one of rank b
	Scatter                     // block b at rank b is the one of the root
	AllToAll                    // block s*row+i at the rank i above s is the one of rank s, where row is Blocks/Ranks
	opEnd
)

// String returns the operation's name, such as "all-reduce".
func (op Op) String() string {
	if op == 0 || op >= opEnd {
		return fmt.Sprintf("operation(%d)", uint8(op))
	}
	return [...]string{
		"all-reduce", "reduce-scatter", "all-gather", "broadcast", "barrier", "reduce", "gather", "scatter", "all-to-all",
	}[op-1]
}

// reduces says whether the operation combines contributions, rather than moving them.
func (op Op) reduces() bool { return op == AllReduce || op == ReduceScatter || op == Reduce }

// lanes returns how many blocks stand for one of the operation's definition, where a schedule was widened by Lanes.
func lanes(op Op, ranks, blocks int) int {
	switch op {
	case ReduceScatter, AllGather, Gather, Scatter:
		return blocks / ranks
	default:
		return 1
	}
}

// Report says what the schedules of all ranks cost together.
type Report struct {
	Rounds   int // largest number of rounds
	Messages int // largest number of messages that one rank sends
	Blocks   int // largest number of blocks that one rank sends
	Senders  int // largest number of ranks that send to one rank: so many windows of credit bound what waits there
}

// What bounds the effort of Verify, so that ten thousand ranks take seconds.
const (
	// maxCompared is up to how many steps, of all ranks together, each one's schedule is compared with that of rank 0, where all
	// claim to do alike. Of more, the ranks in the beginning, in the middle and at the end are.
	maxCompared = 4 << 20
	// maxCells bounds the words of symbolic contents. Where all blocks at all ranks take more, blocks are left out evenly: in
	// operations that only copy from 1,025 ranks with a block for each on, in others from 407.
	maxCells = 1 << 20
)

// Verify runs the schedules of all ranks with symbolic contributions. It returns an error that names rank and round unless
//
//   - rounds rise at every rank, and what one rank sends in a round its peer receives in that round, the same blocks. So the
//     rank that is in the lowest round can always go on, whatever waits for room elsewhere: no deadlock, also where steps
//     begin as soon as their blocks are ready, as in a [Machine];
//   - no step receives into a block that it sends;
//   - what is sent is there, no contribution is counted twice, and the outcome is what op promises.
//
// plan(r) is the schedule of rank r; root matters to Broadcast, Reduce, Gather and Scatter only. Where all ranks do alike, that is
// checked and the contents are followed once for all. Of very many ranks and blocks some
// are left out: see maxCompared and maxCells in the source.
func Verify(op Op, ranks, root int, plan func(rank int) Schedule) (Report, error) {
	if op == 0 || op >= opEnd {
		return Report{}, fmt.Errorf("schedule: no %v to verify", op)
	}
	first := plan(0)
	v := &verifier{op: op, ranks: ranks, root: root, blocks: first.Blocks, turn: first.Turn}
	if v.turn > 0 && op != Barrier && !rooted(op) {
		return v.report, errors.Join(v.alike(first, plan)) // joined: one error or none
	}
	v.turn = 0
	for r := range ranks {
		s := plan(r)
		if err := v.take(r, s); err != nil {
			return Report{}, err
		}
	}
	if err := v.match(); err != nil {
		return Report{}, err
	}
	if op == Barrier {
		return v.report, v.barrier()
	}
	return v.report, v.contents()
}

func rooted(op Op) bool { return op == Broadcast || op == Reduce || op == Gather || op == Scatter }

// move is one message.
type move struct {
	round, from, to int
	send, recv      Blocks
	reduce          bool
}

// verifier holds what one run of Verify knows.
type verifier struct {
	op          Op
	ranks, root int
	blocks      int
	turn        int // above 0: all ranks do alike
	moves       []move
	wants       []move // what ranks receive, in the order of moves
	stamps      []int
	stamp       int
	report      Report
}

// take checks what can be seen in one rank's schedule alone, and keeps its messages.
func (v *verifier) take(r int, s Schedule) error {
	if s.Rank != r || s.Ranks != v.ranks || s.Blocks != v.blocks || s.Turn != 0 && s.Turn != v.turn && v.turn != 0 {
		return fmt.Errorf("schedule: plan(%d) is for rank %d of %d with %d blocks, want %d ranks and %d blocks", r, s.Rank, s.Ranks, s.Blocks, v.ranks, v.blocks)
	}
	round, blocks, messages := -1, 0, 0
	for _, st := range s.Steps() {
		if st.Round <= round {
			return fmt.Errorf("schedule: rank %d: round %d follows round %d", r, st.Round, round)
		}
		round = st.Round
		for _, t := range [...]Transfer{st.Send, st.Recv} {
			if t.Peer != None && (t.Peer < 0 || t.Peer >= v.ranks || t.Peer == r) {
				return fmt.Errorf("schedule: rank %d, round %d: peer %d", r, round, t.Peer)
			}
			if !t.Blocks.inside(s.Blocks) {
				return fmt.Errorf("schedule: rank %d, round %d: blocks %+v of %d", r, round, t.Blocks, s.Blocks)
			}
		}
		if st.Send.Peer != None {
			messages++
			blocks += st.Send.Blocks.Len()
			v.moves = append(v.moves, move{round: round, from: r, to: st.Send.Peer, send: st.Send.Blocks})
		}
		if st.Recv.Peer != None {
			v.wants = append(v.wants, move{round: round, from: st.Recv.Peer, to: r, recv: st.Recv.Blocks, reduce: st.Reduce})
		}
		if b, ok := v.common(st); ok {
			return fmt.Errorf("schedule: rank %d, round %d: sends and receives block %d", r, round, b)
		}
	}
	if round >= s.Rounds {
		return fmt.Errorf("schedule: rank %d: round %d of %d", r, round, s.Rounds)
	}
	v.report.Rounds = max(v.report.Rounds, round+1)
	v.report.Messages = max(v.report.Messages, messages)
	v.report.Blocks = max(v.report.Blocks, blocks)
	return nil
}

// common returns a block that a step both sends and receives.
func (v *verifier) common(st Step) (int, bool) {
	if st.Send.Blocks.Count == 0 || st.Recv.Blocks.Count == 0 {
		return 0, false
	}
	if st.Send.Blocks.Len() == 1 && st.Recv.Blocks.Len() == 1 {
		return st.Send.Blocks.First, st.Send.Blocks.First == st.Recv.Blocks.First
	}
	v.stamp++
	if v.stamps == nil {
		v.stamps = make([]int, v.blocks)
	}
	for b := range st.Send.Blocks.All(v.blocks) {
		v.stamps[b] = v.stamp
	}
	for b := range st.Recv.Blocks.All(v.blocks) {
		if v.stamps[b] == v.stamp {
			return b, true
		}
	}
	return 0, false
}

// match pairs what is sent with what is received.
func (v *verifier) match() error {
	order := func(a, b move) int {
		return cmp.Or(cmp.Compare(a.round, b.round), cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	}
	slices.SortFunc(v.moves, order)
	slices.SortFunc(v.wants, order)
	senders := make(map[[2]int]struct{}, len(v.moves))
	count := make([]int, v.ranks)
	for i := range max(len(v.moves), len(v.wants)) {
		switch {
		case i == len(v.wants) || i < len(v.moves) && order(v.moves[i], v.wants[i]) < 0:
			m := v.moves[i]
			return fmt.Errorf("schedule: rank %d never receives what rank %d sends in round %d", m.to, m.from, m.round)
		case i == len(v.moves) || order(v.moves[i], v.wants[i]) > 0:
			w := v.wants[i]
			return fmt.Errorf("schedule: deadlock: rank %d waits for rank %d in round %d", w.to, w.from, w.round)
		}
		m, w := &v.moves[i], v.wants[i]
		if m.send != w.recv {
			return fmt.Errorf("schedule: rank %d, round %d: wants blocks %+v of rank %d, which sends %+v", w.to, w.round, w.recv, w.from, m.send)
		}
		m.reduce = w.reduce
		if edge := [2]int{m.from, m.to}; len(senders) < maxCells {
			if _, known := senders[edge]; !known {
				senders[edge] = struct{}{}
				count[m.to]++
			}
		}
	}
	v.report.Senders = slices.Max(count)
	return nil
}
