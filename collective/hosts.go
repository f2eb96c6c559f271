// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/internal/scope"
)

// Members of one host read each other's object store. Who is on whose host, the members tell each other in the first operation of an
// epoch that shares its result.

// storage is where a node shares memory with others.
type storage struct {
	store *arrowstore.Store // nil if the node has none
	host  string

	once   sync.Once
	opened error                                                   // of open
	limit  int64                                                   // of the store, in bytes; known when it is ready
	open   func() (*arrowstore.Store, string, func() error, error) // opens the store when it is first needed, or nil
	closed func() error                                            // closes what open has opened

	stretch int // bytes that the contributions of all members of a host to a stretch of a reduction take at most

	copied atomic.Int64 // bytes of data that operations with shared results have copied into the store
	sent   atomic.Int64 // bytes that they have sent to other members, the few of their arrangements included
}

func newStorage(n *scope.Node) *storage {
	st, _ := n.Store.(*arrowstore.Store)
	return &storage{store: st, host: n.Host, stretch: stretchBytes}
}

// team is some of the members of a group, who run schedules among themselves.
type team struct {
	ranks []int // in the group
	at    int   // place of the caller among them; -1 if it is not one of them
	plans map[planKey]plan
}

func newTeam(ranks []int, rank int) *team {
	return &team{ranks: ranks, at: slices.Index(ranks, rank), plans: map[planKey]plan{}}
}

// Size returns the number of members.
func (t *team) Size() int { return len(t.ranks) }

// Rank returns the place of the caller.
func (t *team) Rank() int { return t.at }

// plan returns the caller's part in an operation of the team. root is a place in it.
func (t *team) plan(c schedule.Choice, root int) plan {
	key := planKey{c.Algorithm, root, c.Parts}
	p, ok := t.plans[key]
	if !ok {
		if len(t.plans) >= maxPlans {
			clear(t.plans)
		}
		p.Schedule = c.Algorithm.Plan(len(t.ranks), t.at, root, c.Parts)
		p.program = schedule.Compile(p.Schedule)
		t.plans[key] = p
	}
	return p
}

// runAmong runs the plan of a team.
func (x *execution) runAmong(ctx context.Context, t *team, p plan, buf memory) error {
	x.buf, x.ranks = buf, t.ranks
	defer func() { x.ranks = nil }()
	return x.run(ctx, p)
}

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

// ready reports whether there is a store.
func (p *storage) ready() error {
	p.once.Do(func() {
		if p.open != nil {
			p.store, p.host, p.closed, p.opened = p.open()
		}
		if p.store != nil {
			p.limit = p.store.Stats().Limit
		}
	})
	if p.opened != nil {
		return fmt.Errorf("object store for shared results: %w", p.opened)
	}
	if p.store == nil {
		return fmt.Errorf("%w: a shared result: the node has no object store", ErrArgument)
	}
	return nil
}

// close ends what open has opened, for good.
func (p *storage) close() error {
	p.once.Do(func() { p.opened = ErrClosed })
	if p.closed == nil {
		return nil
	}
	return p.closed()
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
