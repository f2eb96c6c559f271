// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"bytes"
	"context"
	"slices"
)

// Reductions by tiers.

// combine is the first stage of reductions: what the members of the host have comes together at the head, in into, which is nil at the others.
func (s *staged) combine(into, chunk []byte) error {
	fold := func(dst []byte, srcs [][]byte, _ bool) { s.call.math.all(dst, srcs) }
	if s.t.port == nil && len(chunk) > 0 && &into[0] != &chunk[0] {
		copy(into, chunk)
	}
	return s.rounds(chunk, func(b []byte) error {
		sum := s.Result(len(b))
		if err := s.mismatch(s.Fold(b, fold)); err != nil {
			return err
		}
		if s.isHead() {
			s.whole, s.sum = into[:len(b)], sum
			into = into[len(b):]
		}
		return nil
	})
}

// reduce is an all-reduce, or a reduce to a rank. When a chunk is begun, the one before is exchanged.
func (s *staged) reduce(ctx context.Context) error {
	c := &s.call
	c.math.begin(c.in)
	s.x.reduceWith(c.math, s.g.Size())
	chunks := chunksOf(len(c.in))
	for k := range chunks + 1 {
		if k < chunks {
			b := chunk(c.in, k)
			if err := s.combine(b, b); err != nil {
				return err
			}
		}
		if k == 0 {
			continue
		}
		if k == chunks {
			if err := s.settled(); err != nil {
				return err
			}
		}
		b := chunk(c.in, k-1)
		if err := s.exchange(ctx, b); err != nil {
			return err
		}
		if err := s.deliver(b); err != nil {
			return err
		}
	}
	return nil
}

// exchange is the second stage of reductions.
func (s *staged) exchange(ctx context.Context, b []byte) error {
	if !s.isHead() {
		return nil
	}
	root := 0
	if s.call.op == opReduce {
		root = s.t.headOf(s.g.s, int(s.call.root))
	}
	return s.among(ctx, root, b)
}

// deliver hands what the head has to those of the host that get it.
func (s *staged) deliver(b []byte) error {
	if s.call.op == opAllReduce {
		return s.hand(b, 0, nil)
	}
	to := slices.Index(s.t.near.ranks, int(s.call.root))
	if to <= 0 { // on another host, or the head
		return nil
	}
	return s.hand(b, 0, func(slot int) bool { return slot == to })
}

// reduceScatter combines the regions of all hosts, a chunk of each at a time, at the head of each, whose neighbours then find their parts there.
func (s *staged) reduceScatter(ctx context.Context) error {
	c, t := &s.call, s.t
	in := c.in
	if c.math.prepares() {
		in = bytes.Clone(in)
		c.math.begin(in)
	}
	s.x.reduceWith(c.math, s.g.Size())
	longest := 0
	for head := range t.heads.ranks {
		longest = max(longest, len(t.region(in, head, len(c.out))))
	}
	var sums []byte // of a chunk
	if s.isHead() {
		sums = t.room(min(longest, tierBytes))
	}
	for k := range chunksOf(longest) {
		for head := range t.heads.ranks {
			b := chunk(t.region(in, head, len(c.out)), k)
			if len(b) == 0 && k > 0 {
				continue
			}
			if err := s.scatterChunk(ctx, head, b, within(sums, 0, len(b)), k*tierBytes); err != nil {
				return err
			}
		}
	}
	return nil
}

// scatterChunk combines a chunk at a head. at is where it is in the region of the head's host.
func (s *staged) scatterChunk(ctx context.Context, head int, b, sums []byte, at int) error {
	if err := s.combine(sums, b); err != nil {
		return err
	}
	if s.isHead() {
		if err := s.settled(); err != nil {
			return err
		}
		if err := s.among(ctx, head, sums); err != nil {
			return err
		}
	}
	if head != s.t.headOf(s.g.s, s.g.m.rank) {
		return nil
	}
	out := s.call.out
	first := s.t.near.at * len(out)
	take := func(sums []byte, at int) { // what this member gets of a piece
		from, to := max(at, first), min(at+len(sums), first+len(out))
		if from < to {
			copy(out[from-first:to-first], sums[from-at:])
		}
	}
	if s.isHead() {
		take(sums, at)
	}
	return s.rounds(b, func(piece []byte) error {
		if s.isHead() {
			copy(s.Result(len(piece)), sums)
			sums = sums[len(piece):]
			s.Publish()
			return s.arrive()
		}
		if err := s.Await(s.idle); err != nil {
			return err
		}
		if err := s.mismatch(s.Check(0)); err != nil {
			return err
		}
		take(s.Result(len(piece)), at)
		at += len(piece)
		return s.arrive()
	})
}
