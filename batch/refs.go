// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"context"
	"fmt"
	"iter"

	"github.com/tutti-go/tutti/core"
)

// Refs are the answers of a batch: slot i belongs to the i-th actor. They are safe for concurrent use.
type Refs[Out any] struct {
	slots *core.Slots
}

// RefsOf makes Refs of a submission of package core. Out must be the result type of its method; otherwise Get fails with core.ErrDecode.
func RefsOf[Out any](s *core.Slots) *Refs[Out] { return &Refs[Out]{s} }

// Indexed is a value with the index of the actor that it is from.
type Indexed[Out any] struct {
	Index int
	Value Out
}

// Len returns the number of slots.
func (r *Refs[Out]) Len() int { return r.slots.Len() }

// At returns slot i as a reference, to wait for it alone or to use its value in another call. It panics if i is out of range.
func (r *Refs[Out]) At(i int) *core.Ref[Out] {
	if i < 0 || i >= r.Len() {
		panic(fmt.Sprintf("batch: slot %d of %d", i, r.Len()))
	}
	return core.RefAt[Out](r.slots, i)
}

// Refs returns all slots as references, in order.
func (r *Refs[Out]) Refs() []*core.Ref[Out] {
	refs := make([]*core.Ref[Out], r.Len())
	for i := range refs {
		refs[i] = core.RefAt[Out](r.slots, i)
	}
	return refs
}

// Get waits for all answers and returns the values in the order of the actors, with the zero value in slots that
// failed. If any failed, the error is an *Error with one entry for each. If ctx ends first, the error is the context's, and
// the values are nil: the slots can still be waited for.
func (r *Refs[Out]) Get(ctx context.Context) ([]Out, error) {
	if err := r.slots.Wait(ctx, r.Len()); err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	values := make([]Out, r.Len())
	var failed *Error
	for i := range values {
		v, err := core.ValueAt[Out](ctx, r.slots, i)
		if err != nil {
			failed = failed.add(r.slots, i, err)
			continue
		}
		values[i] = v
	}
	if failed != nil {
		return values, failed
	}
	return values, nil
}

// Err waits for all answers and returns nil, or an *Error with one entry for each slot that failed. Unlike Get it leaves large values
// where they are. If ctx ends first, the error is the context's.
func (r *Refs[Out]) Err(ctx context.Context) error {
	if err := r.slots.Wait(ctx, r.Len()); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	var failed *Error
	for i := range r.Len() {
		if err := r.slots.Err(i); err != nil {
			failed = failed.add(r.slots, i, err)
		}
	}
	if failed != nil {
		return failed
	}
	return nil
}

// Stream yields the answers as they arrive, with the index of the actor. If ctx ends first, it yields index -1 with the
// context's error and stops.
func (r *Refs[Out]) Stream(ctx context.Context) iter.Seq2[int, core.Result[Out]] {
	return func(yield func(int, core.Result[Out]) bool) {
		for k := range r.Len() {
			if err := r.slots.Wait(ctx, k+1); err != nil {
				yield(-1, core.Result[Out]{Err: fmt.Errorf("batch: %w", err)})
				return
			}
			slot, _ := r.slots.Completed(k)
			v, err := core.ValueAt[Out](ctx, r.slots, slot)
			if !yield(slot, core.Result[Out]{Value: v, Err: err}) {
				return
			}
		}
	}
}

// First waits for the first m answers, values or errors, and returns them in the order in which they
// came. m must be between 0 and Len. If ctx ends first, it returns those that are there, with the context's error.
func (r *Refs[Out]) First(ctx context.Context, m int) ([]core.Result[Out], error) {
	if m < 0 || m > r.Len() {
		return nil, fmt.Errorf("batch: %w: First(%d) of %d", core.ErrInvalid, m, r.Len())
	}
	err := r.slots.Wait(ctx, m)
	results := make([]core.Result[Out], 0, m)
	for k := range m {
		slot, ok := r.slots.Completed(k)
		if !ok {
			break
		}
		v, err := core.ValueAt[Out](ctx, r.slots, slot)
		results = append(results, core.Result[Out]{Value: v, Err: err})
	}
	if err != nil && len(results) < m {
		return results, fmt.Errorf("batch: %w", err)
	}
	return results, nil
}

// Succeeded waits for the first m values and returns them in the order in which they came, with the index of the actor. If so many slots fail that m
// values cannot come, the error is an *Error of those that have; if ctx ends first, it is the context's. The values that are there are returned in
// either case. m must be between 0 and Len.
func (r *Refs[Out]) Succeeded(ctx context.Context, m int) ([]Indexed[Out], error) {
	if m < 0 || m > r.Len() {
		return nil, fmt.Errorf("batch: %w: Succeeded(%d) of %d", core.ErrInvalid, m, r.Len())
	}
	values := make([]Indexed[Out], 0, m)
	if m == 0 {
		return values, nil
	}
	var failed *Error
	for i, res := range r.Stream(ctx) {
		switch {
		case i < 0:
			return values, res.Err
		case res.Err != nil:
			failed = failed.add(r.slots, i, res.Err)
			if r.Len()-len(failed.Failures) < m {
				return values, failed
			}
		default:
			if values = append(values, Indexed[Out]{i, res.Value}); len(values) == m {
				return values, nil
			}
		}
	}
	return values, nil
}

// Cancel gives up all calls that have not answered: their slots fail with context.Canceled at once, calls that wait at their
// actors are dropped, and the contexts of those that run are cancelled.
func (r *Refs[Out]) Cancel() { r.slots.Cancel(context.Canceled) }

// Release gives back the room that large results take in the object stores of their nodes, without waiting for the
// collector. Values that were returned stay valid.
func (r *Refs[Out]) Release() { r.slots.Release() }

// Stats returns what the batch has cost so far.
func (r *Refs[Out]) Stats() core.SlotStats { return r.slots.Stats() }
