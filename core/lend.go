// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"

	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/wire"
)

// Lent is the argument of a method that is called with SubmitLent: a value for all actors and, for each, what a reference of its own
// stands for. The object of the reference stays where it is until Open.
type Lent[H, T any] struct {
	With H // the same for all

	Has  bool   // whether there is a reference
	Kind uint8  // of the payload that the reference became; for Open
	Data []byte // of the payload
}

type callKey struct{}

// Open returns the value of the reference, brought here from another host if need be. It is read-only, shared with whoever else has
// it, and valid until done is called, once. ctx must be that of the call, or made from it. Errors: ErrInvalid if there is no reference or ctx is of
// no call, ErrObjectLost, ErrNodeLost, ErrDecode, the context's.
func (l Lent[H, T]) Open(ctx context.Context) (value T, done func(), err error) {
	c, ok := ctx.Value(callKey{}).(*callContext)
	if !ok {
		return value, nil, fmt.Errorf("%w: a reference is opened outside the call that it was lent to", ErrInvalid)
	}
	p := wire.Payload{Kind: wire.PayloadKind(l.Kind), Data: l.Data}
	if !l.Has || p.Kind != wire.PayloadInline && p.Kind != wire.PayloadRemote {
		return value, nil, fmt.Errorf("%w: no reference was lent to the call", ErrInvalid)
	}
	node := c.life.node
	v, mode, obj, err := node.payload(ctx, p)
	done = func() {
		if obj != nil {
			obj.Release()
		}
	}
	if err == nil {
		if value, err = codec.Decode[T](node.codec, v, mode); err != nil {
			err = fmt.Errorf("%w: %w", ErrDecode, err)
		}
	}
	if err != nil {
		done()
		var zero T
		return zero, nil, fmt.Errorf("lent reference: %w", err)
	}
	return value, done, nil
}

// SubmitLent is SubmitNamed of a method that takes a Lent[H, T]: with goes to all targets and the value of refs[i] to target i, by reference. A
// reference may be there several times, or be nil for a target that needs none. SubmitLent waits for those that are results of calls that still run.
// It is one message to each node, and no value of more than InlineMax bytes goes through the driver. The objects are kept until the last
// answer. There must be as many references as targets. Errors are those of Submit; that of a reference names its index, and nothing is sent.
func SubmitLent[H, T any](ctx context.Context, t *Targets, name string, with H, refs []*Ref[T], opts ...CallOption) (*Slots, error) {
	m, err := t.sys.table.named(t.kind, name)
	if err != nil {
		return nil, err
	}
	t, cfg, err := t.configureEach(ctx, m, opts, len(refs), "references")
	if err != nil {
		return nil, err
	}
	var held []argument // with something to let go of
	all := argument{each: make([]argument, len(refs)), release: func() {
		for i := range held {
			held[i].done()
		}
	}}
	share := 1 + t.largest*InlineMax/eachMax
	for i, ref := range refs {
		l := Lent[H, T]{With: with, Has: ref != nil}
		var own, message argument
		if ref != nil {
			if own, err = ref.argument(ctx, t.sys, share); err == nil {
				held = append(held, own)
				l.Kind, l.Data = own.lent()
			}
		}
		if err == nil {
			var v codec.Value
			if v, err = m.encode(t.sys.codec, l); err == nil {
				message, err = t.sys.argumentOf(v, share)
			}
		}
		if err != nil {
			all.done()
			return nil, fmt.Errorf("argument %d of %v: %w", i, m, err)
		}
		held = append(held, message)
		all.each[i] = message
		all.put += own.put + message.put
	}
	return t.submit(ctx, m, all, cfg)
}

// lent is the payload inside an argument, which does not tell on which host it will be read.
func (a *argument) lent() (kind uint8, data []byte) {
	p := a.payload
	if p.Kind == wire.PayloadObject {
		p = a.remotePayload()
	}
	return uint8(p.Kind), p.Data
}
