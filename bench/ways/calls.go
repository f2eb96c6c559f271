// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"context"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
)

// Batch makes one batch call that passes the value.
func (f *Fleet) Batch(ctx context.Context, arg *Argument) (Cost, error) {
	if arg.value == nil {
		return one(ctx, func() (*batch.Refs[core.Void], error) { return batch.Call(ctx, f.remote, (*worker).Ping, core.Void{}) })
	}
	return one(ctx, func() (*batch.Refs[float64], error) { return batch.Call(ctx, f.remote, (*worker).Touch, arg.value) })
}

// BatchObject makes one batch call that passes a reference to an object that was put before.
func (f *Fleet) BatchObject(ctx context.Context, arg *Argument) (Cost, error) {
	if arg.ref == nil {
		return Cost{}, errObject
	}
	return one(ctx, func() (*batch.Refs[float64], error) { return batch.CallRef(ctx, f.remote, (*worker).Touch, arg.ref) })
}

func one[T any](ctx context.Context, call func() (*batch.Refs[T], error)) (Cost, error) {
	c := start()
	refs, err := call()
	if err != nil {
		return Cost{}, err
	}
	c.submit()
	if _, err := refs.Get(ctx); err != nil {
		return Cost{}, err
	}
	cost, st := c.stop(), refs.Stats()
	cost.Messages, cost.Bytes = st.Messages, st.Bytes
	return cost, nil
}

// LoopValue calls actor by actor and passes the value each time: what a program does that knows no better.
func (f *Fleet) LoopValue(ctx context.Context, arg *Argument) (Cost, error) {
	c := start()
	if arg.value == nil {
		return loop(ctx, c, f, func(h *core.Handle[*worker]) *core.Ref[core.Void] {
			return core.Call(ctx, h, (*worker).Ping, core.Void{})
		})
	}
	return loop(ctx, c, f, func(h *core.Handle[*worker]) *core.Ref[float64] {
		return core.Call(ctx, h, (*worker).Touch, arg.value)
	})
}

// LoopRef puts the value once and calls actor by actor with the reference. The put counts.
func (f *Fleet) LoopRef(ctx context.Context, arg *Argument) (Cost, error) {
	if arg.value == nil {
		return Cost{}, errObject
	}
	c := start()
	ref, err := core.Put(ctx, f.sys, arg.value)
	if err != nil {
		return Cost{}, err
	}
	defer ref.Release()
	return loopOver(ctx, c, f, ref)
}

// LoopObject calls actor by actor with a reference to an object that was put before.
func (f *Fleet) LoopObject(ctx context.Context, arg *Argument) (Cost, error) {
	if arg.ref == nil {
		return Cost{}, errObject
	}
	return loopOver(ctx, start(), f, arg.ref)
}

func loopOver(ctx context.Context, c *clock, f *Fleet, ref *core.Ref[[]byte]) (Cost, error) {
	return loop(ctx, c, f, func(h *core.Handle[*worker]) *core.Ref[float64] {
		return core.CallRef(ctx, h, (*worker).Touch, ref)
	})
}

func loop[T any](ctx context.Context, c *clock, f *Fleet, call func(*core.Handle[*worker]) *core.Ref[T]) (Cost, error) {
	refs := make([]*core.Ref[T], len(f.handles))
	for i, h := range f.handles {
		refs[i] = call(h)
	}
	c.submit()
	for _, r := range refs {
		if _, err := r.Get(ctx); err != nil {
			return Cost{}, err
		}
	}
	return c.stop(), nil
}
