// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build go1.27

package pool

import (
	"context"
	"iter"

	"github.com/tutti-go/tutti/core"
)

// Submit is the function Submit as a method: p.Submit(ctx, (*Worker).Compute, x).
func (p *Pool[A]) Submit[In, Out any](
	ctx context.Context, m func(A, context.Context, In) (Out, error), in In, opts ...CallOption,
) *core.Ref[Out] {
	return Submit(ctx, p, m, in, opts...)
}

// SubmitRef is the function SubmitRef as a method.
func (p *Pool[A]) SubmitRef[In, Out any](
	ctx context.Context, m func(A, context.Context, In) (Out, error), ref *core.Ref[In], opts ...CallOption,
) *core.Ref[Out] {
	return SubmitRef(ctx, p, m, ref, opts...)
}

// Map is the function Map as a method.
func (p *Pool[A]) Map[In, Out any](
	ctx context.Context, m func(A, context.Context, In) (Out, error), seq iter.Seq[In], opts ...CallOption,
) iter.Seq2[Out, error] {
	return Map(ctx, p, m, seq, opts...)
}

// MapUnordered is the function MapUnordered as a method.
func (p *Pool[A]) MapUnordered[In, Out any](
	ctx context.Context, m func(A, context.Context, In) (Out, error), seq iter.Seq[In], opts ...CallOption,
) iter.Seq2[Indexed[Out], error] {
	return MapUnordered(ctx, p, m, seq, opts...)
}

// Tasks is the function Tasks as a method.
func (p *Pool[A]) Tasks[In, Out any](m func(A, context.Context, In) (Out, error), opts ...CallOption) *TaskSet[A, In, Out] {
	return Tasks(p, m, opts...)
}
