// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/collective/schedule"
)

// A reduction with a shared result goes in rounds: the members of a host place a stretch of what they contribute side by side into one memory,
// and when all have, each reduces its slice of the stretch, over all contributions in one pass, into the result.

const (
	// stretchBytes is how much memory the contributions of all members of a host to one stretch take at most, of which two are under way.
	stretchBytes = 64 << 20
	// leastStretch is the least that a member places at once, however many there are.
	leastStretch = 4 << 10
)

// AllReduceShared combines buf of all members, element by element, and gives all a view of the same result, bit for bit: of one object for
// each host. All must call it with the same length, element type and op. buf is left as it is. It is the operation's until the call
// returns; each member copies it once, and reduces a slice over the copies of all members of its host. Between hosts it is an [AllReduce] of one
// member each. The view is valid until its Release, or the end of the caller's node. Floats may be rounded otherwise than by
// AllReduce, but always in the same way. Errors: *Error, ErrNotMember, ErrArgument for an op that is not for T.
func AllReduceShared[T arrowstore.Numeric](ctx context.Context, g *Group, buf []T, op Reduction) (*arrowstore.View[T], error) {
	return reduceShared[T](ctx, g, reducer{what: opAllReduceShared, op: op}, len(buf), func(ctx context.Context, s *sharing, math arithmetic) (*arrowstore.Object, error) {
		return s.reduce(ctx, bytesOf(buf), sizeOf[T](), math)
	})
}

// AllReduceView is [AllReduceShared] of data that all members have in the object store already. Where they share the memory of a machine, nothing
// is copied: whoever reduces reads what each has in place. Elsewhere, and for [Custom] and [PremulSum], each copies it once, as there. Each member keeps its
// own hold on v, and must not release it before the call returns. Errors: those of AllReduceShared, and ErrArgument for no view.
func AllReduceView[T arrowstore.Numeric](ctx context.Context, g *Group, v *arrowstore.View[T], op Reduction) (*arrowstore.View[T], error) {
	if v == nil {
		return nil, fmt.Errorf("%w: %v: v is nil", ErrArgument, opAllReduceView)
	}
	return reduceShared[T](ctx, g, reducer{what: opAllReduceView, op: op}, len(v.Slice()), func(ctx context.Context, s *sharing, math arithmetic) (*arrowstore.Object, error) {
		return s.reducePlaced(ctx, placeOf(v), sizeOf[T](), math)
	})
}

// ReduceScatterShared combines in of all members, element by element, cuts the result into Size equal parts, and gives each rank a view of its
// own. It does what [AllReduceShared] does, so that each host holds one object with all parts, which its members' views keep. The length of in must be a
// multiple of Size. All must call it with the same length, element type and op; in is left as it is. Errors: *Error, ErrNotMember,
// ErrArgument for an op that is not for T or a wrong length.
func ReduceScatterShared[T arrowstore.Numeric](ctx context.Context, g *Group, in []T, op Reduction) (*arrowstore.View[T], error) {
	return reduceShared[T](ctx, g, reducer{what: opReduceScatterShared, op: op, scatter: true}, len(in), func(ctx context.Context, s *sharing, math arithmetic) (*arrowstore.Object, error) {
		return s.reduce(ctx, bytesOf(in), sizeOf[T](), math)
	})
}

// ReduceScatterView is [ReduceScatterShared] as [AllReduceView] is AllReduceShared.
func ReduceScatterView[T arrowstore.Numeric](ctx context.Context, g *Group, v *arrowstore.View[T], op Reduction) (*arrowstore.View[T], error) {
	if v == nil {
		return nil, fmt.Errorf("%w: %v: v is nil", ErrArgument, opReduceScatterView)
	}
	return reduceShared[T](ctx, g, reducer{what: opReduceScatterView, op: op, scatter: true}, len(v.Slice()), func(ctx context.Context, s *sharing, math arithmetic) (*arrowstore.Object, error) {
		return s.reducePlaced(ctx, placeOf(v), sizeOf[T](), math)
	})
}

// ReduceShared is [AllReduceShared] of which only the member with rank root gets a view; the others get nil. All must call it with the same root.
// Errors: those of AllReduceShared, and ErrArgument for a root that is no rank.
func ReduceShared[T arrowstore.Numeric](ctx context.Context, g *Group, buf []T, op Reduction, root int) (*arrowstore.View[T], error) {
	if err := g.checkRoot(opReduceShared, root); err != nil {
		return nil, err
	}
	r := reducer{what: opReduceShared, op: op, root: root, rooted: true}
	return reduceShared[T](ctx, g, r, len(buf), func(ctx context.Context, s *sharing, math arithmetic) (*arrowstore.Object, error) {
		return s.reduce(ctx, bytesOf(buf), sizeOf[T](), math)
	})
}

// ReduceView is [ReduceShared] as [AllReduceView] is AllReduceShared.
func ReduceView[T arrowstore.Numeric](ctx context.Context, g *Group, v *arrowstore.View[T], op Reduction, root int) (*arrowstore.View[T], error) {
	if err := g.checkRoot(opReduceView, root); err != nil {
		return nil, err
	}
	if v == nil {
		return nil, fmt.Errorf("%w: %v: v is nil", ErrArgument, opReduceView)
	}
	r := reducer{what: opReduceView, op: op, root: root, rooted: true}
	return reduceShared[T](ctx, g, r, len(v.Slice()), func(ctx context.Context, s *sharing, math arithmetic) (*arrowstore.Object, error) {
		return s.reducePlaced(ctx, placeOf(v), sizeOf[T](), math)
	})
}

// reducer is a reduction as it was called.
type reducer struct {
	what    operation
	op      Reduction
	scatter bool // each gets a part of the result
	rooted  bool // root alone gets the result
	root    int
}

// reduceShared runs a reduction of some elements of each member, and gives each a view of the result, or of its part, or none.
func reduceShared[T arrowstore.Numeric](
	ctx context.Context, g *Group, r reducer, count int, do func(context.Context, *sharing, arithmetic) (*arrowstore.Object, error),
) (*arrowstore.View[T], error) {
	math, err := arithmeticOf[T](r.what, r.op)
	if err != nil {
		return nil, err
	}
	from, part := 0, count
	if n := g.Size(); r.scatter {
		if count%n != 0 {
			return nil, fmt.Errorf("%w: %v: in has %d elements, want a multiple of %d, the number of members", ErrArgument, r.what, count, n)
		}
		part = count / n
		from = g.Rank() * part
	}
	d := descriptor{op: r.what, how: math.how, kind: kindOf[T](), root: uint32(r.root), count: uint64(part)}
	return shared(ctx, g, d, r.root, func(ctx context.Context, s *sharing) (*arrowstore.View[T], error) {
		if r.rooted {
			s.only = s.hosts.of[r.root]
			s.idle = g.Rank() != r.root
		}
		obj, err := do(ctx, s, math)
		if err != nil || obj == nil {
			return nil, err
		}
		if s.idle {
			obj.Release()
			return nil, nil
		}
		return viewOf[T](obj, 0, from*sizeOf[T](), part)
	})
}

// reduce combines what all members have, and returns the result, or nil at a member that does not want it.
func (s *sharing) reduce(ctx context.Context, own []byte, size int, math arithmetic) (*arrowstore.Object, error) {
	result, err := s.begin(ctx, len(own))
	if err != nil {
		return nil, err
	}
	defer result.end()
	if s.r != nil && !math.foreign {
		if err := s.foldOnHost(result, own, math); err != nil {
			return nil, err
		}
		return s.result(result)
	}
	if err := s.stretches(ctx, result.Bytes(), own, size, math); err != nil {
		return nil, err
	}
	return s.complete(ctx, result, func() error {
		if math.ordered {
			return nil // heads have had all contributions
		}
		p := s.heads.plan(s.g.first(schedule.AllReduce), 0)
		if s.only >= 0 {
			p = s.heads.plan(s.g.first(schedule.Reduce), s.only)
		}
		s.x.reduceWith(math, s.g.Size())
		defer func() { s.x.combine, s.x.finish = nil, nil }()
		return s.x.runAmong(ctx, s.heads, p, &even{bytes: result.Bytes(), size: size, count: len(own) / size, blocks: p.Blocks})
	})
}

// stretches reduces the contributions of the members of the host into result; those of all hosts, if they must be combined in the order of
// ranks. While some reduce a stretch, others may place the next one: in the other half of the memory.
func (s *sharing) stretches(ctx context.Context, result, own []byte, size int, math arithmetic) error {
	if len(own) == 0 {
		return nil // and nobody would wait for those who are yet to join
	}
	all := math.ordered && !s.alone()
	members, place := len(s.hosts.here.ranks), s.hosts.here.at
	if all {
		members, place = s.g.Size(), s.g.Rank()
	}
	length := max(leastStretch, s.storage.stretch/members&^63)
	if length >= len(own) {
		length = (len(own) + 63) &^ 63
	}
	half := members * length
	halves := 1
	if length < len(own) {
		halves = 2
	}
	staged, err := s.stage(ctx, halves*half)
	if err != nil {
		return err
	}
	defer staged.end()
	slots := make([][]byte, members)
	for at, round := 0, 0; at < len(own); at, round = at+length, round+1 {
		stretch := own[at:min(at+length, len(own))]
		mem := staged.Bytes()[round%halves*half:][:half]
		for i := range slots {
			slots[i] = mem[i*length:][:len(stretch)]
		}
		s.copyIn(slots[place], stretch)
		math.begin(slots[place])
		if err := s.placed(ctx, mem, length, all); err != nil {
			return err
		}
		s.slice(result[at:at+len(stretch)], slots, size, math, all)
	}
	return nil
}

// placed returns when a stretch of all contributions that are to be reduced here is there.
func (s *sharing) placed(ctx context.Context, mem []byte, length int, all bool) error {
	if !all {
		return s.together(ctx)
	}
	if err := s.up(ctx); err != nil {
		return err
	}
	if s.isHead() {
		if err := s.exchange(ctx, mem, equalParts(s.g.Size(), length)); err != nil {
			return err
		}
	}
	return s.down(ctx, make([]byte, 1))
}

// slice reduces the caller's slice of a stretch.
func (s *sharing) slice(dst []byte, slots [][]byte, size int, math arithmetic, all bool) {
	here := s.hosts.here
	cut := func(b []byte) []byte {
		return (&even{bytes: b, size: size, count: len(dst) / size, blocks: len(here.ranks)}).block(here.at)
	}
	mine := cut(dst)
	if len(mine) == 0 {
		return
	}
	srcs := make([][]byte, len(slots))
	for i, b := range slots {
		srcs[i] = cut(b)
	}
	math.all(mine, srcs)
	if all || s.alone() {
		math.finish(mine, s.g.Size())
	}
}
