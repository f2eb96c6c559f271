// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/collective/schedule"
)

// shared runs an operation with a shared result, of which a member has a view, or none.
func shared[T arrowstore.Numeric](
	ctx context.Context, g *Group, d descriptor, root int, do func(context.Context, *sharing) (*arrowstore.View[T], error),
) (*arrowstore.View[T], error) {
	var view *arrowstore.View[T]
	err := g.operate(ctx, invocation{descriptor: d}, func(ctx context.Context, x *execution) error {
		s, err := x.share(ctx, g, root)
		if err == nil {
			view, err = do(ctx, s)
		}
		return err
	})
	if err != nil && view != nil { // the operation is over for the group, though it was done here
		view.Release()
		view = nil
	}
	return view, err
}

// viewOf makes the hold on an object one of a view of some elements of a buffer, from an offset in bytes on.
func viewOf[T arrowstore.Numeric](obj *arrowstore.Object, buffer, offset, count int) (*arrowstore.View[T], error) {
	defer obj.Release()
	v, err := arrowstore.ViewAt[T](obj, buffer, offset, count)
	if err != nil {
		return nil, fmt.Errorf("shared result: %w", err)
	}
	return v, nil
}

// BroadcastShared hands buf of the member with rank root to all members, the root included, as a view of one object for each host. buf of the others is
// not used and may be nil, and its length is the result's. All must call it with the same element type and root. buf is the
// operation's until the call returns, and copied once, at the root; its host's members read that copy, and so do those of each other host
// theirs, which came once. Members wait for each other as the package says. The view is valid until its Release, or
// the end of the caller's node. Errors: *Error, ErrNotMember, ErrArgument for a root that is no rank.
func BroadcastShared[T arrowstore.Numeric](ctx context.Context, g *Group, buf []T, root int) (*arrowstore.View[T], error) {
	return broadcastShared[T](ctx, g, root, func(s *sharing) (*arrowstore.Object, ticket, error) {
		obj, err := s.put(len(bytesOf(buf)), func(b []byte) error {
			s.copyIn(b, bytesOf(buf))
			return nil
		})
		return obj, ticket{length: len(bytesOf(buf))}, err
	})
}

// BroadcastView is [BroadcastShared] of data that the root has in the object store already: the members of its host get views of the
// same object, and nothing is copied. Members call either of the two; what they have for others than the root is not used and may be nil.
// The root keeps its own hold on v, and must not release it before the call returns.
func BroadcastView[T arrowstore.Numeric](ctx context.Context, g *Group, v *arrowstore.View[T], root int) (*arrowstore.View[T], error) {
	if v == nil && g.Rank() == root {
		return nil, fmt.Errorf("%w: %v: the root has no view", ErrArgument, opBroadcastShared)
	}
	return broadcastShared[T](ctx, g, root, func(*sharing) (*arrowstore.Object, ticket, error) {
		buffer, offset := v.Place()
		v.Retain()
		return v.Object(), ticket{buffer: buffer, offset: offset, length: len(v.Slice()) * sizeOf[T]()}, nil
	})
}

func broadcastShared[T arrowstore.Numeric](
	ctx context.Context, g *Group, root int, data func(*sharing) (*arrowstore.Object, ticket, error),
) (*arrowstore.View[T], error) {
	if err := g.checkRoot(opBroadcastShared, root); err != nil {
		return nil, err
	}
	d := descriptor{op: opBroadcastShared, kind: kindOf[T](), root: uint32(root)}
	return shared(ctx, g, d, root, func(ctx context.Context, s *sharing) (*arrowstore.View[T], error) {
		var own *arrowstore.Object
		var t ticket
		var err error
		if s.isHead() {
			if own, t, err = s.broadcastHeads(ctx, root, data); err != nil {
				return nil, err
			}
			defer own.Release()
		}
		obj, t, err := s.hand(ctx, own, t)
		if err != nil {
			return nil, err
		}
		return viewOf[T](obj, t.buffer, t.offset, t.length/sizeOf[T]())
	})
}

// broadcastHeads gives each head an object of its own host with the data that root has.
func (s *sharing) broadcastHeads(
	ctx context.Context, root int, data func(*sharing) (*arrowstore.Object, ticket, error),
) (own *arrowstore.Object, t ticket, err error) {
	if s.g.Rank() == root {
		if own, t, err = data(s); err != nil {
			return nil, ticket{}, err
		}
		if s.alone() {
			return own, t, nil
		}
		err = s.broadcastFrom(ctx, root, own.Buffer(t.buffer)[t.offset:t.offset+t.length])
		if err != nil {
			own.Release()
		}
		return own, t, err
	}
	if t.length, err = s.announced(ctx, root); err != nil {
		return nil, ticket{}, err
	}
	own, err = s.put(t.length, func(b []byte) error { return s.amongHeads(ctx, root, b) })
	return own, t, err
}

// broadcastFrom sends data to the other heads, behind their length.
func (s *sharing) broadcastFrom(ctx context.Context, root int, b []byte) error {
	if err := s.amongHeads(ctx, root, ticket{length: len(b)}.append(nil)); err != nil {
		return err
	}
	return s.amongHeads(ctx, root, b)
}

// announced receives the length that broadcastFrom sends first.
func (s *sharing) announced(ctx context.Context, root int) (int, error) {
	b := make([]byte, ticketSize)
	if err := s.amongHeads(ctx, root, b); err != nil {
		return 0, err
	}
	return lengthIn(b)
}

// amongHeads broadcasts bytes of the root's among the heads. Those of the root are only read, for they may be in an object.
func (s *sharing) amongHeads(ctx context.Context, root int, b []byte) error {
	at := s.hosts.of[root]
	c := s.g.choose(schedule.Broadcast, len(b))
	if receives(c.Algorithm.Plan(s.heads.Size(), at, at, c.Parts)) {
		c = s.g.first(schedule.Broadcast) // a tree, in which the root sends only
	}
	p := s.heads.plan(c, at)
	return s.x.runAmong(ctx, s.heads, p, &even{bytes: b, size: 1, count: len(b), blocks: p.Blocks})
}

// receives reports whether a rank receives anything in a schedule.
func receives(s schedule.Schedule) bool {
	for _, st := range s.Steps() {
		if st.Recv.Peer != schedule.None {
			return true
		}
	}
	return false
}

// AllGatherShared puts in of all members, in the order of ranks, into one object for each host, of which all get a view: Size times as
// long. All must call it with the same length and element type. in is the operation's until the call returns, and each member copies it
// to its place; between hosts each part goes once. The view is valid until its Release, or the end of the caller's node. Errors:
// *Error, ErrNotMember.
func AllGatherShared[T arrowstore.Numeric](ctx context.Context, g *Group, in []T) (*arrowstore.View[T], error) {
	d := descriptor{op: opAllGatherShared, kind: kindOf[T](), count: uint64(len(in))}
	return allGatherShared(ctx, g, d, in, equalParts(g.Size(), len(bytesOf(in))))
}

// allGatherShared gathers parts of all members for all.
func allGatherShared[T arrowstore.Numeric](ctx context.Context, g *Group, d descriptor, in []T, p parts) (*arrowstore.View[T], error) {
	return shared(ctx, g, d, 0, func(ctx context.Context, s *sharing) (*arrowstore.View[T], error) {
		j, err := s.begin(ctx, p.total())
		if err != nil {
			return nil, err
		}
		defer j.end()
		s.copyIn(p.of(j.Bytes(), g.Rank()), bytesOf(in))
		obj, err := s.complete(ctx, j, func() error { return s.exchange(ctx, j.Bytes(), p) })
		if err != nil {
			return nil, err
		}
		return viewOf[T](obj, 0, 0, p.total()/sizeOf[T]())
	})
}

// GatherShared puts in of all members, in the order of ranks, into one object on the host of the member with rank root, which gets a view
// of it, Size times as long; the others get nil. All must call it with the same length, element type and root. in is the operation's until
// the call returns; each member of the root's host copies it to its place, and what those of another host have goes there as one. Other
// members wait for some of their host, on one machine with its memory for the root at most, before they write. The view is valid until its Release, or the end of the caller's node. Errors: *Error,
// ErrNotMember, ErrArgument for a root that is no rank.
func GatherShared[T arrowstore.Numeric](ctx context.Context, g *Group, in []T, root int) (*arrowstore.View[T], error) {
	if err := g.checkRoot(opGatherShared, root); err != nil {
		return nil, err
	}
	d := descriptor{op: opGatherShared, kind: kindOf[T](), root: uint32(root), count: uint64(len(in))}
	return gatherShared(ctx, g, d, in, equalParts(g.Size(), len(bytesOf(in))), root)
}

// gatherShared gathers parts of all members for one.
func gatherShared[T arrowstore.Numeric](ctx context.Context, g *Group, d descriptor, in []T, p parts, root int) (*arrowstore.View[T], error) {
	return shared(ctx, g, d, root, func(ctx context.Context, s *sharing) (*arrowstore.View[T], error) {
		atRoot := s.hosts.of[root] == s.hosts.own
		own, place := p, g.Rank()
		if !atRoot {
			own, place = p.among(s.hosts.here.ranks), s.hosts.here.at
		}
		j, err := s.begin(ctx, own.total())
		if err != nil {
			return nil, err
		}
		defer j.end()
		s.copyIn(own.of(j.Bytes(), place), bytesOf(in))
		if s.r != nil {
			s.idle = !s.isHead()
			obj, err := s.complete(ctx, j, nil)
			if err != nil || obj == nil {
				return nil, err
			}
			return viewOf[T](obj, 0, 0, p.total()/sizeOf[T]())
		}
		if err := s.up(ctx); err != nil || !s.isHead() {
			return nil, err
		}
		if err := s.gatherHeads(ctx, j.Bytes(), p, root); err != nil || !atRoot {
			return nil, err
		}
		if err := s.sealed(j); err != nil {
			return nil, err
		}
		obj, err := j.once.Object()
		if err != nil {
			return nil, err
		}
		return viewOf[T](obj, 0, 0, p.total()/sizeOf[T]())
	})
}

// gatherHeads brings the block of each host to the head with rank root. mem is what all members have at the root, and what those of the host
// have at others.
func (s *sharing) gatherHeads(ctx context.Context, mem []byte, p parts, root int) error {
	if s.alone() {
		return nil
	}
	at := s.hosts.of[root]
	way := s.heads.plan(s.g.first(schedule.Gather), at)
	size := func(host int) int { return p.bytes(s.hosts.ranks[host]) }
	s.x.ranks = s.heads.ranks
	defer func() { s.x.ranks = nil }()
	if s.g.Rank() != root {
		return s.x.gather(ctx, s.heads, way, mem, nil, at, size)
	}
	blocks, copied := s.hostBlocks(mem, p)
	own := blocks.block(at) // it is in its place
	if copied {
		s.move(mem, own, p, at, false)
	}
	if err := s.x.gather(ctx, s.heads, way, own, blocks.bytes, at, size); err != nil {
		return err
	}
	if copied {
		for host := range s.hosts.ranks {
			if host != at {
				s.move(mem, blocks.block(host), p, host, true)
			}
		}
	}
	return nil
}

// ScatterShared cuts in of the member with rank root into parts of count elements and gives each rank a view of its own: all parts of one host
// lie in one object. in of the root must be Size times count long; in of the others is not used and may be nil. All must
// call it with the same count, element type and root. in is the operation's until the call returns, and copied once, at the root; the
// parts of each other host go there as one. Members wait for each other as the package says. The view is valid until its Release, or the end
// of the caller's node; it keeps the parts of its host. Errors: *Error, ErrNotMember, ErrArgument for a root that is no rank, a count below 0 or a wrong length.
func ScatterShared[T arrowstore.Numeric](ctx context.Context, g *Group, in []T, count, root int) (*arrowstore.View[T], error) {
	return scatterShared(ctx, g, in, nil, count, root)
}

// ScatterView is [ScatterShared] of data that the root has in the object store already: if all members are on its host, they get views
// of the same object, and nothing is copied. Members call either of the two; what they have for others than the root is not used and may
// be nil. The root keeps its own hold on v, and must not release it before the call returns.
func ScatterView[T arrowstore.Numeric](ctx context.Context, g *Group, v *arrowstore.View[T], count, root int) (*arrowstore.View[T], error) {
	if g.Rank() != root {
		return scatterShared[T](ctx, g, nil, nil, count, root)
	}
	if v == nil {
		return nil, fmt.Errorf("%w: %v: the root has no view", ErrArgument, opScatterShared)
	}
	return scatterShared(ctx, g, v.Slice(), v, count, root)
}

// scatterShared scatters in of the root, which is in the store if there is a view.
func scatterShared[T arrowstore.Numeric](ctx context.Context, g *Group, in []T, v *arrowstore.View[T], count, root int) (*arrowstore.View[T], error) {
	if err := g.checkRoot(opScatterShared, root); err != nil {
		return nil, err
	}
	n := g.Size()
	if count < 0 || count > len(in) && g.Rank() == root {
		return nil, fmt.Errorf("%w: %v: count is %d, want 0 to %d", ErrArgument, opScatterShared, count, len(in))
	}
	if g.Rank() == root {
		if err := checkLength(opScatterShared, "in", len(in), n*count, fmt.Sprintf("%d for each of %d members", count, n)); err != nil {
			return nil, err
		}
	}
	d := descriptor{op: opScatterShared, kind: kindOf[T](), root: uint32(root), count: uint64(count)}
	return scatterParts(ctx, g, d, in, v, equalParts(n, count*sizeOf[T]()), root)
}

// scatterParts gives each member its part of what the root has, which is in the store if there is a view.
func scatterParts[T arrowstore.Numeric](
	ctx context.Context, g *Group, d descriptor, in []T, v *arrowstore.View[T], p parts, root int,
) (*arrowstore.View[T], error) {
	return shared(ctx, g, d, root, func(ctx context.Context, s *sharing) (*arrowstore.View[T], error) {
		here := p.among(s.hosts.here.ranks)
		var own *arrowstore.Object
		var t ticket
		if s.isHead() {
			if v != nil && s.alone() {
				own, t = v.Object(), placeOf(v).ticket
				own.Retain()
			} else {
				var err error
				own, err = s.put(here.total(), func(b []byte) error { return s.scatterHeads(ctx, bytesOf(in), b, p, root) })
				if err != nil {
					return nil, err
				}
			}
			defer own.Release()
		}
		obj, t, err := s.hand(ctx, own, t)
		if err != nil {
			return nil, err
		}
		begin, length := here.at(s.hosts.here.at)
		return viewOf[T](obj, t.buffer, t.offset+begin, length/sizeOf[T]())
	})
}

// scatterHeads brings the block of the caller's host into mem, from root's in.
func (s *sharing) scatterHeads(ctx context.Context, in, mem []byte, p parts, root int) error {
	at := s.hosts.of[root]
	var blocks *pieces
	if s.g.Rank() == root {
		s.storage.copied.Add(int64(len(mem)))
		var copied bool
		if blocks, copied = s.hostBlocks(in, p); copied {
			for host := range s.hosts.ranks {
				s.move(in, blocks.block(host), p, host, false)
			}
		}
	}
	if s.alone() {
		copy(mem, in)
		return nil
	}
	way := s.heads.plan(s.g.first(schedule.Scatter), at)
	size := func(host int) int { return p.bytes(s.hosts.ranks[host]) }
	s.x.ranks = s.heads.ranks
	defer func() { s.x.ranks = nil }()
	if s.g.Rank() == root {
		return s.x.scatter(ctx, s.heads, way, blocks.bytes, mem, at, size)
	}
	return s.x.scatter(ctx, s.heads, way, nil, mem, at, size)
}
