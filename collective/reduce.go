// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"slices"

	"github.com/tutti-go/tutti/collective/schedule"
)

// AllReduce combines buf of all members, element by element, and puts the same result, bit for bit, into buf of all members. All
// must call it with the same length, element type and op. buf is the member's own until the call returns, and holds
// nothing of use after an error. Errors: *Error, ErrNotMember, ErrArgument for an op that is not for T.
func AllReduce[T Element](ctx context.Context, g *Group, buf []T, op Op) error {
	math, err := arithmeticOf[T](opAllReduce, op)
	if err != nil {
		return err
	}
	d := descriptor{op: opAllReduce, how: op, kind: kindOf[T](), count: uint64(len(buf))}
	return g.operate(ctx, d, func(ctx context.Context, x *execution) error {
		c := g.choose(schedule.AllReduce, len(bytesOf(buf)))
		p := g.plan(c, 0)
		if c.Algorithm.Local {
			return x.gatherAndReduce(ctx, g, p, evenly(buf, 1), math)
		}
		x.buf = evenly(buf, p.Blocks)
		x.reduceWith(math, g.Size())
		return x.run(ctx, p)
	})
}

// reduceWith makes the execution one that reduces.
func (x *execution) reduceWith(math arithmetic, members int) {
	x.combine = math.combine
	if math.divide != nil {
		x.finish = func(dst []byte) { math.divide(dst, members) }
	}
}

// gatherAndReduce copies all contributions to all members, each of which sums them in the order of ranks.
func (x *execution) gatherAndReduce(ctx context.Context, g *Group, p plan, buf *even, math arithmetic) error {
	n, result := g.Size(), buf.bytes
	x.buf = &even{bytes: make([]byte, n*len(result)), size: buf.size, count: n * buf.count, blocks: n}
	copy(x.buf.block(g.Rank()), result)
	if err := x.run(ctx, p); err != nil {
		return err
	}
	copy(result, x.buf.block(0))
	for rank := 1; rank < n; rank++ {
		math.combine(result, x.buf.block(rank))
	}
	math.finish(result, n)
	return nil
}

// Reduce combines buf of all members, element by element, and puts the result into buf of the member with rank root; buf of the
// others holds nothing of use afterwards. All must call it with the same length, element type, op and root. buf is
// the member's own until the call returns. Members other than the root do not wait for it, so that their nil does not mean
// that it has the result. Errors: *Error, ErrNotMember, ErrArgument for an op that is not for T or a root that is no
// rank.
func Reduce[T Element](ctx context.Context, g *Group, buf []T, op Op, root int) error {
	math, err := arithmeticOf[T](opReduce, op)
	if err != nil {
		return err
	}
	if err := g.checkRoot(opReduce, root); err != nil {
		return err
	}
	d := descriptor{op: opReduce, how: op, kind: kindOf[T](), root: uint32(root), count: uint64(len(buf))}
	return g.operate(ctx, d, func(ctx context.Context, x *execution) error {
		p := g.plan(g.choose(schedule.Reduce, len(bytesOf(buf))), root)
		x.buf = evenly(buf, p.Blocks)
		x.reduceWith(math, g.Size())
		return x.run(ctx, p)
	})
}

// ReduceScatter combines in of all members, element by element, cuts the result into equal parts, and puts the part of each rank
// into its out. in must be Size times as long as out; it is left as it is, and a copy of it is made. The two must not
// overlap. All must call it with the same lengths, element type and op. Both are the operation's until the call
// returns, and out holds nothing of use after an error. Errors: *Error, ErrNotMember, ErrArgument for an op
// that is not for T or a wrong length.
func ReduceScatter[T Element](ctx context.Context, g *Group, in, out []T, op Op) error {
	math, err := arithmeticOf[T](opReduceScatter, op)
	if err != nil {
		return err
	}
	n := g.Size()
	if err := checkLength(opReduceScatter, "in", len(in), n*len(out), fmt.Sprintf("%d for each of %d members", len(out), n)); err != nil {
		return err
	}
	d := descriptor{op: opReduceScatter, how: op, kind: kindOf[T](), count: uint64(len(out))}
	return g.operate(ctx, d, func(ctx context.Context, x *execution) error {
		partial := evenly(slices.Clone(in), n)
		x.buf, x.combine = partial, math.combine
		if err := x.run(ctx, g.plan(g.choose(schedule.ReduceScatter, len(bytesOf(in))), 0)); err != nil {
			return err
		}
		copy(bytesOf(out), partial.block(g.Rank()))
		math.finish(bytesOf(out), n)
		return nil
	})
}
