// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"fmt"
	"slices"
)

// Placement says which nodes the actors of a Spawn go to. It is a SpawnOption. It looks at the nodes at the time of the Spawn; nothing moves later
// because nodes come or the load changes.
type Placement uint8

const (
	// Spread divides the actors evenly over the nodes that are alive; neighbours share a node. It is the default.
	Spread Placement = iota
	// Pack puts all actors on one node, that with the fewest actors; of several, on the one with the lowest number.
	Pack
)

func (p Placement) applySpawn(c *spawnConfig) { c.placement, c.nodes = p, nil }

type onNodes []uint32

func (o onNodes) applySpawn(c *spawnConfig) { c.placement, c.nodes = Spread, o }

// OnNodes divides the actors evenly over these nodes, in the order given. Spawn fails with ErrInvalid if there are none, or a number is that of no
// node or is given twice, and with ErrNodeLost if one of them is lost.
func OnNodes(ids ...uint32) SpawnOption { return onNodes(append([]uint32{}, ids...)) }

// part is the share of a Spawn that goes to one node.
type part struct {
	node, first, count uint32
	index              int // of its first actor among all
}

// place divides n actors over nodes, in blocks, and reserves their serial numbers.
func (s *System) place(n int, c *spawnConfig) ([]part, error) {
	var alive []NodeInfo
	for _, info := range s.Nodes() {
		if info.Alive && s.mesh.IsLost(info.ID) == nil { // the news may be on its way to members
			alive = append(alive, info)
		}
	}
	nodes, err := c.choose(alive, s.Nodes())
	if err != nil {
		return nil, err
	}
	s.members.Lock()
	defer s.members.Unlock()
	var parts []part
	for i, id := range nodes {
		from, to := i*n/len(nodes), (i+1)*n/len(nodes)
		if from == to {
			continue
		}
		m := s.members.byID[id]
		parts = append(parts, part{node: id, first: m.serial, count: uint32(to - from), index: from})
		m.serial += uint32(to - from)
	}
	return parts, nil
}

// choose returns the nodes to divide actors over.
func (c *spawnConfig) choose(alive, all []NodeInfo) ([]uint32, error) {
	if len(alive) == 0 {
		return nil, fmt.Errorf("%w: no node is left", ErrNodeLost)
	}
	ids := func(infos []NodeInfo) []uint32 {
		ids := make([]uint32, len(infos))
		for i, info := range infos {
			ids[i] = info.ID
		}
		return ids
	}
	switch {
	case c.nodes != nil:
		for i, id := range c.nodes {
			switch {
			case !slices.Contains(ids(all), id):
				return nil, fmt.Errorf("%w: OnNodes(%v): there is no node %d", ErrInvalid, c.nodes, id)
			case slices.Contains(c.nodes[:i], id):
				return nil, fmt.Errorf("%w: OnNodes(%v): node %d is there twice", ErrInvalid, c.nodes, id)
			case !slices.Contains(ids(alive), id):
				return nil, fmt.Errorf("%w: OnNodes(%v): node %d", ErrNodeLost, c.nodes, id)
			}
		}
		return c.nodes, nil
	case c.placement == Pack:
		least := slices.MinFunc(alive, func(a, b NodeInfo) int { return a.Actors - b.Actors }) // the first of several
		return []uint32{least.ID}, nil
	}
	return ids(alive), nil
}
