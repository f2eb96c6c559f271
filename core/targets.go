// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/tutti-go/tutti/internal/wire"
)

// Targets are the actors of a batch, checked and grouped by node once so that repeated calls need not, unless one of them moves. They are immutable.
type Targets struct {
	sys       *System
	kind      *kind
	ids       []ActorID
	places    []ActorID // of the actors, in the epoch of the system's members
	epoch     uint64
	latest    atomic.Pointer[Targets] // the same actors as they were placed when they were last called; nil if that is here
	shares    []share
	byNode    []uint32 // the shares by the numbers of their nodes
	slotShare []uint32 // index of a slot's share; nil if there is one share
	// largest is the number of actors in the largest share.
	largest int
	local   bool // all are on the driver's host
	plans   plans
}

// share is the part of a batch that goes to one node, in one message.
type share struct {
	node   uint32
	host   string         // of the node
	rank   int            // number of the host
	order  *atomic.Uint64 // number of the last message to the node
	window *window        // of the node
	slots  []uint32
	runs   []wire.Run
}

// NewTargets checks that the actors can be called together: at least one, none nil, all of one kind and one
// system. The same actor may be there more than once; it then gets several calls. Errors: ErrNoActors, ErrMixed, ErrInvalid, ErrTooLarge.
func NewTargets[A any](handles []*Handle[A]) (*Targets, error) {
	if len(handles) == 0 {
		return nil, fmt.Errorf("batch: %w", ErrNoActors)
	}
	if len(handles) > wire.MaxTargets {
		return nil, fmt.Errorf("batch of %d actors: %w, the bound is %d", len(handles), ErrTooLarge, wire.MaxTargets)
	}
	t := &Targets{ids: make([]ActorID, len(handles))}
	for i, h := range handles {
		if h == nil || h.sys == nil {
			return nil, fmt.Errorf("batch: %w: handle %d is nil", ErrInvalid, i)
		}
		if i == 0 {
			t.sys, t.kind = h.sys, h.kind
		}
		if h.sys != t.sys {
			return nil, fmt.Errorf("batch: %w: actor %d belongs to another system than actor 0", ErrMixed, i)
		}
		if h.kind != t.kind {
			return nil, fmt.Errorf("batch: %w: actor %d is of kind %q, actor 0 of kind %q", ErrMixed, i, h.kind.name, t.kind.name)
		}
		t.ids[i] = h.id
	}
	t.locate()
	return t, nil
}

// group makes the shares, in order of each node's first actor. It takes every lock once and allocates once for all shares, for there may be
// ten thousand.
func (t *Targets) group() {
	of := make([]uint32, len(t.ids)) // share of each slot
	index := map[uint32]uint32{}
	var counts []int
	last := uint32(0)
	for slot, place := range t.places {
		if node := place.Node(); slot == 0 || t.shares[last].node != node { // neighbours are mostly on one node
			i, ok := index[node]
			if !ok {
				i = uint32(len(t.shares))
				index[node] = i
				t.shares = append(t.shares, share{node: node})
				counts = append(counts, 0)
			}
			last = i
		}
		of[slot] = last
		counts[last]++
	}
	t.sys.describe(t.shares)
	slots, serials := make([]uint32, len(t.ids)), make([]uint32, len(t.ids))
	runs := make([]wire.Run, len(t.shares)) // room for one each
	bySerial := make([][]uint32, len(t.shares))
	t.local = true
	for i, n := range counts {
		t.shares[i].slots, slots = slots[:0:n], slots[n:]
		bySerial[i], serials = serials[:0:n], serials[n:]
		t.largest = max(t.largest, n)
		t.local = t.local && t.shares[i].host == t.sys.host
	}
	for slot, i := range of {
		t.shares[i].slots = append(t.shares[i].slots, uint32(slot))
		bySerial[i] = append(bySerial[i], t.places[slot].Serial())
	}
	for i := range t.shares {
		t.shares[i].runs = wire.AppendRuns(runs[i:i:i+1], t.shares[i].slots, bySerial[i])
	}
	t.byNode = make([]uint32, len(t.shares))
	for i := range t.byNode {
		t.byNode[i] = uint32(i)
	}
	slices.SortFunc(t.byNode, func(a, b uint32) int { return cmp.Compare(t.shares[a].node, t.shares[b].node) })
	if len(t.shares) > 1 {
		t.slotShare = of
	}
}

// describe fills in what the system knows of the nodes of shares.
func (s *System) describe(shares []share) {
	s.members.Lock()
	for i := range shares {
		if shares[i].node == driverNode {
			shares[i].host = s.host
		} else if m := s.members.byID[shares[i].node]; m != nil {
			shares[i].host = m.info.Host
		}
	}
	s.members.Unlock()
	s.orders.Lock()
	for i := range shares {
		shares[i].order = s.orderToLocked(shares[i].node)
	}
	s.orders.Unlock()
	s.windows.Lock()
	for i := range shares {
		shares[i].window = s.windowLocked(shares[i].node)
	}
	s.windows.Unlock()
	s.routes.Lock()
	defer s.routes.Unlock()
	for i := range shares {
		shares[i].rank = s.routes.rankOfLocked(shares[i].host)
	}
}

// Len returns the number of actors.
func (t *Targets) Len() int { return len(t.ids) }

// System returns the system that the actors belong to.
func (t *Targets) System() *System { return t.sys }

// IDs returns the identities of the actors, in slot order. They must not be changed.
func (t *Targets) IDs() []ActorID { return t.ids }
