// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"unsafe"

	"github.com/tutti-go/tutti/arrowstore"
)

// Place is where a member writes its part of the result of the next [AllGatherPlace] or [GatherPlace], so that nobody copies it: the members of a
// host write side by side into one object, which becomes the result. The members make a Place together, and each operation gives all of them the
// place of the next, in other memory:
//
//	p, err := collective.NewPlace[float32](ctx, g, count)
//	defer p.Release()
//	for step := range steps {
//		compute(step, p.Slice())
//		v, err := collective.AllGatherPlace(ctx, g, p)
//		use(v.Slice()) // Size times count
//		v.Release()
//	}
//
// One goroutine at a time may use it. It holds the memory of one result on each host until it is released; on one machine with its memory that of up to
// four, which are used again when nobody has a view of them any more, until the second operation after that or the group's end. It is of no more use once the
// epoch is over.
type Place[T arrowstore.Numeric] struct {
	m     *member
	parts parts
	joint *joint // the result of the next operation; nil after Release, and after an operation that failed
	then  *joint // of the one after it, in the memory of a machine: so nobody has to wait to learn of it
	shelf shelf  // what both are of there
	slice []T
}

// NewPlace makes a Place of count elements for each member. All must call it like any other operation, with the same count and element type.
// The contents are not specified. The caller releases it. Errors: *Error, ErrNotMember, ErrArgument for a count that is below 0 or too large.
func NewPlace[T arrowstore.Numeric](ctx context.Context, g *Group, count int) (*Place[T], error) {
	if most := maxBuffer / sizeOf[T]() / g.Size(); count < 0 || count > most {
		return nil, fmt.Errorf("%w: %v: count is %d, want 0 to %d", ErrArgument, opNewPlace, count, most)
	}
	d := descriptor{op: opNewPlace, kind: kindOf[T](), count: uint64(count)}
	return newPlace[T](ctx, g, d, equalParts(g.Size(), count*sizeOf[T]()))
}

// NewPlaceV is [NewPlace] of counts[r] elements for rank r. All must call it with the same counts, which are read only until the call returns.
func NewPlaceV[T arrowstore.Numeric](ctx context.Context, g *Group, counts []int) (*Place[T], error) {
	total, err := g.checkCounts(opNewPlaceV, "counts", counts)
	if err != nil {
		return nil, err
	}
	if most := maxBuffer / sizeOf[T](); total > most {
		return nil, fmt.Errorf("%w: %v: the sum of counts is %d, want 0 to %d", ErrArgument, opNewPlaceV, total, most)
	}
	return newPlace[T](ctx, g, unevenly[T](opNewPlaceV, counts, 0), unequalParts(counts, sizeOf[T]()))
}

func newPlace[T arrowstore.Numeric](ctx context.Context, g *Group, d descriptor, at parts) (*Place[T], error) {
	p := &Place[T]{m: g.m, parts: at}
	_, err := shared(ctx, g, d, 0, func(ctx context.Context, s *sharing) (*arrowstore.View[T], error) {
		if s.r != nil {
			return nil, p.found(s)
		}
		j, err := s.another(ctx, at.total())
		if err == nil {
			p.move(j)
		}
		return nil, err
	})
	if err != nil {
		p.Release()
		return nil, err
	}
	return p, nil
}

// move makes the Place one in another object.
func (p *Place[T]) move(j *joint) {
	p.joint, p.slice = j, []T{}
	if b := p.parts.of(j.Bytes(), p.m.rank); len(b) > 0 {
		p.slice = unsafe.Slice((*T)(unsafe.Pointer(&b[0])), len(b)/sizeOf[T]())
	}
}

// Slice returns the memory to be written until the next operation, which moves the Place: its contents are not specified then. After Release it is empty.
func (p *Place[T]) Slice() []T { return p.slice }

// Release gives the memory back, which must not be touched any more. Results are not concerned. A second Release does nothing.
func (p *Place[T]) Release() {
	for _, j := range []*joint{p.joint, p.then} {
		if j != nil {
			j.end()
		}
	}
	if p.shelf.makes() { // others may not have come that far
		p.m.host.spares.retire(p.shelf)
		p.shelf = shelf{}
	}
	p.shelf.drop()
	p.joint, p.then, p.slice = nil, nil, nil
}

// AllGatherPlace makes what all members have written into their Places one result, in the order of ranks, and gives all a view of it: inside a host
// nothing is copied, and it is a barrier; between hosts each part goes once. The Place is the operation's until the call returns, and is another one then.
// After an error of the group it is of no more use. The view is valid until its Release, or the end of the caller's node. Errors: *Error, ErrNotMember,
// ErrArgument for a Place that is nil, released or of another group.
func AllGatherPlace[T arrowstore.Numeric](ctx context.Context, g *Group, p *Place[T]) (*arrowstore.View[T], error) {
	if err := checkPlace(opAllGatherPlace, g, p); err != nil {
		return nil, err
	}
	d := descriptor{op: opAllGatherPlace, kind: kindOf[T](), count: uint64(p.parts.total())}
	return shared(ctx, g, d, 0, func(ctx context.Context, s *sharing) (*arrowstore.View[T], error) {
		return p.complete(ctx, s, true, func(mem []byte) error { return s.exchange(ctx, mem, p.parts) })
	})
}

// GatherPlace is [AllGatherPlace] of which only the member with rank root gets a view; the others get nil. Data of other hosts go to its host
// only. All must call it with the same root. Errors: those of AllGatherPlace, and ErrArgument for a root that is no rank.
func GatherPlace[T arrowstore.Numeric](ctx context.Context, g *Group, p *Place[T], root int) (*arrowstore.View[T], error) {
	if err := g.checkRoot(opGatherPlace, root); err != nil {
		return nil, err
	}
	if err := checkPlace(opGatherPlace, g, p); err != nil {
		return nil, err
	}
	d := descriptor{op: opGatherPlace, kind: kindOf[T](), root: uint32(root), count: uint64(p.parts.total())}
	return shared(ctx, g, d, 0, func(ctx context.Context, s *sharing) (*arrowstore.View[T], error) {
		return p.complete(ctx, s, g.Rank() == root, func(mem []byte) error {
			at := s.hosts.of[root]
			if s.hosts.own != at { // its members' parts alone go there
				blocks, copied := s.hostBlocks(mem, p.parts)
				own := blocks.block(s.hosts.own)
				if copied {
					s.move(mem, own, p.parts, s.hosts.own, false)
				}
				mem = own
			}
			return s.gatherHeads(ctx, mem, p.parts, s.heads.ranks[at])
		})
	})
}

func checkPlace[T arrowstore.Numeric](op operation, g *Group, p *Place[T]) error {
	switch {
	case p == nil:
		return fmt.Errorf("%w: %v: p is nil", ErrArgument, op)
	case g.m != nil && p.m != g.m:
		return fmt.Errorf("%w: %v: p is a place of group %q in epoch %d, want %q in epoch %d", ErrArgument, op, p.m.s.name, p.m.s.epoch, g.Name(), g.Epoch())
	case p.joint == nil:
		return fmt.Errorf("%w: %v: p is released", ErrArgument, op)
	}
	return nil
}

// complete makes the object a result, of which the caller gets a view if it wants one, and moves the Place. Heads of several hosts call between first.
func (p *Place[T]) complete(ctx context.Context, s *sharing, wants bool, between func([]byte) error) (view *arrowstore.View[T], err error) {
	defer func() {
		if err != nil {
			p.Release()
		}
	}()
	if s.r != nil {
		s.idle = !wants
		return p.turn(s)
	}
	var next *joint
	j := p.joint
	obj, err := s.complete(ctx, j, func() error { return between(j.Bytes()) })
	if err == nil {
		if next, err = s.another(ctx, p.parts.total()); err != nil {
			obj.Release()
		}
	}
	if err != nil {
		return nil, err
	}
	p.move(next)
	if !wants {
		obj.Release()
		return nil, nil
	}
	return viewOf[T](obj, 0, 0, p.parts.total()/sizeOf[T]())
}

// another makes an object for a Place, by messages. It waits for all of the host, for any may give it up at once.
func (s *sharing) another(ctx context.Context, size int) (*joint, error) {
	j, err := s.stage(ctx, size)
	if err == nil {
		if err = s.up(ctx); err != nil {
			j.end()
		}
	}
	return j, err
}
