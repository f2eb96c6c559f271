// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"fmt"

	"github.com/tutti-go/tutti/collective/schedule"
)

// selection is what all members of a group know of how operations are carried out: they must all do it alike.
type selection struct {
	Model  *schedule.Model // nil: none was measured
	Given  bool            // the model, by the caller
	Table  []uint32        // codes of a schedule.Table; none: the limits below hold
	Forced []force

	Messages bool // also where the members share memory
}

// byMessages says that the caller wants messages: to name an algorithm is to want the messages of which it consists.
func (s *selection) byMessages() bool { return s.Messages || len(s.Forced) > 0 }

type force struct {
	Op   schedule.Op
	Name string
}

// Algorithm makes an operation go by the algorithm of a name, such as "ring" for a schedule.AllReduce, at every size, rather than by
// the one of which the least time is predicted. [schedule.Algorithms] lists the names. Operations with blocks of different
// lengths, and reductions that do not commute, go their own way. May be given once for each operation. All operations of the group are
// then by messages, also where its members share memory.
func Algorithm(op schedule.Op, name string) Option { return force{op, name} }

func (f force) apply(b *bounds)       { b.Select.Forced = append(b.Select.Forced, f) }
func (f force) connect(c *connecting) { f.apply(&c.bounds) }

// Costs makes NewGroup choose algorithms by a cost model that the caller gives, such as one of a cluster with several hosts,
// rather than by one that is measured on the creator's machine, about once a month, and kept in the user's cache directory (tutti/costs-*.json).
// EnvCosts names another file.
func Costs(m schedule.Model) Option { return costs(m) }

type costs schedule.Model

func (m costs) apply(b *bounds) {
	model := schedule.Model(m)
	b.Select.Model, b.Select.Given = &model, true
}

func (m costs) connect(c *connecting) { m.apply(&c.bounds) }

// Limits of a group that was made without a measured model.
const (
	gatherLimit     = 16 << 10  // bytes of all members up to which an all-reduce collects all contributions everywhere
	treeLimit       = 256 << 10 // bytes of one member up to which a reduce sends whole buffers up a tree
	exchangeLimit   = 2 << 10   // bytes of one member up to which an all-to-all of many copies everything to all members
	exchangeMembers = 16
	partBytes       = 64 << 10 // of a part of an algorithm that cuts buffers into parts
	mostParts       = 64
)

// chooser chooses algorithms for the members of one node.
type chooser struct {
	selection

	catalogue *schedule.Catalogue
	model     *schedule.Model
	table     *schedule.Table // nil: the limits hold
	forced    map[schedule.Op]*schedule.Algorithm
	ranks     int
}

// chooser checks a selection. The error matches ErrArgument.
func (s *selection) chooser(ranks int) (*chooser, error) {
	c := &chooser{selection: *s, catalogue: schedule.NewCatalogue(), model: s.Model, forced: map[schedule.Op]*schedule.Algorithm{}, ranks: ranks}
	for _, f := range s.Forced {
		a := c.catalogue.Lookup(f.Op, f.Name)
		if a == nil {
			return nil, fmt.Errorf("%w: %v has no algorithm %q", ErrArgument, f.Op, f.Name)
		}
		if c.forced[f.Op] != nil {
			return nil, fmt.Errorf("%w: two algorithms are named for %v", ErrArgument, f.Op)
		}
		c.forced[f.Op] = a
	}
	if s.Model != nil {
		if err := s.Model.Validate(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrArgument, err)
		}
	}
	if len(s.Table) > 0 {
		table, err := schedule.ParseTable(c.catalogue, s.Table)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrArgument, err)
		}
		c.table = table
	}
	return c, nil
}

// choose returns how an operation is carried out, of which the larger buffer of a member has some bytes, and why.
func (c *chooser) choose(op schedule.Op, bytes int) (choice schedule.Choice, why string) {
	if a := c.forced[op]; a != nil {
		why = "named by the option Algorithm"
		if c.table == nil {
			return schedule.Choice{Algorithm: a, Parts: partsOf(a, bytes)}, why
		}
		return c.table.Choose(op, bytes), why
	}
	if c.table != nil {
		return c.table.Choose(op, bytes), "the least predicted time, at the nearest size of the group's table"
	}
	var name string
	why = "by fixed limits, for no model was measured"
	switch {
	case op == schedule.AllReduce && c.ranks*bytes <= gatherLimit, op == schedule.AllToAll && c.ranks >= exchangeMembers && bytes <= exchangeLimit:
		name = "gather"
	case op == schedule.Reduce && bytes > treeLimit:
		name = "circulant"
	default:
		return c.first(op), why
	}
	return schedule.Choice{Algorithm: c.catalogue.Lookup(op, name), Parts: 1}, why
}

// first returns the safest choice.
func (c *chooser) first(op schedule.Op) schedule.Choice {
	return schedule.Choice{Algorithm: c.catalogue.Of(op)[0], Parts: 1}
}

// partsOf returns into how many parts an algorithm cuts a buffer where there is no model to ask.
func partsOf(a *schedule.Algorithm, bytes int) int {
	if !a.Parted || !a.Rooted {
		return 1
	}
	return max(1, min(bytes/partBytes, mostParts))
}

// chooser returns what chooses for the caller: the epoch's, or what its first member has made for it.
func (g *Group) chooser() *chooser {
	if g.m != nil {
		if c := g.m.chooser.Load(); c != nil {
			return c
		}
	}
	return g.s.chooser
}

// first returns the algorithm that is the safest choice of an operation.
func (g *Group) first(op schedule.Op) schedule.Choice { return g.chooser().first(op) }

// choose returns how an operation is carried out, of which the larger buffer of a member has some bytes.
func (g *Group) choose(op schedule.Op, bytes int) schedule.Choice {
	c, _ := g.chooser().choose(op, bytes)
	return c
}

// choiceOf returns how an operation that can be prepared is carried out by messages. A reduction that keeps the order of ranks moves all
// contributions to where they are reduced.
func (g *Group) choiceOf(c invocation) schedule.Choice {
	n, ordered := g.Size(), c.math.ordered
	switch c.op {
	case opAllReduce:
		if ordered {
			return g.named(schedule.AllReduce, "gather")
		}
		return g.choose(schedule.AllReduce, len(c.out))
	case opReduce:
		if ordered {
			return g.choose(schedule.Gather, n*len(c.in))
		}
		return g.choose(schedule.Reduce, len(c.in))
	case opReduceScatter:
		if ordered {
			return g.first(schedule.AllToAll)
		}
		return g.choose(schedule.ReduceScatter, len(c.in))
	case opBroadcast:
		return g.choose(schedule.Broadcast, len(c.out))
	case opAllGather:
		return g.choose(schedule.AllGather, len(c.out))
	case opAllToAll:
		return g.choose(schedule.AllToAll, len(c.in))
	default:
		return g.choose(schedule.Barrier, 0)
	}
}

// named returns the algorithm of a name, which there must be.
func (g *Group) named(op schedule.Op, name string) schedule.Choice {
	return schedule.Choice{Algorithm: g.chooser().catalogue.Lookup(op, name), Parts: 1}
}
