// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"math/bits"
)

// set is a set of ranks.
type set []uint64

func newSet(ranks int) set { return make(set, (ranks+63)/64) }

func (s set) add(r int) { s[r/64] |= 1 << (r % 64) }

func (s set) len() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// cells are the symbolic contents of blocks at all ranks: of an operation that reduces, the ranks whose contributions are in
// a block, as a set; of others, the rank it comes from plus 1.
type cells struct {
	op    Op
	ranks int
	words int   // of one cell
	index []int // by block: its place, or -1 if it is left out
	kept  []int // by place: the block
	data  []uint64
}

// newCells makes empty cells for as many blocks as maxCells allows.
func newCells(op Op, ranks, blocks int) *cells {
	c := &cells{op: op, ranks: ranks, words: 1, index: make([]int, blocks)}
	if op.reduces() {
		c.words = (ranks + 63) / 64
	}
	keep := min(blocks, max(1, maxCells/(ranks*c.words)))
	for b := range c.index {
		c.index[b] = -1
	}
	for i := range keep {
		b := i * blocks / keep
		c.index[b] = i
		c.kept = append(c.kept, b)
	}
	c.data = make([]uint64, keep*ranks*c.words)
	return c
}

// at returns the cell of a kept block, by its place.
func (c *cells) at(rank, place int) set {
	i := (place*c.ranks + rank) * c.words
	return c.data[i : i+c.words]
}

// begin puts in what a rank has before the operation.
func (c *cells) begin(rank, place int) {
	if c.op.reduces() {
		c.at(rank, place).add(rank)
	} else {
		c.at(rank, place)[0] = uint64(rank) + 1
	}
}

func (c *cells) empty(rank, place int) bool {
	for _, w := range c.at(rank, place) {
		if w != 0 {
			return false
		}
	}
	return true
}

// count says what is in a cell, for the text of errors.
func (c *cells) count(rank, place int) int {
	if c.op.reduces() {
		return c.at(rank, place).len()
	}
	return min(1, int(c.at(rank, place)[0]))
}

// move brings a block from one rank to another.
func (c *cells) move(round, from, to, place int, reduce bool) error {
	got, have := c.at(from, place), c.at(to, place)
	if c.empty(from, place) {
		return fmt.Errorf("schedule: rank %d, round %d: sends block %d before it has it", from, round, c.kept[place])
	}
	switch {
	case !reduce:
		copy(have, got)
		return nil
	case !c.op.reduces():
		return fmt.Errorf("schedule: rank %d, round %d: combines block %d in a %v", to, round, c.kept[place], c.op)
	}
	for i := range have {
		if have[i]&got[i] != 0 {
			return fmt.Errorf("schedule: rank %d, round %d: block %d counts a contribution twice", to, round, c.kept[place])
		}
		have[i] |= got[i]
	}
	return nil
}

// all says whether the cell has the contribution of every rank.
func (c *cells) all(rank, place int) bool { return c.at(rank, place).len() == c.ranks }

// is says whether the cell holds the block of one rank.
func (c *cells) is(rank, place, of int) bool { return c.at(rank, place)[0] == uint64(of)+1 }

// begins says whether rank r has block b before the operation.
func (v *verifier) begins(r, b int) bool {
	switch v.op {
	case AllReduce, ReduceScatter, Reduce:
		return true
	case AllGather, Gather:
		return b/lanes(v.op, v.ranks, v.blocks) == r
	case Broadcast, Scatter:
		return r == v.root
	case AllToAll:
		return b/(v.blocks/v.ranks) == r
	default:
		return false
	}
}

// right says whether what rank r has of the block at a place in the end is what the operation promises.
func (v *verifier) right(c *cells, r, place int) bool {
	b := c.kept[place]
	owner := b / max(1, lanes(v.op, v.ranks, v.blocks))
	switch v.op {
	case AllReduce:
		return c.all(r, place)
	case ReduceScatter:
		return owner != r || c.all(r, place)
	case AllGather:
		return c.is(r, place, owner)
	case Broadcast:
		return c.is(r, place, v.root)
	case Reduce:
		return r != v.root || c.all(r, place)
	case Gather:
		return r != v.root || c.is(r, place, owner)
	case Scatter:
		return owner != r || c.is(r, place, v.root)
	case AllToAll:
		row := v.blocks / v.ranks
		return (b/row+b%row)%v.ranks != r || c.is(r, place, b/row)
	default:
		return false
	}
}

func (v *verifier) outcome(c *cells) error {
	for place, b := range c.kept {
		for r := range v.ranks {
			if !v.right(c, r, place) {
				return fmt.Errorf("schedule: rank %d ends with %d of %d contributions in block %d, or with the wrong one",
					r, c.count(r, place), v.ranks, b)
			}
		}
	}
	return nil
}

// contents follows all messages in the order of rounds. Within a round the order is of no matter, for no rank sends a
// block in the round in which it receives it.
func (v *verifier) contents() error {
	c := newCells(v.op, v.ranks, v.blocks)
	for place, b := range c.kept {
		for r := range v.ranks {
			if v.begins(r, b) {
				c.begin(r, place)
			}
		}
	}
	for _, m := range v.moves {
		for b := range m.send.All(v.blocks) {
			if place := c.index[b]; place >= 0 {
				if err := c.move(m.round, m.from, m.to, place, m.reduce); err != nil {
					return err
				}
			}
		}
	}
	return v.outcome(c)
}

// alike verifies schedules that are turned copies of each other. What rank 0 does to block y, rank r does to block y+r*turn. So the
// blocks 0 to turn-1 stand for all, and what happens to one of them is told by all blocks of rank 0's messages.
func (v *verifier) alike(first Schedule, plan func(rank int) Schedule) error {
	if err := v.take(0, first); err != nil {
		return err
	}
	for r := range v.ranks {
		if v.ranks*first.Len() > maxCompared && r > 8 && r != v.ranks/2 && r < v.ranks-8 {
			continue
		}
		if err := v.turned(first, plan(r), r); err != nil {
			return err
		}
	}
	if v.blocks != v.turn*v.ranks {
		return fmt.Errorf("schedule: %d blocks, %d at a turn, for %d ranks", v.blocks, v.turn, v.ranks)
	}
	for i := range max(len(v.moves), len(v.wants)) {
		if i >= len(v.moves) || i >= len(v.wants) {
			return fmt.Errorf("schedule: deadlock: ranks send %d messages and wait for %d", len(v.moves), len(v.wants))
		}
		// What the rank that receives from rank 0 wants is what rank 0 wants, turned.
		m, w := &v.moves[i], v.wants[i]
		if m.round != w.round || (m.to+w.from)%v.ranks != 0 || m.send != w.recv.turned(m.to*v.turn%v.blocks, v.blocks) {
			return fmt.Errorf("schedule: rank %d, round %d: wants blocks %+v of rank %d, not what is sent in round %d", w.to, w.round, w.recv, w.from, m.round)
		}
		m.reduce = w.reduce
	}
	peers := map[int]struct{}{}
	for _, w := range v.wants {
		peers[w.from] = struct{}{}
	}
	v.report.Senders = len(peers)
	return v.follow()
}

// turned compares the schedule of a rank with that of rank 0.
func (v *verifier) turned(first, s Schedule, r int) error {
	if s.Rank != r || s.Ranks != v.ranks || s.Blocks != v.blocks || s.Turn != v.turn || s.Len() != first.Len() {
		return fmt.Errorf("schedule: plan(%d) is for rank %d of %d with %d blocks and %d steps, want %d ranks, %d blocks, %d steps",
			r, s.Rank, s.Ranks, s.Blocks, s.Len(), v.ranks, v.blocks, first.Len())
	}
	turn := func(t Transfer) Transfer {
		if t.Peer == None {
			return t
		}
		return Transfer{Peer: (t.Peer + r) % v.ranks, Blocks: t.Blocks.turned(r*v.turn, v.blocks)}
	}
	for i, st := range first.Steps() {
		want := st
		want.Send, want.Recv = turn(st.Send), turn(st.Recv)
		if got := s.At(i); got != want {
			return fmt.Errorf("schedule: rank %d: step %d is %+v, but rank 0 does %+v", r, i, got, st)
		}
	}
	return nil
}

// follow traces the blocks that stand for all.
func (v *verifier) follow() error {
	c := newCells(v.op, v.ranks, v.turn)
	for place, b := range c.kept {
		for r := range v.ranks {
			if v.begins(r, b) {
				c.begin(r, place)
			}
		}
	}
	for _, m := range v.moves {
		for y := range m.send.All(v.blocks) {
			place := c.index[y%v.turn]
			if place < 0 {
				continue
			}
			from := (v.ranks - y/v.turn) % v.ranks
			if err := c.move(m.round, from, (from+m.to)%v.ranks, place, m.reduce); err != nil {
				return err
			}
		}
	}
	return v.outcome(c)
}

// barrier follows who has heard from whom.
func (v *verifier) barrier() error {
	heard, before := make([]set, v.ranks), make([]set, v.ranks)
	for r := range heard {
		heard[r], before[r] = newSet(v.ranks), newSet(v.ranks)
		heard[r].add(r)
	}
	round := -1
	for _, m := range v.moves {
		if m.round != round {
			round = m.round
			for r := range heard {
				copy(before[r], heard[r])
			}
		}
		for i, w := range before[m.from] {
			heard[m.to][i] |= w
		}
	}
	for r := range heard {
		if n := heard[r].len(); n != v.ranks {
			return fmt.Errorf("schedule: rank %d leaves the barrier after hearing from %d of %d ranks", r, n, v.ranks)
		}
	}
	return nil
}
