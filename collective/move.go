// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"

	"github.com/tutti-go/tutti/collective/schedule"
)

// Broadcast copies buf of the member with rank root into buf of all others. All must call it with the same length, element type
// and root. buf is the member's own until the call returns; at other members than the root it holds nothing of use after an
// error. The root does not wait for the others, so that its nil does not mean that they have the data. Errors: *Error,
// ErrNotMember, ErrArgument for a root that is no rank.
func Broadcast[T Element](ctx context.Context, g *Group, buf []T, root int) error {
	c, err := broadcastOf(g, buf, root)
	if err != nil {
		return err
	}
	return g.broadcast(ctx, c)
}

func broadcastOf[T Element](g *Group, buf []T, root int) (invocation, error) {
	if err := g.checkRoot(opBroadcast, root); err != nil {
		return invocation{}, err
	}
	d := descriptor{op: opBroadcast, kind: kindOf[T](), root: uint32(root), count: uint64(len(buf))}
	return invocation{descriptor: d, size: sizeOf[T](), in: bytesOf(buf), out: bytesOf(buf)}, nil
}

func (g *Group) broadcast(ctx context.Context, c invocation) error {
	return g.operate(ctx, c, func(ctx context.Context, x *execution) error {
		p := g.plan(g.choiceOf(c), int(c.root))
		x.buf = &even{bytes: c.out, size: c.size, count: int(c.count), blocks: p.Blocks}
		return x.run(ctx, p)
	})
}

// Barrier returns when all members have called it. Errors: *Error, ErrNotMember.
func Barrier(ctx context.Context, g *Group) error {
	return g.barrier(ctx, invocation{descriptor: descriptor{op: opBarrier}})
}

func (g *Group) barrier(ctx context.Context, c invocation) error {
	return g.operate(ctx, c, func(ctx context.Context, x *execution) error {
		return x.run(ctx, g.plan(g.choiceOf(c), 0))
	})
}

// AllGather copies in of all members, in the order of ranks, into out of all members, which must be Size times as long. in may
// be the member's own place in out; else the two must not overlap. All must call it with the same lengths and element type.
// Both are the operation's until the call returns, and out holds nothing of use after an error. Errors: *Error, ErrNotMember,
// ErrArgument for a wrong length.
func AllGather[T Element](ctx context.Context, g *Group, in, out []T) error {
	c, err := allGatherOf(g, in, out)
	if err != nil {
		return err
	}
	return g.allGather(ctx, c)
}

func allGatherOf[T Element](g *Group, in, out []T) (invocation, error) {
	n := g.Size()
	if err := checkLength(opAllGather, "out", len(out), n*len(in), "%d from each of %d members", len(in), n); err != nil {
		return invocation{}, err
	}
	d := descriptor{op: opAllGather, kind: kindOf[T](), count: uint64(len(in))}
	return invocation{descriptor: d, size: sizeOf[T](), in: bytesOf(in), out: bytesOf(out)}, nil
}

func (g *Group) allGather(ctx context.Context, c invocation) error {
	return g.operate(ctx, c, func(ctx context.Context, x *execution) error {
		n := g.Size()
		return x.allGather(ctx, g, g.choiceOf(c), c.in, &even{bytes: c.out, size: c.size, count: n * int(c.count), blocks: n})
	})
}

func (x *execution) allGather(ctx context.Context, g *Group, c schedule.Choice, in []byte, out memory) error {
	copy(out.block(g.Rank()), in)
	x.buf = out
	return x.run(ctx, g.plan(c, 0))
}

// Gather copies in of all members, in the order of ranks, into out of the member with rank root, which must be Size times as
// long; out of the others is not used and may be nil. At the root in may be its own place in out; else the two must not
// overlap. All must call it with the same length of in, element type and root. Both are the operation's until the call
// returns. Members other than the root do not wait for it; those between it and others hold up to half of all data for
// a while. Errors: *Error, ErrNotMember, ErrArgument for a root that is no rank or a wrong length.
func Gather[T Element](ctx context.Context, g *Group, in, out []T, root int) error {
	if err := g.checkRoot(opGather, root); err != nil {
		return err
	}
	n := g.Size()
	if g.Rank() == root {
		if err := checkLength(opGather, "out", len(out), n*len(in), "%d from each of %d members", len(in), n); err != nil {
			return err
		}
	}
	d := descriptor{op: opGather, kind: kindOf[T](), root: uint32(root), count: uint64(len(in))}
	c := invocation{descriptor: d, size: sizeOf[T](), in: bytesOf(in)}
	if g.Rank() == root {
		c.out = bytesOf(out)
	}
	return g.operate(ctx, c, func(ctx context.Context, x *execution) error {
		length := len(bytesOf(in))
		p := g.plan(g.choose(schedule.Gather, n*length), root)
		return x.gather(ctx, g, p, bytesOf(in), bytesOf(out), root, func(int) int { return length })
	})
}

// membership is a caller among others: in a Group or a team.
type membership interface {
	Size() int
	Rank() int
}

// gather runs a gather of blocks whose lengths in bytes are given by rank.
func (x *execution) gather(ctx context.Context, g membership, p plan, in, out []byte, root int, length func(rank int) int) error {
	n, rank := g.Size(), g.Rank()
	if rank == root {
		all := split(out, 0, n, n, length)
		copy(all.block(rank), in)
		x.buf = all
		return x.run(ctx, p)
	}
	// What the last step sends are this rank's own block and those of the ranks behind it.
	part := split(in, rank, p.At(p.Len()-1).Send.Blocks.Count, n, length)
	if total := part.length(); total > len(in) {
		part.bytes = make([]byte, total)
		copy(part.bytes, in)
	}
	x.buf = part
	return x.run(ctx, p)
}

// Scatter cuts in of the member with rank root into equal parts and puts the part of each rank into its out. in of the root must
// be Size times as long as out; in of the others is not used and may be nil. At the root out may be its own place in in;
// else the two must not overlap. All must call it with the same length of out, element type and root. Both are the operation's
// until the call returns. The root does not wait for the others, but on one machine with long blocks; those between it and others hold up to half of all data
// for a while. out holds nothing of use after an error. Errors: *Error, ErrNotMember, ErrArgument for a root that is no rank or a
// wrong length.
func Scatter[T Element](ctx context.Context, g *Group, in, out []T, root int) error {
	if err := g.checkRoot(opScatter, root); err != nil {
		return err
	}
	n := g.Size()
	if g.Rank() == root {
		if err := checkLength(opScatter, "in", len(in), n*len(out), "%d for each of %d members", len(out), n); err != nil {
			return err
		}
	}
	d := descriptor{op: opScatter, kind: kindOf[T](), root: uint32(root), count: uint64(len(out))}
	c := invocation{descriptor: d, size: sizeOf[T](), out: bytesOf(out)}
	if g.Rank() == root {
		c.in = bytesOf(in)
	}
	return g.operate(ctx, c, func(ctx context.Context, x *execution) error {
		length := len(bytesOf(out))
		p := g.plan(g.choose(schedule.Scatter, n*length), root)
		return x.scatter(ctx, g, p, bytesOf(in), bytesOf(out), root, func(int) int { return length })
	})
}

// scatter runs a scatter of blocks whose lengths in bytes are given by rank.
func (x *execution) scatter(ctx context.Context, g membership, p plan, in, out []byte, root int, length func(rank int) int) error {
	n, rank := g.Size(), g.Rank()
	if rank == root {
		all := split(in, 0, n, n, length)
		copy(out, all.block(rank))
		x.buf = all
		return x.run(ctx, p)
	}
	// What the first step receives are this rank's own block and those of the ranks behind it.
	part := split(out, rank, p.At(0).Recv.Blocks.Count, n, length)
	if total := part.length(); total > len(out) {
		part.bytes = make([]byte, total)
	}
	x.buf = part
	if err := x.run(ctx, p); err != nil {
		return err
	}
	copy(out, part.block(rank))
	return nil
}

// AllToAll cuts in of each member into Size equal parts and copies part d of rank s into part s of out at rank d. Both must have
// the same length, a multiple of Size, and must not overlap; in is left as it is. All must call it with the same length and element
// type. Both are the operation's until the call returns, and out holds nothing of use after an error. Errors: *Error, ErrNotMember,
// ErrArgument for a wrong length.
func AllToAll[T Element](ctx context.Context, g *Group, in, out []T) error {
	c, err := allToAllOf(g, in, out)
	if err != nil {
		return err
	}
	return g.allToAll(ctx, c)
}

func allToAllOf[T Element](g *Group, in, out []T) (invocation, error) {
	n := g.Size()
	if len(in)%n != 0 {
		return invocation{}, fmt.Errorf("%w: %v: in has %d elements, want a multiple of %d, the number of members", ErrArgument, opAllToAll, len(in), n)
	}
	if err := checkLength(opAllToAll, "out", len(out), len(in), "as many as in"); err != nil {
		return invocation{}, err
	}
	d := descriptor{op: opAllToAll, kind: kindOf[T](), count: uint64(len(in) / n)}
	return invocation{descriptor: d, size: sizeOf[T](), in: bytesOf(in), out: bytesOf(out)}, nil
}

func (g *Group) allToAll(ctx context.Context, c invocation) error {
	return g.operate(ctx, c, func(ctx context.Context, x *execution) error {
		n := g.Size()
		length := len(c.in) / n
		each := func(int) int { return length }
		choice := g.choiceOf(c)
		if choice.Algorithm.Local {
			return x.gatherAndPick(ctx, g, g.plan(choice, 0), c.in, c.out, length)
		}
		return x.allToAll(ctx, g, choice, split(c.in, 0, n, n, each), split(c.out, 0, n, n, each))
	})
}

// gatherAndPick copies everything to all members, each of which picks what is for it.
func (x *execution) gatherAndPick(ctx context.Context, g *Group, p plan, in, out []byte, length int) error {
	n := g.Size()
	all := &even{bytes: make([]byte, n*len(in)), size: 1, count: n * len(in), blocks: n}
	copy(all.block(g.Rank()), in)
	x.buf = all
	if err := x.run(ctx, p); err != nil {
		return err
	}
	for from := range n {
		copy(out[from*length:(from+1)*length], all.block(from)[g.Rank()*length:])
	}
	return nil
}

func (x *execution) allToAll(ctx context.Context, g *Group, c schedule.Choice, in, out *pieces) error {
	copy(out.block(g.Rank()), in.block(g.Rank()))
	p := g.plan(c, 0)
	x.buf = newExchange(p.Schedule, in, out)
	return x.run(ctx, p)
}
