// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"math/bits"
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
	AllToAll                    // block s*ranks+d at rank d is the one of rank s
)

// Report says what the schedules of all ranks cost together.
type Report struct {
	Rounds   int // largest number of rounds
	Messages int // largest number of messages that one rank sends
	Blocks   int // largest number of blocks that one rank sends
	Waiting  int // largest number of messages that wait at once from one rank to another
}

// Verify runs the schedules of all ranks with symbolic contributions. It returns an error that names rank and round if a rank
// waits for ever, a message meets no receiver in its round, a step receives into a block that it sends, a contribution is
// counted twice, or the outcome is not what op promises. plan(r) is the schedule of rank r; root matters to Broadcast,
// Reduce, Gather and Scatter only.
func Verify(op Op, ranks, root int, plan func(rank int) Schedule) (Report, error) {
	v := newVerifier(op, ranks, root)
	for r := range ranks {
		s := plan(r)
		if s.Rank != r || s.Ranks != ranks {
			return Report{}, fmt.Errorf("schedule: plan(%d) is for rank %d of %d, want %d ranks", r, s.Rank, s.Ranks, ranks)
		}
		if err := v.add(s); err != nil {
			return Report{}, err
		}
	}
	v.start()
	if err := v.run(); err != nil {
		return Report{}, err
	}
	return v.report, v.outcome()
}

// set is a set of ranks.
type set []uint64

func (s set) add(r int) { s[r/64] |= 1 << (r % 64) }

func (s set) len() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

func (s set) overlaps(o set) bool {
	for i := range s {
		if s[i]&o[i] != 0 {
			return true
		}
	}
	return false
}

func (s set) union(o set) {
	for i := range s {
		s[i] |= o[i]
	}
}

// message is what one rank sends to another in one round.
type message struct {
	round  int
	blocks Blocks
	heard  set
	values set // contents of the blocks, one after the other
}

type verifier struct {
	op     Op
	ranks  int
	root   int
	words  int
	plans  []Schedule
	at     []int             // per rank: index of its current step
	sent   []bool            // per rank: the current step's message is out
	heard  []set             // per rank: ranks it has heard from
	values [][]set           // per rank and block: contributions; an empty set is an undefined block
	wires  map[int][]message // by from*ranks+to
	stamps []int             // per block: the last step that sends it, in the order in which common saw them
	stamp  int
	report Report
}

func newVerifier(op Op, ranks, root int) *verifier {
	return &verifier{op: op, ranks: ranks, root: root, words: (ranks + 63) / 64, wires: map[int][]message{}}
}

// add takes one rank's schedule in and checks what can be seen in it alone.
func (v *verifier) add(s Schedule) error {
	round, blocks := -1, 0
	messages := 0
	for _, st := range s.Steps {
		if st.Round <= round {
			return fmt.Errorf("schedule: rank %d: round %d follows round %d", s.Rank, st.Round, round)
		}
		round = st.Round
		for _, t := range []Transfer{st.Send, st.Recv} {
			if t.Peer != None && (t.Peer < 0 || t.Peer >= v.ranks || t.Peer == s.Rank) {
				return fmt.Errorf("schedule: rank %d, round %d: peer %d", s.Rank, round, t.Peer)
			}
			if b := t.Blocks; b.Count > 0 && (min(b.First, b.Stride) < 0 || max(b.First, b.Stride) >= s.Blocks) {
				return fmt.Errorf("schedule: rank %d, round %d: blocks %+v of %d", s.Rank, round, b, s.Blocks)
			}
		}
		if st.Send.Peer != None {
			messages++
			blocks += st.Send.Blocks.Count
		}
		if b, ok := v.common(st, s.Blocks); ok {
			return fmt.Errorf("schedule: rank %d, round %d: sends and receives block %d", s.Rank, round, b)
		}
	}
	v.report.Rounds = max(v.report.Rounds, round+1)
	v.report.Messages = max(v.report.Messages, messages)
	v.report.Blocks = max(v.report.Blocks, blocks)
	v.plans = append(v.plans, s)
	return nil
}

// common returns a block that a step both sends and receives.
func (v *verifier) common(st Step, total int) (int, bool) {
	if st.Send.Peer == None || st.Recv.Peer == None {
		return 0, false
	}
	v.stamp++
	for len(v.stamps) < total {
		v.stamps = append(v.stamps, 0)
	}
	for b := range st.Send.Blocks.All(total) {
		v.stamps[b] = v.stamp
	}
	for b := range st.Recv.Blocks.All(total) {
		if v.stamps[b] == v.stamp {
			return b, true
		}
	}
	return 0, false
}

// start gives every rank what it has before the operation.
func (v *verifier) start() {
	v.at = make([]int, v.ranks)
	v.sent = make([]bool, v.ranks)
	for r, s := range v.plans {
		v.heard = append(v.heard, make(set, v.words))
		v.heard[r].add(r)
		backing := make(set, s.Blocks*v.words)
		values := make([]set, s.Blocks)
		for b := range values {
			values[b] = backing[b*v.words : (b+1)*v.words]
			if v.begins(r, b) {
				values[b].add(r)
			}
		}
		v.values = append(v.values, values)
	}
}

// begins says whether rank r has block b before the operation.
func (v *verifier) begins(r, b int) bool {
	switch v.op {
	case AllReduce, ReduceScatter, Reduce:
		return true
	case AllGather, Gather:
		return b == r
	case Broadcast, Scatter:
		return r == v.root
	case AllToAll:
		return b/v.ranks == r
	default:
		return false
	}
}

// run lets every rank go as far as it can, until all are done or none can move.
func (v *verifier) run() error {
	for {
		moved, done := false, true
		for r := range v.ranks {
			for {
				ok, err := v.advance(r)
				if err != nil {
					return err
				}
				if !ok {
					break
				}
				moved = true
			}
			done = done && v.at[r] == len(v.plans[r].Steps)
		}
		if done {
			break
		}
		if !moved {
			return v.stuck()
		}
	}
	for key, waiting := range v.wires {
		if len(waiting) > 0 {
			return fmt.Errorf("schedule: rank %d never receives what rank %d sends in round %d",
				key%v.ranks, key/v.ranks, waiting[0].round)
		}
	}
	return nil
}

func (v *verifier) stuck() error {
	for r, at := range v.at {
		if at < len(v.plans[r].Steps) {
			st := v.plans[r].Steps[at]
			return fmt.Errorf("schedule: deadlock: rank %d waits for rank %d in round %d", r, st.Recv.Peer, st.Round)
		}
	}
	return nil
}

// advance runs the current step of rank r, if what it waits for is there.
func (v *verifier) advance(r int) (bool, error) {
	s := v.plans[r]
	if v.at[r] == len(s.Steps) {
		return false, nil
	}
	st := s.Steps[v.at[r]]
	if st.Send.Peer != None && !v.sent[r] {
		if err := v.post(r, st); err != nil {
			return false, err
		}
		v.sent[r] = true
	}
	if st.Recv.Peer != None {
		wire := v.wires[st.Recv.Peer*v.ranks+r]
		if len(wire) == 0 {
			return false, nil
		}
		if err := v.take(r, st, wire[0]); err != nil {
			return false, err
		}
		v.wires[st.Recv.Peer*v.ranks+r] = wire[1:]
	}
	v.at[r]++
	v.sent[r] = false
	return true, nil
}

func (v *verifier) post(r int, st Step) error {
	m := message{round: st.Round, blocks: st.Send.Blocks, heard: slices.Clone(v.heard[r])}
	m.values = make(set, 0, st.Send.Blocks.Count*v.words)
	for b := range st.Send.Blocks.All(v.plans[r].Blocks) {
		if v.values[r][b].len() == 0 {
			return fmt.Errorf("schedule: rank %d, round %d: sends block %d before it has it", r, st.Round, b)
		}
		m.values = append(m.values, v.values[r][b]...)
	}
	key := r*v.ranks + st.Send.Peer
	v.wires[key] = append(v.wires[key], m)
	v.report.Waiting = max(v.report.Waiting, len(v.wires[key]))
	return nil
}

func (v *verifier) take(r int, st Step, m message) error {
	if m.round != st.Round || m.blocks != st.Recv.Blocks {
		return fmt.Errorf("schedule: rank %d, round %d: wants blocks %+v of rank %d, which sends %+v in round %d",
			r, st.Round, st.Recv.Blocks, st.Recv.Peer, m.blocks, m.round)
	}
	v.heard[r].union(m.heard)
	left := m.values
	for b := range st.Recv.Blocks.All(v.plans[r].Blocks) {
		have, got := v.values[r][b], left[:v.words]
		left = left[v.words:]
		switch {
		case !st.Reduce:
			copy(have, got)
		case have.overlaps(got):
			return fmt.Errorf("schedule: rank %d, round %d: block %d counts a contribution twice", r, st.Round, b)
		default:
			have.union(got)
		}
	}
	return nil
}

// outcome compares what every rank has with what the operation promises.
func (v *verifier) outcome() error {
	for r := range v.ranks {
		if v.op == Barrier {
			if n := v.heard[r].len(); n != v.ranks {
				return fmt.Errorf("schedule: rank %d leaves the barrier after hearing from %d of %d ranks", r, n, v.ranks)
			}
			continue
		}
		for b, have := range v.values[r] {
			if !v.right(r, b, have) {
				return fmt.Errorf("schedule: rank %d ends with %d of %d contributions in block %d, or with the wrong one",
					r, have.len(), v.ranks, b)
			}
		}
	}
	return nil
}

func (v *verifier) right(r, b int, have set) bool {
	only := func(rank int) bool { return have.len() == 1 && have[rank/64]>>(rank%64)&1 == 1 }
	switch v.op {
	case AllReduce:
		return have.len() == v.ranks
	case ReduceScatter:
		return b != r || have.len() == v.ranks
	case AllGather:
		return only(b)
	case Broadcast:
		return only(v.root)
	case Reduce:
		return r != v.root || have.len() == v.ranks
	case Gather:
		return r != v.root || only(b)
	case Scatter:
		return b != r || only(v.root)
	case AllToAll:
		return b%v.ranks != r || only(b/v.ranks)
	case Barrier:
		return true
	default:
		return false
	}
}
