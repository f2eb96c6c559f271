// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"slices"

	"github.com/tutti-go/tutti/collective/schedule"
)

// Gather and scatter by tiers, with blocks of equal lengths or any. The root exchanges with the heads of the other hosts straight out of its memory, or into
// it: over its own host's head each byte would be copied twice more. They take the same range of all blocks at a time, so that a head holds no more than a chunk.

// tour is those who exchange blocks with a root: it, in the place of its host's head, and the heads of the others.
type tour struct {
	*team

	plan plan
}

// tourKey tells the tours of one rank apart.
type tourKey struct {
	scatter bool
	root    int
}

// tour returns the caller's part in an exchange with a root. Its blocks are those of all ranks of the group.
func (t *tier) tour(g *Group, scatter bool, root int) *tour {
	key := tourKey{scatter, root}
	if known := t.tours[key]; known != nil {
		return known
	}
	if t.tours == nil || len(t.tours) >= maxPlans {
		t.tours = map[tourKey]*tour{}
	}
	ranks, at := slices.Clone(t.heads.ranks), t.headOf(g.s, root)
	ranks[at] = root
	o := &tour{team: newTeam(ranks, g.m.rank)}
	if o.at >= 0 {
		plan := schedule.LinearGather
		if scatter {
			plan = schedule.LinearScatter
		}
		o.plan.Schedule = t.widened(plan(len(ranks), o.at, at), g.Size())
		o.plan.program = schedule.Compile(o.plan.Schedule)
	}
	t.tours[key] = o
	return o
}

// widened makes a schedule with a block for each host one with a block for each rank.
func (t *tier) widened(s schedule.Schedule, ranks int) schedule.Schedule {
	wide := func(tr schedule.Transfer) schedule.Transfer {
		if tr.Blocks.Count > 0 {
			first, end := t.ranksOf(tr.Blocks.First, ranks)
			tr.Blocks = schedule.Blocks{First: first, Stride: 1, Count: end - first}
		}
		return tr
	}
	var steps []schedule.Step
	for _, st := range s.Steps() {
		st.Send, st.Recv = wide(st.Send), wide(st.Recv)
		steps = append(steps, st)
	}
	w := schedule.Of(s.Ranks, s.Rank, ranks, s.Rounds, steps...)
	w.Window = s.Window
	return w
}

// ranksOf returns the ranks on a host, from the first to the one before end, where they are in order.
func (t *tier) ranksOf(head, ranks int) (first, end int) {
	end = ranks
	if head+1 < len(t.heads.ranks) {
		end = t.heads.ranks[head+1]
	}
	return t.heads.ranks[head], end
}

// room returns memory of the member's, for one operation.
func (t *tier) room(length int) []byte {
	if len(t.stage) < length {
		t.stage = make([]byte, length)
	}
	return t.stage[:length]
}

// radial is a gather or a scatter: all data come to one member, or from it.
type radial struct {
	*staged
	*tour

	parts   parts
	longest int    // bytes of a block
	step    int    // bytes of a block that are exchanged at a time
	own     []byte // block of the member
	all     []byte // blocks of all, at the root
	hub     int    // slot of the one who exchanges what its host has with others
	slabs   slabs  // the range of the blocks that the member exchanges, by rank
	stage   []byte // of a head, for those of its neighbours
}

// radial finds out what all members know of the operation.
func (s *staged) radial() (*radial, error) {
	c, rank, root := &s.call, s.g.m.rank, int(s.call.root)
	scatter := c.op == opScatter || c.op == opScatterV
	r := &radial{staged: s, tour: s.t.tour(s.g, scatter, root), own: c.in, all: c.out}
	if scatter {
		r.own, r.all = c.out, c.in
	}
	r.hub = max(slices.Index(s.t.near.ranks, root), 0)
	if s.t.port != nil {
		s.onHost.root = r.hub
	}
	if r.parts, r.longest = equalParts(s.g.Size(), len(r.own)), len(r.own); c.inCounts != nil {
		r.parts, r.longest = unequalParts(c.inCounts, c.size), slices.Max(c.inCounts)*c.size
	}
	r.step = max(tierBytes/s.t.most&^63, 64)
	if r.tour.at >= 0 {
		r.slabs = make(slabs, s.g.Size())
		if rank != root {
			r.stage = s.t.room(s.t.near.Size() * min(r.step, r.longest))
		}
	}
	return r, s.fit(min(r.step, r.longest))
}

// aim chooses the range of the blocks of all that is exchanged next.
func (r *radial) aim(from, to int) {
	rank, root := r.g.m.rank, int(r.call.root)
	if rank == root {
		for other := range r.slabs {
			r.slabs[other] = within(r.parts.of(r.all, other), from, to)
		}
		return
	}
	if r.tour.at < 0 {
		return
	}
	for slot, other := range r.t.near.ranks {
		_, length := r.parts.at(other)
		at := slot * min(r.step, r.longest)
		r.slabs[other] = r.stage[at : at+max(min(length, to)-from, 0)]
	}
	r.slabs[rank] = within(r.own, from, to)
}

// each calls do for each range of the blocks, of which others are to be seen in slabs; at least once.
func (r *radial) each(do func(from, to int) error) error {
	for from := 0; ; from += r.step {
		to := min(from+r.step, r.longest)
		r.aim(from, to)
		if err := do(from, to); err != nil || to == r.longest {
			return err
		}
	}
}

// gather collects a range of the blocks of each host at one of its members, which then brings it to the root.
func (s *staged) gather(ctx context.Context) error {
	r, err := s.radial()
	if err != nil {
		return err
	}
	if r.g.m.rank == int(r.call.root) {
		copy(r.parts.of(r.all, r.g.m.rank), r.own)
	}
	return r.each(func(from, to int) error {
		if err := r.collect(from, to); err != nil {
			return err
		}
		return r.pass(ctx)
	})
}

// pass is the exchange between hosts.
func (r *radial) pass(ctx context.Context) error {
	if r.tour.at < 0 {
		return nil
	}
	return r.x.runAmong(ctx, r.team, r.tour.plan, r.slabs)
}

// collect brings a range of the blocks of a host together.
func (r *radial) collect(from, to int) error {
	if r.t.port == nil {
		return nil
	}
	own := r.t.near.at
	return r.roundsOf(to-from, r.piece, func(a, b int) error {
		if own != r.hub {
			copy(r.Slot(own, b-a), within(r.own, from+a, from+b))
			return r.arrive()
		}
		if err := r.arrive(); err != nil {
			return err
		}
		if err := r.Await(r.idle); err != nil {
			return err
		}
		for slot, other := range r.t.near.ranks {
			if slot != own {
				copy(within(r.slabs[other], a, b), r.Slot(slot, b-a))
			}
		}
		return nil
	})
}

// scatter brings a range of the blocks of each host to one of its members, which then hands them out. The root hands out first: others may copy while it sends.
func (s *staged) scatter(ctx context.Context) error {
	r, err := s.radial()
	if err != nil {
		return err
	}
	here := r.g.m.rank == int(r.call.root)
	if here {
		copy(r.own, r.parts.of(r.all, r.g.m.rank))
	}
	return r.each(func(from, to int) error {
		if !here {
			if err := r.pass(ctx); err != nil {
				return err
			}
		}
		if err := r.handOut(from, to); err != nil || !here {
			return err
		}
		return r.pass(ctx)
	})
}

// handOut gives a range of the blocks of a host to its members.
func (r *radial) handOut(from, to int) error {
	if r.t.port == nil {
		return nil
	}
	own := r.t.near.at
	return r.roundsOf(to-from, r.piece, func(a, b int) error {
		if own == r.hub {
			for slot, other := range r.t.near.ranks {
				if slot != own {
					copy(r.Slot(slot, b-a), within(r.slabs[other], a, b))
				}
			}
			r.Publish()
			return r.arrive()
		}
		if err := r.Await(r.idle); err != nil {
			return err
		}
		if err := r.mismatch(r.Check(r.hub)); err != nil {
			return err
		}
		copy(within(r.own, from+a, from+b), r.Slot(own, b-a))
		return r.arrive()
	})
}
