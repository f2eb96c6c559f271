// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"slices"

	"github.com/tutti-go/tutti/collective/hostshm"
	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/internal/mesh"
)

// Where members are on several hosts, some of which have several, operations have two stages: the members of a host combine, or collect, what they have in its
// memory, and the first of each host, its head, exchanges that with the heads of the others by messages. The buffers go chunk by chunk, so that
// the neighbours of a head combine one while it exchanges the one before. So each byte crosses the network as often as if each host had one member.

// tierBytes is a chunk: long enough for lanes, and short beside a buffer whose stages are worth an overlap.
const tierBytes = 2 << 20

// tier is where a member is among all.
type tier struct {
	port  *hostshm.Port // into the memory of its host; nil if it is alone there
	near  *team         // the members of its host, of which the head is the first
	heads *team
	// inOrder says that the ranks of each host follow each other, so that the blocks of a host are one piece of memory.
	inOrder bool

	most  int // members on one host, at most
	tours map[tourKey]*tour
	stage []byte // for what a head holds of its neighbours' data; of the operation that runs
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
	m.host.met.Store(true)
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
	t := &tier{near: newTeam(near, m.rank), heads: newTeam(heads, m.rank), inOrder: len(slices.Compact(slices.Clone(s.hosts))) == len(heads)}
	t.most = s.mostNeighbours()
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
	m.host.tier.Store(t)
	return nil
}

// takes reports whether an operation goes by tiers. It depends on what all members know of it.
func (t *tier) takes(op operation, math *arithmetic) bool {
	if t == nil || math.ordered || math.foreign {
		return false
	}
	switch op {
	case opAllReduce, opReduce, opBroadcast, opBarrier:
		return true
	case opAllGather, opReduceScatter, opGather, opGatherV, opScatter, opScatterV:
		return t.inOrder
	default:
		return false
	}
}

// headOf returns the place among the heads of that of a rank's host.
func (t *tier) headOf(s *session, rank int) int {
	return slices.Index(t.heads.ranks, slices.Index(s.hosts, s.hosts[rank]))
}

// region returns what a host has of memory with a block of some bytes for each rank, where they are in order.
func (t *tier) region(all []byte, head, block int) []byte {
	end := len(all)
	if head+1 < len(t.heads.ranks) {
		end = t.heads.ranks[head+1] * block
	}
	return all[t.heads.ranks[head]*block : end]
}

// choice returns how the heads exchange a piece of an operation.
func (t *tier) choice(g *Group, op operation, bytes int) schedule.Choice {
	switch op {
	case opAllReduce:
		c := g.named(schedule.AllReduce, "circulant")
		c.Parts = max(1, min(bytes/t.heads.Size()/segment, 4))
		return c
	case opReduce, opReduceScatter: // of which each head gets its own chunks
		return g.named(schedule.Reduce, "binomial")
	case opBroadcast:
		return g.named(schedule.Broadcast, "binomial")
	case opAllGather:
		return g.named(schedule.AllGather, "circulant")
	case opGather: // in which it is the root that takes part of its host, as in a scatter
		return g.named(schedule.Gather, "linear")
	case opScatter:
		return g.named(schedule.Scatter, "linear")
	default:
		return g.first(schedule.Barrier)
	}
}
