// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/wire"
)

// Result is the outcome of one call.
type Result[T any] struct {
	Value T
	Err   error
}

// Ref stands for a value that exists, or will: the result of a call, or an object made by Put. It is safe for
// concurrent use.
type Ref[T any] struct {
	slots *Slots // of a call
	index int

	put *object // of Put
	err error   // the call was not submitted

	promise *Promise // of a call whose actor is chosen later
}

// object is a value in the store of this process.
type object struct {
	sys    *System
	obj    *arrowstore.Object
	hold   *hold
	viewed atomic.Bool // a view was handed out, so only Release may free it
}

// newObject makes the store's object one that ends with the system at the latest.
func newObject(sys *System, obj *arrowstore.Object) (*object, error) {
	o := &object{sys: sys, obj: obj}
	o.hold = newHold(func() {
		sys.puts.Lock()
		delete(sys.puts.open, o)
		sys.puts.Unlock()
		sys.drop(obj)
		obj.Release()
	})
	sys.puts.Lock()
	closed := sys.puts.closed
	if !closed {
		sys.puts.open[o] = struct{}{}
	}
	sys.puts.Unlock()
	if closed {
		o.hold.release()
		return nil, ErrClosed
	}
	return o, nil
}

// gone is why the object can be had no longer.
func (o *object) gone() error {
	if err := o.sys.err(); err != nil {
		return err
	}
	return fmt.Errorf("%w: the reference was released", ErrObjectLost)
}

// RefAt returns slot i of a submission as a Ref. T must be the result type of the method; otherwise Get fails with ErrDecode.
func RefAt[T any](s *Slots, i int) *Ref[T] { return &Ref[T]{slots: s, index: i} }

// Call calls a method of one actor: a batch of one. It returns at once; whatever goes wrong is reported by the Ref.
func Call[A, In, Out any](ctx context.Context, h *Handle[A], f func(A, context.Context, In) (Out, error), in In) *Ref[Out] {
	return single[A, Out](h, func(t *Targets) (*Slots, error) { return Submit(ctx, t, f, in, FailFast) })
}

// CallRef calls a method of one actor with the value of ref, passed by reference. If ref is the result of a call that is still
// running, CallRef waits for it.
func CallRef[A, In, Out any](ctx context.Context, h *Handle[A], f func(A, context.Context, In) (Out, error), ref *Ref[In]) *Ref[Out] {
	return single[A, Out](h, func(t *Targets) (*Slots, error) { return SubmitRef(ctx, t, f, ref, FailFast) })
}

func single[A, Out any](h *Handle[A], submit func(*Targets) (*Slots, error)) *Ref[Out] {
	t, err := NewTargets([]*Handle[A]{h})
	if err != nil {
		return &Ref[Out]{err: err}
	}
	s, err := submit(t)
	if s == nil {
		return &Ref[Out]{err: err}
	}
	return RefAt[Out](s, 0) // an error of a single submission is that of its slot
}

// Put copies a value into the object store of this host, from where every actor of the host reads it in place. It
// stays there until Release, until the system ends, or, if Get was never called, until the Ref is collected.
// Errors: ErrEncode, ErrNoSpace, ErrClosed.
func Put[T any](ctx context.Context, sys *System, v T) (*Ref[T], error) {
	if err := ended(ctx); err != nil {
		return nil, fmt.Errorf("put: %w", err)
	}
	if err := sys.err(); err != nil {
		return nil, fmt.Errorf("put: %w", err)
	}
	enc, err := encode(sys.codec, v)
	if err != nil {
		return nil, fmt.Errorf("put: %w", err)
	}
	obj, err := sys.put(enc)
	if err != nil {
		return nil, fmt.Errorf("put: %w", err)
	}
	o, err := newObject(sys, obj)
	if err != nil {
		return nil, fmt.Errorf("put: %w", err)
	}
	r := &Ref[T]{put: o}
	runtime.AddCleanup(r, func(o *object) {
		if !o.viewed.Load() {
			o.hold.release()
		}
	}, r.put)
	return r, nil
}

// Get returns the value, waiting for it if need be.
//
// The result of a call belongs to the caller: it is decoded anew for every Get. The value of a Put
// is a view where its type allows one (numeric slices and byte slices, at the top or in exported struct fields):
// no byte is copied, it must not be written to, and it is valid until Release or the end of the system.
//
// Errors: the call's (*ActorError, *CallError), the context's while waiting, ErrObjectLost, ErrDecode.
func (r *Ref[T]) Get(ctx context.Context) (T, error) {
	var zero T
	r, err := r.settled(ctx)
	if err != nil {
		return zero, err
	}
	if r.err != nil {
		return zero, r.err
	}
	if r.put != nil {
		return r.view()
	}
	if err := r.wait(ctx); err != nil {
		return zero, err
	}
	return ValueAt[T](ctx, r.slots, r.index)
}

// ValueAt returns the value of slot i of a submission, as Ref.Get does, without waiting for the answer: a pending slot is an error that
// matches ErrInvalid. A large value that is on another host is brought here, for which ctx bounds the wait. T must be the result type of
// the method.
func ValueAt[T any](ctx context.Context, s *Slots, i int) (T, error) {
	var zero T
	v, obj, err := s.value(ctx, i)
	if err != nil {
		return zero, err
	}
	if s.cfg.cast {
		return zero, nil
	}
	if obj != nil {
		defer obj.Release()
	}
	if s.method.out == reflect.TypeFor[T]() {
		out, err := codec.Decode[T](s.sys.codec, v, codec.Copy)
		if err != nil {
			return zero, fmt.Errorf("%w: result of %v: %w", ErrDecode, s.method, err)
		}
		return out, nil
	}
	out, err := s.method.decode(s.sys.codec, v, codec.Copy)
	if err != nil {
		return zero, fmt.Errorf("%w: result of %v: %w", ErrDecode, s.method, err)
	}
	t, ok := out.(T)
	if !ok {
		return zero, fmt.Errorf("%w: result of %v is a %v, not a %v", ErrDecode, s.method, s.method.out, reflect.TypeFor[T]())
	}
	return t, nil
}

func (r *Ref[T]) wait(ctx context.Context) error {
	if r.slots.complete(r.index) {
		return nil
	}
	w := newWaiter(1)
	if !r.slots.subscribe(r.index, w) {
		return nil
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		r.slots.unsubscribe(r.index, w)
		return fmt.Errorf("wait for %v: %w", r.slots.method, ended(ctx))
	}
}

// settled returns r, or what became of it if it is a promise, for which it waits.
func (r *Ref[T]) settled(ctx context.Context) (*Ref[T], error) {
	if r.promise == nil {
		return r, nil
	}
	if err := r.promise.wait(ctx); err != nil {
		return nil, err
	}
	return &Ref[T]{slots: r.promise.slots, index: r.promise.index, err: r.promise.err}, nil
}

func (r *Ref[T]) complete() bool {
	if r.promise != nil {
		return r.promise.complete()
	}
	return r.slots == nil || r.slots.complete(r.index)
}

// subscribe makes w count the completion of r, and reports false if that has happened already.
func (r *Ref[T]) subscribe(w *waiter) bool {
	if r.promise != nil {
		return r.promise.subscribe(w)
	}
	return r.slots != nil && r.slots.subscribe(r.index, w)
}

func (r *Ref[T]) unsubscribe(w *waiter) {
	if r.promise != nil {
		r.promise.unsubscribe(w)
		return
	}
	r.slots.unsubscribe(r.index, w)
}

func (r *Ref[T]) view() (T, error) {
	var zero T
	if !r.put.hold.retain() {
		return zero, r.put.gone()
	}
	defer r.put.hold.done()
	r.put.viewed.Store(true)
	v, err := objectValue(r.put.obj)
	if err != nil {
		return zero, err
	}
	out, err := codec.Decode[T](r.put.sys.codec, v, codec.View)
	if err != nil {
		return zero, fmt.Errorf("%w: %w", ErrDecode, err)
	}
	return out, nil
}

// argument returns the value as the argument of a call to at most share actors of one node, waiting for it if need be.
func (r *Ref[T]) argument(ctx context.Context, sys *System, share int) (argument, error) {
	r, err := r.settled(ctx)
	if err != nil {
		return argument{}, err
	}
	if r.err != nil {
		return argument{}, r.err
	}
	if r.put != nil && r.put.sys != sys || r.slots != nil && r.slots.sys != sys {
		return argument{}, fmt.Errorf("%w: the reference belongs to another system than the actors", ErrMixed)
	}
	if r.slots != nil && r.slots.method.out != reflect.TypeFor[T]() {
		return argument{}, fmt.Errorf("%w: the reference is to a %v, not a %v", ErrInvalid, r.slots.method.out, reflect.TypeFor[T]())
	}
	if r.put != nil {
		if !r.put.hold.retain() {
			return argument{}, r.put.gone()
		}
		return argument{payload: objectPayload(r.put.obj), release: r.put.hold.done}, nil
	}
	if err := r.wait(ctx); err != nil {
		return argument{}, err
	}
	if id, ok := r.slots.object(r.index); ok { // it stays where it is
		slots, slot := r.slots, uint32(r.index)
		node, ok := slots.remote.where(slot)
		if !ok || !slots.remote.retain(slot) {
			return argument{}, fmt.Errorf("%w: result of %v was released", ErrObjectLost, r.slots.method)
		}
		payload := wire.Payload{Kind: wire.PayloadObject, Data: id}
		return argument{payload: payload, origin: node, release: func() { slots.remote.done(slot) }}, nil
	}
	v, _, err := r.slots.value(ctx, r.index)
	if err != nil {
		return argument{}, err
	}
	return r.slots.sys.argumentOf(v, share)
}

// Release gives back the object that the Ref stands for. Views that Get returned must not be used afterwards. For
// the result of a call it releases the answer, large or not, and leaves the others of its batch. Calling it again has no effect.
func (r *Ref[T]) Release() {
	switch {
	case r.promise != nil:
		r.promise.release()
	case r.put != nil:
		r.put.hold.release()
	case r.slots != nil:
		r.slots.ReleaseSlot(r.index)
	}
}

// Err waits like Get and returns only the error.
func (r *Ref[T]) Err(ctx context.Context) error {
	r, err := r.settled(ctx)
	if err != nil {
		return err
	}
	if r.err != nil || r.put != nil {
		return r.err
	}
	if err := r.wait(ctx); err != nil {
		return err
	}
	return r.slots.Err(r.index)
}

// Wait blocks until n of the refs are complete, with a value or an error, and splits them: the indices of those that are
// complete, and of the rest, each in the order of refs. If ctx ends first, it returns what is complete with
// the context's error. n must be between 0 and len(refs).
func Wait[T any](ctx context.Context, refs []*Ref[T], n int) (ready, rest []*Ref[T], err error) {
	if n < 0 || n > len(refs) {
		return nil, nil, fmt.Errorf("wait for %d of %d refs: %w: out of range", n, len(refs), ErrInvalid)
	}
	if slices.Contains(refs, nil) {
		return nil, nil, fmt.Errorf("wait: %w: nil reference", ErrInvalid)
	}
	err = waitAny(ctx, refs, n)
	for _, r := range refs {
		if r.complete() {
			ready = append(ready, r)
		} else {
			rest = append(rest, r)
		}
	}
	if len(ready) >= n {
		err = nil
	}
	return ready, rest, err
}

// waitAny returns when n of the refs are complete. One waiter counts for all of them.
func waitAny[T any](ctx context.Context, refs []*Ref[T], n int) error {
	if n == 0 {
		return nil
	}
	w := newWaiter(n)
	waiting := make([]*Ref[T], 0, len(refs))
	for _, r := range refs {
		if !r.subscribe(w) {
			w.completed()
			continue
		}
		waiting = append(waiting, r)
	}
	defer func() {
		for _, r := range waiting {
			r.unsubscribe(w)
		}
	}()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %d of %d refs: %w", n, len(refs), ended(ctx))
	}
}
