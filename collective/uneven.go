// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"

	"github.com/tutti-go/tutti/collective/schedule"
)

// The operations whose blocks may be of different lengths. They take the same ways as those with equal ones.

// AllGatherV is [AllGather] with counts[r] elements from rank r: in has as many as the caller's count, and out as many as there
// are in all. All must call it with the same counts and element type. counts is read only until the call returns. Errors: *Error,
// ErrNotMember, ErrArgument for wrong counts or lengths.
func AllGatherV[T Element](ctx context.Context, g *Group, in, out []T, counts []int) error {
	total, err := g.checkCounts(opAllGatherV, "counts", counts)
	if err != nil {
		return err
	}
	if err := g.checkOwn(opAllGatherV, "in", len(in), counts); err != nil {
		return err
	}
	if err := checkLength(opAllGatherV, "out", len(out), total, "the sum of counts"); err != nil {
		return err
	}
	d := unevenly[T](opAllGatherV, counts, 0)
	c := invocation{descriptor: d, size: sizeOf[T](), in: bytesOf(in), out: bytesOf(out), inCounts: counts, outCounts: counts}
	return g.operate(ctx, c, func(ctx context.Context, x *execution) error {
		return x.allGather(ctx, g, g.first(schedule.AllGather), bytesOf(in), split(bytesOf(out), 0, g.Size(), g.Size(), lengthsOf[T](counts)))
	})
}

// GatherV is [Gather] with counts[r] elements from rank r: in has as many as the caller's count, and out of the root as many as
// there are in all. All must call it with the same counts, element type and root. counts is read only until the call
// returns. Errors: *Error, ErrNotMember, ErrArgument for a root that is no rank, or wrong counts or lengths.
func GatherV[T Element](ctx context.Context, g *Group, in, out []T, counts []int, root int) error {
	if err := g.checkRoot(opGatherV, root); err != nil {
		return err
	}
	total, err := g.checkCounts(opGatherV, "counts", counts)
	if err != nil {
		return err
	}
	if err := g.checkOwn(opGatherV, "in", len(in), counts); err != nil {
		return err
	}
	if g.Rank() == root {
		if err := checkLength(opGatherV, "out", len(out), total, "the sum of counts"); err != nil {
			return err
		}
	}
	d := unevenly[T](opGatherV, counts, root)
	c := invocation{descriptor: d, size: sizeOf[T](), in: bytesOf(in), inCounts: counts, outCounts: counts}
	if g.Rank() == root {
		c.out = bytesOf(out)
	}
	return g.operate(ctx, c, func(ctx context.Context, x *execution) error {
		p := g.plan(g.first(schedule.Gather), root)
		return x.gather(ctx, g, p, bytesOf(in), bytesOf(out), root, lengthsOf[T](counts))
	})
}

// ScatterV is [Scatter] with counts[r] elements for rank r: out has as many as the caller's count, and in of the root as many
// as there are in all. All must call it with the same counts, element type and root. counts is read only until the call
// returns. Errors: *Error, ErrNotMember, ErrArgument for a root that is no rank, or wrong counts or lengths.
func ScatterV[T Element](ctx context.Context, g *Group, in, out []T, counts []int, root int) error {
	if err := g.checkRoot(opScatterV, root); err != nil {
		return err
	}
	total, err := g.checkCounts(opScatterV, "counts", counts)
	if err != nil {
		return err
	}
	if err := g.checkOwn(opScatterV, "out", len(out), counts); err != nil {
		return err
	}
	if g.Rank() == root {
		if err := checkLength(opScatterV, "in", len(in), total, "the sum of counts"); err != nil {
			return err
		}
	}
	d := unevenly[T](opScatterV, counts, root)
	c := invocation{descriptor: d, size: sizeOf[T](), out: bytesOf(out), inCounts: counts, outCounts: counts}
	if g.Rank() == root {
		c.in = bytesOf(in)
	}
	return g.operate(ctx, c, func(ctx context.Context, x *execution) error {
		p := g.plan(g.first(schedule.Scatter), root)
		return x.scatter(ctx, g, p, bytesOf(in), bytesOf(out), root, lengthsOf[T](counts))
	})
}

// AllToAllV is [AllToAll] with blocks of any length: in has inCounts[d] elements for each rank d, one block after the other, and
// out has room for outCounts[s] elements from each rank s. What one member has for another must be what the other expects from
// it: else the counts of both are named by an ErrMismatch. On one machine members with long blocks wait until all others have theirs. All must call it with the same element type. in and out must not
// overlap; the counts are read only until the call returns. Errors: *Error, ErrNotMember, ErrArgument for wrong counts or lengths.
func AllToAllV[T Element](ctx context.Context, g *Group, in []T, inCounts []int, out []T, outCounts []int) error {
	inTotal, err := g.checkCounts(opAllToAllV, "inCounts", inCounts)
	if err != nil {
		return err
	}
	outTotal, err := g.checkCounts(opAllToAllV, "outCounts", outCounts)
	if err != nil {
		return err
	}
	if err := checkLength(opAllToAllV, "in", len(in), inTotal, "the sum of inCounts"); err != nil {
		return err
	}
	if err := checkLength(opAllToAllV, "out", len(out), outTotal, "the sum of outCounts"); err != nil {
		return err
	}
	if g.m != nil && inCounts[g.Rank()] != outCounts[g.Rank()] {
		return fmt.Errorf("%w: %v: inCounts has %d elements for the caller itself, outCounts %d",
			ErrArgument, opAllToAllV, inCounts[g.Rank()], outCounts[g.Rank()])
	}
	d := descriptor{op: opAllToAllV, kind: kindOf[T]()}
	c := invocation{
		descriptor: d, size: sizeOf[T](), in: bytesOf(in), out: bytesOf(out), inCounts: inCounts, outCounts: outCounts,
	}
	return g.operate(ctx, c, func(ctx context.Context, x *execution) error {
		n := g.Size()
		x.rank, x.counted = g.Rank(), sizeOf[T]()
		return x.allToAll(ctx, g, g.first(schedule.AllToAll), split(bytesOf(in), 0, n, n, lengthsOf[T](inCounts)), split(bytesOf(out), 0, n, n, lengthsOf[T](outCounts)))
	})
}

func unevenly[T Element](op operation, counts []int, root int) descriptor {
	return descriptor{op: op, kind: kindOf[T](), root: uint32(root), count: hashOf(counts), counts: counts}
}

// lengthsOf returns the bytes of a rank's block.
func lengthsOf[T Element](counts []int) func(rank int) int {
	return func(rank int) int { return counts[rank] * sizeOf[T]() }
}

// checkCounts returns the sum of the counts of all ranks.
func (g *Group) checkCounts(op operation, name string, counts []int) (int, error) {
	if len(counts) != g.Size() {
		return 0, fmt.Errorf("%w: %v: %s has %d entries, want %d, one for each member", ErrArgument, op, name, len(counts), g.Size())
	}
	total := 0
	for rank, n := range counts {
		if n < 0 || total+n < total {
			return 0, fmt.Errorf("%w: %v: %s[%d] is %d, want 0 or more, and a sum that is an int", ErrArgument, op, name, rank, n)
		}
		total += n
	}
	return total, nil
}

// checkOwn compares the length of a buffer with the caller's own count.
func (g *Group) checkOwn(op operation, name string, got int, counts []int) error {
	if g.m == nil {
		return nil // which operate will refuse
	}
	return checkLength(op, name, got, counts[g.Rank()], "counts[%d]", g.Rank())
}
