// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/tutti-go/tutti/collective/hostshm"
	"github.com/tutti-go/tutti/collective/kernel"
)

// The operations, in rounds of package hostshm. What does not fit into the slots goes in several rounds, each of which moves the same range of all
// blocks.

// operate carries out the operation. do is for those with shared results.
func (r *onHost) operate(do func(context.Context, *execution) error) error {
	c, n := &r.call, r.Members()
	if c.op.isShared() {
		x := &r.g.m.host.execution
		x.host = r
		return do(r.ctx, x)
	}
	switch c.op {
	case opBarrier:
		return r.barrier()
	case opAllReduce:
		c.math.begin(c.in)
		return r.allReduce(c.in)
	case opReduce:
		c.math.begin(c.in)
		return r.reduce(c.in, r.g.m.rank == int(c.root))
	case opReduceScatter:
		return r.reduceScatter()
	case opBroadcast:
		return r.broadcast()
	case opAllGather, opAllGatherV:
		return r.collect(true)
	case opGather, opGatherV:
		return r.collect(r.g.m.rank == int(c.root))
	case opScatter, opScatterV:
		return r.scatter()
	case opAllToAll:
		return r.exchange(len(c.in) / n)
	case opAllToAllV:
		return r.exchangeUneven()
	default:
		return fmt.Errorf("collective: %v in the memory of a machine", c.op)
	}
}

// populateBytes is how long memory must be for it to pay to ask whether it was never used before, which takes less than 1 us.
const populateBytes = 64 << 10

// populate gets memory for what this member gets, if that was never used before: for all of it at once it takes a third of the time that single pages take as they
// are written.
func (r *onHost) populate() {
	c := &r.call
	switch c.op {
	case opAllReduce, opReduce: // what it gets takes the place of what it gives
	case opBroadcast:
		if r.g.m.rank != int(c.root) && len(c.out) >= populateBytes {
			hostshm.Populate(c.out)
		}
	default:
		if len(c.out) >= populateBytes {
			hostshm.Populate(c.out)
		}
	}
}

// streamBytes is how long the results of all members are together where they no longer fit into the caches, and wash out of them what members exchange. Written
// around the caches they take half of the time, see docs/decisions/0025.
const streamBytes = 64 << 20

// streamPiece is how long a piece of a result is at least that is written around the caches: shorter ones are many, and what a line of the caches has of two is written twice.
const streamPiece = 4 << 10

// streams reports whether the results of all members do not fit into caches. A result that takes the place of what was given may be there already.
func (r *onHost) streams() bool {
	total := len(r.call.out)
	switch r.call.op {
	case opAllReduce, opReduce:
		return false
	case opGather, opGatherV: // the root's alone
	default:
		total *= r.Members()
	}
	return total >= streamBytes
}

// take copies a part of the member's result out of the memory of the machine, of which src has as much at least.
func (r *onHost) take(dst, src []byte) {
	if len(dst) >= streamPiece && r.streams() {
		kernel.Stream(dst, src)
		return
	}
	copy(dst, src)
}

// rounds calls do for ranges of total bytes, of which multiple share a slot; at least once.
func (r *onHost) rounds(total, multiple int, do func(from, to int) error) error {
	room, err := r.Room(total*multiple, r.idle)
	if err != nil {
		return err
	}
	return r.roundsOf(total, room/multiple, do)
}

// roundsOf calls do for ranges of total bytes, of up to step each; at least once.
func (r *onHost) roundsOf(total, step int, do func(from, to int) error) error {
	step = max(step, 1)
	for from := 0; ; from += step {
		to := min(from+step, total)
		if err := r.Enter(r.idle); err != nil {
			return err
		}
		if err := do(from, to); err != nil || to == total {
			return err
		}
	}
}

// arrive says that this member has given, or taken, what it has to.
func (r *onHost) arrive() error { return r.mismatch(r.Arrive()) }

// fold is what the last member to arrive does.
func (r *onHost) fold(dst []byte, srcs [][]byte, top bool) {
	r.call.math.all(dst, srcs)
	if top {
		r.call.math.finish(dst, r.Members())
	}
}

// barrier waits for all members.
func (r *onHost) barrier() error {
	if err := r.Enter(r.idle); err != nil {
		return err
	}
	if err := r.arrive(); err != nil {
		return err
	}
	return r.Await(r.idle)
}

// reduce combines a buffer of all members, and puts the result into out of those that want it. The others do not wait for it.
func (r *onHost) reduce(in []byte, wants bool) error {
	return r.rounds(len(in), 1, func(from, to int) error {
		if err := r.mismatch(r.Fold(in[from:to], r.fold)); err != nil {
			return err
		}
		if !wants {
			return nil
		}
		if err := r.Await(r.idle); err != nil {
			return err
		}
		copy(r.call.out[from:to], r.Result(to-from))
		return nil
	})
}

func (r *onHost) reduceScatter() error {
	c, in := &r.call, r.call.in
	if c.math.prepares() {
		in = bytes.Clone(in)
		c.math.begin(in)
	}
	at := r.g.m.rank * len(c.out)
	return r.rounds(len(in), 1, func(from, to int) error {
		if err := r.mismatch(r.Fold(in[from:to], r.fold)); err != nil {
			return err
		}
		first, last := max(from, at), min(to, at+len(c.out))
		if first >= last {
			return nil
		}
		if err := r.Await(r.idle); err != nil {
			return err
		}
		copy(c.out[first-at:last-at], r.Result(to - from)[first-from:])
		return nil
	})
}

func (r *onHost) broadcast() error {
	c := &r.call
	room, err := r.RoomWide(len(c.out), r.idle)
	if err != nil {
		return err
	}
	return r.roundsOf(len(c.out), room, func(from, to int) error {
		if r.g.m.rank == int(c.root) {
			copy(r.Wide(to-from), c.in[from:to])
			r.Publish()
			return r.arrive()
		}
		if err := r.published(); err != nil {
			return err
		}
		r.take(c.out[from:to], r.Wide(to-from))
		return r.arrive()
	})
}

// published waits until the root has published this round.
func (r *onHost) published() error {
	r.root = int(r.call.root)
	if err := r.Await(r.idle); err != nil {
		return err
	}
	return r.mismatch(r.Check(r.root))
}

// longest returns how many bytes the longest of the blocks of all ranks has, of which own is the member's.
func (r *onHost) longest(own []byte) int {
	c := &r.call
	if c.inCounts == nil {
		return len(own)
	}
	r.ends = appendEnds(r.ends[:0], c.inCounts, c.size)
	return slices.Max(c.inCounts) * c.size
}

// block returns the block of a rank in a buffer with those of all, if longest was called.
func (r *onHost) block(all []byte, rank int) []byte {
	if r.call.inCounts == nil {
		n := r.Members()
		return all[len(all)/n*rank : len(all)/n*(rank+1)]
	}
	return all[r.ends[rank]:r.ends[rank+1]]
}

// collect gathers blocks of all members at those that want them.
func (r *onHost) collect(wants bool) error {
	c, rank := &r.call, r.g.m.rank
	longest := r.longest(c.in)
	if wants {
		copy(r.block(c.out, rank), c.in)
	}
	return r.rounds(longest, 1, func(from, to int) error {
		slot := r.Slot(rank, to-from)
		copy(slot, within(c.in, from, to))
		if err := r.arrive(); err != nil || !wants {
			return err
		}
		if err := r.Await(r.idle); err != nil {
			return err
		}
		for other := range r.Members() {
			if block := within(r.block(c.out, other), from, to); other != rank && len(block) > 0 {
				r.take(block, r.Slot(other, to-from))
			}
		}
		return nil
	})
}

func (r *onHost) scatter() error {
	c, rank, root := &r.call, r.g.m.rank, int(r.call.root)
	longest := r.longest(c.out)
	if longest >= directBytes {
		ok, err := r.direct()
		if err != nil {
			return err
		}
		if ok {
			return r.scatterDirect(root)
		}
	}
	if rank == root {
		copy(c.out, r.block(c.in, root))
	}
	return r.rounds(longest, 1, func(from, to int) error {
		if rank == root {
			for other := range r.Members() {
				if other != root {
					copy(r.Slot(other, to-from), within(r.block(c.in, other), from, to))
				}
			}
			r.Publish()
			return r.arrive()
		}
		if err := r.published(); err != nil {
			return err
		}
		copy(within(c.out, from, to), r.Slot(rank, to-from))
		return r.arrive()
	})
}

// within returns what a block has of a range.
func within(block []byte, from, to int) []byte {
	return block[min(from, len(block)):min(to, len(block))]
}
