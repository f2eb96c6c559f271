// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build go1.27

package batch

import (
	"context"

	"github.com/tutti-go/tutti/core"
)

// Call is the function Call as a method: r.Call(ctx, (*Worker).Compute, x).
func (r *Remote[A]) Call[In, Out any](
	ctx context.Context, m func(A, context.Context, In) (Out, error), in In, opts ...Option,
) (*Refs[Out], error) {
	return Call(ctx, r, m, in, opts...)
}

// CallRef is the function CallRef as a method.
func (r *Remote[A]) CallRef[In, Out any](
	ctx context.Context, m func(A, context.Context, In) (Out, error), ref *core.Ref[In], opts ...Option,
) (*Refs[Out], error) {
	return CallRef(ctx, r, m, ref, opts...)
}

// CallEach is the function CallEach as a method.
func (r *Remote[A]) CallEach[In, Out any](
	ctx context.Context, m func(A, context.Context, In) (Out, error), ins []In, opts ...Option,
) (*Refs[Out], error) {
	return CallEach(ctx, r, m, ins, opts...)
}
