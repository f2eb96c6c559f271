// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"slices"

	"github.com/tutti-go/tutti/collective/hostshm"
)

// staged is an operation by tiers.
type staged struct {
	*onHost

	x     *execution
	t     *tier
	piece int    // bytes of a round
	whole []byte // of a head: where what its host has combined last is to be
	sum   []byte // and where it is, from the beginning of the next round on
}

// operateInTiers carries out an operation. The error is an *ending.
func (x *execution) operateInTiers(ctx context.Context, g *Group, c *invocation, seq uint64) error {
	t, o := g.m.host.tier.Load(), g.s.host
	r := &g.m.host.now
	r.begin(ctx, g, c)
	r.Port, r.near, r.guarded = t.port, t.near, true
	defer r.rest()
	if t.port != nil {
		if o.use() == nil {
			return g.m.endingOf(ctx, r.over())
		}
		defer o.leave()
		r.Begin(hostshm.Call{Seq: seq, What: c.words()})
		r.root = 0 // of the slots: the head's
	}
	err := (&staged{onHost: r, x: x, t: t}).operate(ctx)
	if errors.Is(err, hostshm.ErrEnded) {
		err = r.over()
	}
	if err != nil {
		return g.m.endingOf(r.ctx, err)
	}
	return nil
}

// operate carries out the operation.
func (s *staged) operate(ctx context.Context) error {
	c := &s.call
	switch c.op {
	case opGather, opGatherV:
		return s.gather(ctx)
	case opScatter, opScatterV:
		return s.scatter(ctx)
	default:
	}
	if err := s.fit(min(max(len(c.in), len(c.out)), tierBytes)); err != nil {
		return err
	}
	switch c.op {
	case opAllReduce, opReduce:
		return s.reduce(ctx)
	case opReduceScatter:
		return s.reduceScatter(ctx)
	case opBroadcast:
		return s.broadcast(ctx)
	case opAllGather:
		return s.allGather(ctx)
	default:
		return s.barrier(ctx)
	}
}

// fit finds out how many of some bytes, which all members of the host have to ask for, fit into a round.
func (s *staged) fit(length int) error {
	s.piece = tierBytes
	if s.t.port == nil {
		return nil
	}
	room, err := s.Room(length, s.idle)
	s.piece = max(room, 1)
	return err
}

func (s *staged) isHead() bool { return s.t.near.at == 0 }

// chunksOf returns how many chunks there are in some bytes, at least one.
func chunksOf(length int) int { return max(1, (length+tierBytes-1)/tierBytes) }

// chunk returns one of the chunks of a buffer, of which the last may have nothing.
func chunk(buf []byte, k int) []byte { return within(buf, k*tierBytes, (k+1)*tierBytes) }

// rounds calls do for each piece of a chunk, in a round of the host's memory; at least once.
func (s *staged) rounds(chunk []byte, do func(b []byte) error) error {
	if s.t.port == nil {
		return nil
	}
	for from := 0; ; from += s.piece {
		to := min(from+s.piece, len(chunk))
		if err := s.Enter(s.idle); err != nil {
			return err
		}
		s.settle()
		if err := do(chunk[from:to]); err != nil || to == len(chunk) {
			return err
		}
	}
}

// settle takes what the last round has combined, at a head: all have arrived.
func (s *staged) settle() {
	copy(s.whole, s.sum)
	s.whole, s.sum = nil, nil
}

// settled is settle where no round was begun behind those that combined.
func (s *staged) settled() error {
	if s.sum == nil {
		return nil
	}
	if err := s.Await(s.idle); err != nil {
		return err
	}
	s.settle()
	return nil
}

// plan returns the caller's part in what the heads do with a piece of some bytes.
func (s *staged) plan(bytes, root int) plan {
	return s.t.heads.plan(s.t.choice(s.g, s.call.op, bytes), root)
}

// among runs what the heads do with a piece of memory. root is a place among them.
func (s *staged) among(ctx context.Context, root int, b []byte) error {
	p, size := s.plan(len(b), root), s.call.size
	return s.x.runAmong(ctx, s.t.heads, p, &even{bytes: b, size: size, count: len(b) / size, blocks: p.Blocks})
}

// hand passes on what has come to a slot's member to those of the host that get it: all, without gets.
func (s *staged) hand(chunk []byte, from int, gets func(slot int) bool) error {
	return s.rounds(chunk, func(b []byte) error {
		if s.t.near.at == from {
			copy(s.Result(len(b)), b)
			s.Publish()
			return s.arrive()
		}
		if gets != nil && !gets(s.t.near.at) {
			return s.arrive()
		}
		if err := s.Await(s.idle); err != nil {
			return err
		}
		if err := s.mismatch(s.Check(from)); err != nil {
			return err
		}
		copy(b, s.Result(len(b)))
		return s.arrive()
	})
}

// broadcast goes around on the root's host first, then among the heads, and then on the other hosts.
func (s *staged) broadcast(ctx context.Context) error {
	c := &s.call
	root, here := max(slices.Index(s.t.near.ranks, int(c.root)), 0), slices.Contains(s.t.near.ranks, int(c.root))
	if s.t.port != nil {
		s.onHost.root = root
	}
	for k := range chunksOf(len(c.out)) {
		b := chunk(c.out, k)
		if here {
			if err := s.hand(b, root, nil); err != nil {
				return err
			}
		}
		if s.isHead() {
			if err := s.among(ctx, s.t.headOf(s.g.s, int(c.root)), b); err != nil {
				return err
			}
		}
		if !here {
			if err := s.hand(b, root, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// barrier is over when the head knows that all hosts are there, and has said so.
func (s *staged) barrier(ctx context.Context) error {
	if err := s.rounds(nil, func([]byte) error { return s.arrive() }); err != nil {
		return err
	}
	if s.isHead() {
		if s.t.port != nil {
			if err := s.Await(s.idle); err != nil {
				return err
			}
		}
		if err := s.x.runAmong(ctx, s.t.heads, s.plan(0, 0), nil); err != nil {
			return err
		}
	}
	return s.hand(nil, 0, nil)
}

// allGather collects the blocks of a host at all its members. Of those of the other hosts, the heads exchange a chunk of each at a time.
func (s *staged) allGather(ctx context.Context) error {
	c, t, own := &s.call, s.t, s.t.near.at
	length := len(c.in)
	mine := t.region(c.out, t.headOf(s.g.s, s.g.m.rank), length)
	copy(mine[own*length:], c.in)
	for from := 0; from < length && t.port != nil; from += s.piece {
		to := min(from+s.piece, length)
		if err := s.Enter(s.idle); err != nil {
			return err
		}
		copy(s.Slot(own, to-from), c.in[from:to])
		if err := s.arrive(); err != nil {
			return err
		}
		if err := s.Await(s.idle); err != nil {
			return err
		}
		for slot := range t.near.ranks {
			if slot != own {
				copy(mine[slot*length+from:slot*length+to], s.Slot(slot, to-from))
			}
		}
	}
	longest, regions := 0, make([][]byte, t.heads.Size())
	for head := range regions {
		regions[head] = t.region(c.out, head, length)
		longest = max(longest, len(regions[head]))
	}
	for k := range chunksOf(longest) {
		if err := s.gatherChunk(ctx, regions, k); err != nil {
			return err
		}
	}
	return nil
}

// slabs is memory of one block for each of some ranks.
type slabs [][]byte

func (s slabs) block(i int) []byte { return s[i] }

// gatherChunk moves a chunk of the region of each host to all others.
func (s *staged) gatherChunk(ctx context.Context, regions [][]byte, k int) error {
	all := make(slabs, len(regions))
	for i, region := range regions {
		all[i] = chunk(region, k)
	}
	if s.isHead() {
		if err := s.x.runAmong(ctx, s.t.heads, s.plan(0, 0), all); err != nil {
			return err
		}
	}
	own := s.t.headOf(s.g.s, s.g.m.rank)
	for i, b := range all {
		if i == own || len(b) == 0 && k > 0 {
			continue
		}
		if err := s.hand(b, 0, nil); err != nil {
			return err
		}
	}
	return nil
}
