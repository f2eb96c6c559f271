// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"crypto/sha256"

	"github.com/tutti-go/tutti/collective/schedule"
)

// Members of one host read each other's object store. Who is on whose host, the members tell each other in the first operation of an
// epoch that shares its result.

// hosts is where the members of a group are, as one of them knows it. It belongs to the operation that runs.
type hosts struct {
	ranks [][]int // by host, which are in the order of their lowest ranks
	of    []int   // host of each rank
	own   int     // host of the caller
	here  *team   // its members
	heads map[int]*team
	// inOrder says that the ranks of each host follow each other.
	inOrder bool
}

const hostKeySize = 16

// hostsOf returns where the members are. The first time, all must call it in the same operation.
func (x *execution) hostsOf(ctx context.Context, g *Group) (*hosts, error) {
	m := g.m
	if m.hosts != nil {
		return m.hosts, nil
	}
	if err := m.s.hub.storage.ready(); err != nil {
		return nil, err
	}
	n := g.Size()
	key := sha256.Sum256([]byte(m.s.hub.storage.host))
	keys := &even{bytes: make([]byte, n*hostKeySize), size: 1, count: n * hostKeySize, blocks: n}
	copy(keys.block(m.rank), key[:hostKeySize])
	x.buf = keys
	if err := x.run(ctx, g.plan(g.first(schedule.AllGather), 0)); err != nil {
		return nil, err
	}
	known := map[[hostKeySize]byte]int{}
	h := &hosts{of: make([]int, n), heads: map[int]*team{}, inOrder: true}
	for rank := range n {
		k := [hostKeySize]byte(keys.block(rank))
		i, ok := known[k]
		if !ok {
			i = len(h.ranks)
			known[k] = i
			h.ranks = append(h.ranks, nil)
		}
		h.of[rank] = i
		h.inOrder = h.inOrder && (rank == 0 || h.of[rank-1] <= i)
		h.ranks[i] = append(h.ranks[i], rank)
	}
	h.own = h.of[m.rank]
	h.here = newTeam(h.ranks[h.own], m.rank)
	m.hosts = h
	return h, nil
}

// headsFor returns one member of each host: the lowest rank, but root of its own host.
func (h *hosts) headsFor(root, rank int) *team {
	t := h.heads[root]
	if t == nil {
		ranks := make([]int, len(h.ranks))
		for i, r := range h.ranks {
			ranks[i] = r[0]
		}
		ranks[h.of[root]] = root
		t = newTeam(ranks, rank)
		h.heads[root] = t
	}
	return t
}
