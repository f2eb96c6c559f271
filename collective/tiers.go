// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tutti-go/tutti/collective/hostshm"
	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/internal/mesh"
)

// Where members are on several hosts, some of which have several, an all-reduce has two stages: the members of a host combine what they have in its
// memory, and the first of each host, its head, combines that with what the others have, by messages. The buffers go chunk by chunk, so that
// the neighbours of a head combine one while it exchanges the one before. So each byte crosses the network as often as if each host had one member.

// tierBytes is a chunk: long enough for lanes, and short beside a buffer whose stages are worth an overlap.
const tierBytes = 2 << 20

// tier is where a member is among all.
type tier struct {
	port  *hostshm.Port // into the memory of its host; nil if it is alone there
	near  *team         // the members of its host, of which the head is the first
	heads *team
}

// neighbours returns the ranks on the host of one, as the charter has it.
func (s *session) neighbours(rank int) []int {
	var ranks []int
	for r, host := range s.hosts {
		if host == s.hosts[rank] {
			ranks = append(ranks, r)
		}
	}
	return ranks
}

// hostOf returns the host of a node's members, or false if it has none or the members are all on one.
func (s *session) hostOf(node mesh.NodeID) (uint32, bool) {
	for rank, host := range s.hosts {
		if s.nodeOf(rank) == node {
			return host, true
		}
	}
	return 0, false
}

// firstNear returns the node of the lowest rank on the host of a node.
func (s *session) firstNear(node mesh.NodeID) mesh.NodeID {
	host, ok := s.hostOf(node)
	if !ok {
		return s.nodeOf(0)
	}
	return s.nodeOf(slices.Index(s.hosts, host))
}

// markOf returns what tells the hosts of a group apart in the names of files.
func (s *session) markOf(node mesh.NodeID) string {
	if host, ok := s.hostOf(node); ok {
		return fmt.Sprintf("-%d", host)
	}
	return ""
}

// mostNeighbours returns how many members are on one host, at most.
func (s *session) mostNeighbours() int {
	if len(s.hosts) == 0 {
		return len(s.members)
	}
	count := map[uint32]int{}
	most := 0
	for _, host := range s.hosts {
		count[host]++
		most = max(most, count[host])
	}
	return most
}

// meetNeighbours finds out, at all members alike, whether the members of every host have memory in common.
func (x *execution) meetNeighbours(ctx context.Context, g *Group) error {
	m, s := g.m, g.s
	near := s.neighbours(m.rank)
	var own hostshm.File
	if len(near) > 1 {
		own = s.host.open(len(near))
	}
	const each = 4 // words
	words := make([]uint64, each*g.Size())
	copy(words[each*m.rank:], []uint64{own.Boot, own.Device, own.Inode, own.Bell})
	x.buf = evenly(words, g.Size())
	if err := x.run(ctx, g.plan(g.first(schedule.AllGather), 0)); err != nil {
		return err
	}
	x.buf = nil
	s.host.unname()
	m.host.met = true
	var heads []int
	for rank, host := range s.hosts {
		first := slices.Index(s.hosts, host)
		if rank == first {
			heads = append(heads, rank)
			continue
		}
		file := words[each*rank:][:each]
		if !slices.Equal(file, words[each*first:][:each]) || !slices.ContainsFunc(file, func(w uint64) bool { return w != 0 }) {
			return nil // there are messages
		}
	}
	t := &tier{near: newTeam(near, m.rank), heads: newTeam(heads, m.rank)}
	if len(near) > 1 {
		segment := s.host.use()
		if segment == nil {
			return nil // the epoch is over
		}
		defer s.host.leave()
		port, err := segment.Port(t.near.at)
		if err != nil {
			return fmt.Errorf("collective: the memory of this host: %w", err)
		}
		t.port = port
	}
	m.host.tier = t
	return nil
}

// takes reports whether an operation goes by tiers. It depends on what all members know of it.
func (t *tier) takes(op operation, math *arithmetic) bool {
	return t != nil && op == opAllReduce && !math.ordered && !math.foreign
}

// staged is an all-reduce by tiers.
type staged struct {
	*onHost

	x     *execution
	t     *tier
	piece int    // bytes of a round
	whole []byte // of a head: where what its host has combined last is to be
	sum   []byte // and where it is, from the beginning of the next round on
}

// reduceInTiers carries out an all-reduce. The error is an *ending.
func (x *execution) reduceInTiers(ctx context.Context, g *Group, c *invocation, seq uint64) error {
	t, o := g.m.host.tier, g.s.host
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
	c.math.begin(c.out)
	x.reduceWith(c.math, g.Size())
	err := (&staged{onHost: r, x: x, t: t}).run(ctx, c.out)
	if errors.Is(err, hostshm.ErrEnded) {
		err = r.over()
	}
	if err != nil {
		return g.m.endingOf(r.ctx, err)
	}
	return nil
}

// run goes through the chunks: when one is begun, the one before is exchanged.
func (s *staged) run(ctx context.Context, buf []byte) error {
	s.piece = tierBytes
	if s.t.port != nil {
		room, err := s.Room(min(len(buf), tierBytes), s.idle)
		if err != nil {
			return err
		}
		s.piece = max(room, 1)
	}
	chunks := max(1, (len(buf)+tierBytes-1)/tierBytes)
	chunk := func(k int) []byte { return buf[k*tierBytes : min((k+1)*tierBytes, len(buf))] }
	for k := range chunks + 1 {
		if k < chunks {
			if err := s.combine(chunk(k)); err != nil {
				return err
			}
		}
		if k == 0 {
			continue
		}
		if err := s.exchange(ctx, chunk(k-1), k == chunks); err != nil {
			return err
		}
		if err := s.hand(chunk(k - 1)); err != nil {
			return err
		}
	}
	return nil
}

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

func (s *staged) isHead() bool { return s.t.near.at == 0 }

// settle takes what the last round has combined, at a head: all have arrived.
func (s *staged) settle() {
	copy(s.whole, s.sum)
	s.whole, s.sum = nil, nil
}

// combine is the first stage: what the members of the host have comes together at the head.
func (s *staged) combine(chunk []byte) error {
	fold := func(dst []byte, srcs [][]byte, _ bool) { s.call.math.all(dst, srcs) }
	return s.rounds(chunk, func(b []byte) error {
		sum := s.Result(len(b))
		if err := s.mismatch(s.Fold(b, fold)); err != nil {
			return err
		}
		if s.isHead() {
			s.whole, s.sum = b, sum
		}
		return nil
	})
}

// exchange is the second stage. last says that no round was begun behind those that combined the chunk.
func (s *staged) exchange(ctx context.Context, chunk []byte, last bool) error {
	if !s.isHead() {
		return nil
	}
	if last && s.sum != nil {
		if err := s.Await(s.idle); err != nil {
			return err
		}
		s.settle()
	}
	heads, choice := s.t.heads, s.g.named(schedule.AllReduce, "circulant")
	choice.Parts = max(1, min(len(chunk)/heads.Size()/segment, 4))
	p := heads.plan(choice, 0)
	c := &s.call
	return s.x.runAmong(ctx, heads, p, &even{bytes: chunk, size: c.size, count: len(chunk) / c.size, blocks: p.Blocks})
}

// hand passes on to the members of the host what has come to the head.
func (s *staged) hand(chunk []byte) error {
	return s.rounds(chunk, func(b []byte) error {
		if s.isHead() {
			copy(s.Result(len(b)), b)
			s.Publish()
			return s.arrive()
		}
		if err := s.Await(s.idle); err != nil {
			return err
		}
		if err := s.mismatch(s.Check(0)); err != nil {
			return err
		}
		copy(b, s.Result(len(b)))
		return s.arrive()
	})
}
