// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"bytes"
	"context"

	"github.com/tutti-go/tutti/collective/schedule"
)

// AllReduce combines buf of all members, element by element, and puts the same result, bit for bit, into buf of all members. All
// must call it with the same length, element type and op. buf is the member's own until the call returns, and holds
// nothing of use after an error. Errors: *Error, ErrNotMember, ErrArgument for an op that is not for T.
func AllReduce[T Element](ctx context.Context, g *Group, buf []T, op Reduction) error {
	c, err := allReduceOf(buf, op)
	if err != nil {
		return err
	}
	return g.allReduce(ctx, c)
}

func allReduceOf[T Element](buf []T, op Reduction) (invocation, error) {
	math, err := arithmeticOf[T](opAllReduce, op)
	if err != nil {
		return invocation{}, err
	}
	d := descriptor{op: opAllReduce, how: math.how, kind: kindOf[T](), count: uint64(len(buf))}
	return invocation{descriptor: d, math: math, size: sizeOf[T](), in: bytesOf(buf), out: bytesOf(buf)}, nil
}

func (g *Group) allReduce(ctx context.Context, c invocation) error {
	return g.operate(ctx, c, func(ctx context.Context, x *execution) error {
		math, buf := c.math, &even{bytes: c.out, size: c.size, count: int(c.count), blocks: 1}
		math.begin(buf.bytes)
		choice := g.choiceOf(c)
		p := g.plan(choice, 0)
		if choice.Algorithm.Local {
			return x.gatherAndReduce(ctx, g, p, buf, math)
		}
		buf.blocks = p.Blocks
		x.buf = buf
		x.reduceWith(math, g.Size())
		return x.run(ctx, p)
	})
}

// reduceWith makes the execution one that reduces.
func (x *execution) reduceWith(math arithmetic, members int) {
	x.combine, x.foreign = math.combine, math.foreign
	if math.averages {
		x.finish = func(dst []byte) { math.finish(dst, members) }
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
	math.all(result, blocks(x.buf, n))
	math.finish(result, n)
	return nil
}

// blocks returns all blocks of a memory.
func blocks(m memory, n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = m.block(i)
	}
	return all
}

// Reduce combines buf of all members, element by element, and puts the result into buf of the member with rank root; buf of the
// others holds nothing of use afterwards. All must call it with the same length, element type, op and root. buf is
// the member's own until the call returns. Members other than the root do not wait for it, so that their nil does not mean
// that it has the result. Errors: *Error, ErrNotMember, ErrArgument for an op that is not for T or a root that is no
// rank.
func Reduce[T Element](ctx context.Context, g *Group, buf []T, op Reduction, root int) error {
	c, err := reduceOf(g, buf, op, root)
	if err != nil {
		return err
	}
	return g.reduce(ctx, c)
}

func reduceOf[T Element](g *Group, buf []T, op Reduction, root int) (invocation, error) {
	math, err := arithmeticOf[T](opReduce, op)
	if err != nil {
		return invocation{}, err
	}
	if err := g.checkRoot(opReduce, root); err != nil {
		return invocation{}, err
	}
	d := descriptor{op: opReduce, how: math.how, kind: kindOf[T](), root: uint32(root), count: uint64(len(buf))}
	return invocation{descriptor: d, math: math, size: sizeOf[T](), in: bytesOf(buf), out: bytesOf(buf)}, nil
}

func (g *Group) reduce(ctx context.Context, c invocation) error {
	return g.operate(ctx, c, func(ctx context.Context, x *execution) error {
		math := c.math
		math.begin(c.in)
		p := g.plan(g.choiceOf(c), int(c.root))
		if math.ordered {
			return x.gatherToReduce(ctx, g, p, c.out, int(c.root), math)
		}
		x.buf = &even{bytes: c.out, size: c.size, count: int(c.count), blocks: p.Blocks}
		x.reduceWith(math, g.Size())
		return x.run(ctx, p)
	})
}

// gatherToReduce copies all contributions to the root, which combines them in the order of ranks.
func (x *execution) gatherToReduce(ctx context.Context, g *Group, p plan, buf []byte, root int, math arithmetic) error {
	n := g.Size()
	var all []byte
	if g.Rank() == root {
		all = make([]byte, n*len(buf))
	}
	if err := x.gather(ctx, g, p, buf, all, root, func(int) int { return len(buf) }); err != nil || g.Rank() != root {
		return err
	}
	math.all(buf, blocks(&even{bytes: all, size: 1, count: len(all), blocks: n}, n))
	math.finish(buf, n)
	return nil
}

// ReduceScatter combines in of all members, element by element, cuts the result into equal parts, and puts the part of each rank
// into its out. in must be Size times as long as out; it is left as it is, and a copy of it is made. The two must not
// overlap. All must call it with the same lengths, element type and op. Both are the operation's until the call
// returns, and out holds nothing of use after an error. Errors: *Error, ErrNotMember, ErrArgument for an op
// that is not for T or a wrong length.
func ReduceScatter[T Element](ctx context.Context, g *Group, in, out []T, op Reduction) error {
	c, err := reduceScatterOf(g, in, out, op)
	if err != nil {
		return err
	}
	return g.reduceScatter(ctx, c)
}

func reduceScatterOf[T Element](g *Group, in, out []T, op Reduction) (invocation, error) {
	math, err := arithmeticOf[T](opReduceScatter, op)
	if err != nil {
		return invocation{}, err
	}
	n := g.Size()
	if err := checkLength(opReduceScatter, "in", len(in), n*len(out), "%d for each of %d members", len(out), n); err != nil {
		return invocation{}, err
	}
	d := descriptor{op: opReduceScatter, how: math.how, kind: kindOf[T](), count: uint64(len(out))}
	return invocation{descriptor: d, math: math, size: sizeOf[T](), in: bytesOf(in), out: bytesOf(out)}, nil
}

func (g *Group) reduceScatter(ctx context.Context, c invocation) error {
	return g.operate(ctx, c, func(ctx context.Context, x *execution) error {
		math, n := c.math, g.Size()
		partial := &even{bytes: bytes.Clone(c.in), size: c.size, count: n * int(c.count), blocks: n}
		math.begin(partial.bytes)
		choice := g.choiceOf(c)
		if math.ordered {
			return x.exchangeToReduce(ctx, g, choice, partial.bytes, c.out, math)
		}
		x.buf, x.combine, x.foreign = partial, math.combine, math.foreign
		if err := x.run(ctx, g.plan(choice, 0)); err != nil {
			return err
		}
		copy(c.out, partial.block(g.Rank()))
		math.finish(c.out, n)
		return nil
	})
}

// exchangeToReduce copies all contributions for its part to each member, which combines them in the order of ranks.
func (x *execution) exchangeToReduce(ctx context.Context, g *Group, c schedule.Choice, in, out []byte, math arithmetic) error {
	n := g.Size()
	each := func(int) int { return len(out) }
	parts := split(make([]byte, len(in)), 0, n, n, each)
	if err := x.allToAll(ctx, g, c, split(in, 0, n, n, each), parts); err != nil {
		return err
	}
	math.all(out, blocks(parts, n))
	math.finish(out, n)
	return nil
}
