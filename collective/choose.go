// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import "github.com/tutti-go/tutti/collective/schedule"

// first returns the algorithm that is the safest choice of an operation.
func (g *Group) first(op schedule.Op) schedule.Choice {
	return schedule.Choice{Algorithm: schedule.Algorithms(op)[0], Parts: 1}
}

// Limits of a group that was made without a measured model.
const (
	gatherLimit     = 16 << 10  // bytes of all members up to which an all-reduce collects all contributions everywhere
	treeLimit       = 256 << 10 // bytes of one member up to which a reduce sends whole buffers up a tree
	exchangeLimit   = 2 << 10   // bytes of one member up to which an all-to-all of many copies everything to all members
	exchangeMembers = 16
)

// choose returns how an operation is carried out, of which the larger buffer of a member has some bytes.
func (g *Group) choose(op schedule.Op, bytes int) schedule.Choice {
	named := func(name string) schedule.Choice {
		return schedule.Choice{Algorithm: schedule.Lookup(op, name), Parts: 1}
	}
	switch {
	case op == schedule.AllReduce && g.Size()*bytes <= gatherLimit, op == schedule.AllToAll && g.Size() >= exchangeMembers && bytes <= exchangeLimit:
		return named("gather")
	case op == schedule.Reduce && bytes > treeLimit:
		return named("circulant")
	}
	return g.first(op)
}

// plan returns the caller's part in an operation.
func (g *Group) plan(c schedule.Choice, root int) plan {
	return g.m.s.plans.of(c.Algorithm, g.Size(), g.Rank(), root, c.Parts)
}
