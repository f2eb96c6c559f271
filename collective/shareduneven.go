// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"

	"github.com/tutti-go/tutti/arrowstore"
)

// The operations with shared results whose parts may be of different lengths. They take the same ways as those with equal ones.

// AllGatherVShared is [AllGatherShared] with counts[r] elements from rank r: in has as many as the caller's count, and the view as many as there
// are in all. All must call it with the same counts and element type. counts is read only until the call returns. Errors: *Error,
// ErrNotMember, ErrArgument for wrong counts or lengths.
func AllGatherVShared[T arrowstore.Numeric](ctx context.Context, g *Group, in []T, counts []int) (*arrowstore.View[T], error) {
	if err := g.checkShared(opAllGatherVShared, len(in), counts); err != nil {
		return nil, err
	}
	return allGatherShared(ctx, g, unevenly[T](opAllGatherVShared, counts, 0), in, unequalParts(counts, sizeOf[T]()))
}

// GatherVShared is [GatherShared] with counts[r] elements from rank r: in has as many as the caller's count, and the root's view as many as
// there are in all. All must call it with the same counts, element type and root. counts is read only until the call returns.
// Errors: *Error, ErrNotMember, ErrArgument for a root that is no rank, or wrong counts or lengths.
func GatherVShared[T arrowstore.Numeric](ctx context.Context, g *Group, in []T, counts []int, root int) (*arrowstore.View[T], error) {
	if err := g.checkRoot(opGatherVShared, root); err != nil {
		return nil, err
	}
	if err := g.checkShared(opGatherVShared, len(in), counts); err != nil {
		return nil, err
	}
	return gatherShared(ctx, g, unevenly[T](opGatherVShared, counts, root), in, unequalParts(counts, sizeOf[T]()), root)
}

// ScatterVShared is [ScatterShared] with counts[r] elements for rank r: in of the root has as many as there are in all; in of the others is not
// used and may be nil. All must call it with the same counts, element type and root. counts is read only until the call returns.
// Errors: *Error, ErrNotMember, ErrArgument for a root that is no rank, or wrong counts or lengths.
func ScatterVShared[T arrowstore.Numeric](ctx context.Context, g *Group, in []T, counts []int, root int) (*arrowstore.View[T], error) {
	if err := g.checkRoot(opScatterVShared, root); err != nil {
		return nil, err
	}
	total, err := g.checkCounts(opScatterVShared, "counts", counts)
	if err != nil {
		return nil, err
	}
	if g.Rank() == root {
		if err := checkLength(opScatterVShared, "in", len(in), total, "the sum of counts"); err != nil {
			return nil, err
		}
	}
	return scatterParts(ctx, g, unevenly[T](opScatterVShared, counts, root), in, nil, unequalParts(counts, sizeOf[T]()), root)
}

// checkShared checks counts, and the length of what the caller brings.
func (g *Group) checkShared(op operation, length int, counts []int) error {
	if _, err := g.checkCounts(op, "counts", counts); err != nil {
		return err
	}
	return g.checkOwn(op, "in", length, counts)
}
