// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build go1.27

package core

import "context"

// Call is the function Call as a method: h.Call(ctx, (*Worker).Compute, x).
func (h *Handle[A]) Call[In, Out any](ctx context.Context, m func(A, context.Context, In) (Out, error), in In) *Ref[Out] {
	return Call(ctx, h, m, in)
}

// CallRef is the function CallRef as a method.
func (h *Handle[A]) CallRef[In, Out any](ctx context.Context, m func(A, context.Context, In) (Out, error), ref *Ref[In]) *Ref[Out] {
	return CallRef(ctx, h, m, ref)
}
