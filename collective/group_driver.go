// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/internal/scope"
)

// Names of the methods that every actor has for its groups.
const (
	methodFound = "tutti.collective.found"
	methodJoin  = "tutti.collective.join"
	methodOpen  = "tutti.collective.open"
	methodClose = "tutti.collective.close"
)

var _ = core.RegisterForAll(
	core.NamedMethod(methodFound, func(_ any, ctx context.Context, c charter) (ticket, error) {
		h, _, err := hubOfCall(ctx)
		if err != nil {
			return ticket{}, err
		}
		return h.found(c)
	}),
	core.NamedMethod(methodJoin, func(_ any, ctx context.Context, c charter) (core.Void, error) {
		h, sc, err := hubOfCall(ctx)
		if err != nil {
			return core.Void{}, err
		}
		return core.Void{}, h.join(sc, c)
	}),
	core.NamedMethod(methodOpen, func(_ any, ctx context.Context, t ticket) (core.Void, error) {
		h, _, err := hubOfCall(ctx)
		if err != nil {
			return core.Void{}, err
		}
		return core.Void{}, h.open(ctx, t)
	}),
	core.NamedMethod(methodClose, func(_ any, ctx context.Context, t ticket) (core.Void, error) {
		h, _, err := hubOfCall(ctx)
		if err != nil {
			return core.Void{}, err
		}
		return core.Void{}, h.close(ctx, t)
	}),
)

func hubOfCall(ctx context.Context) (*hub, *scope.Scope, error) {
	sc, ok := scope.From(ctx)
	if !ok {
		return nil, nil, ErrOutside
	}
	return hubOf(ctx, sc.Node), sc, nil
}

// actorEnded reports whether an operation failed because its actor was killed or its node is shutting down.
func actorEnded(err error) bool {
	return errors.Is(err, core.ErrActorDead) || errors.Is(err, core.ErrClosed)
}

// NewGroup makes a group of actors, whose ranks are their places in handles: actors that share a node should be neighbours, for
// most data moves between neighbours. All must be of one kind and system, and none may be there twice. The members find the
// group with [FromContext] under the name given; a group that had this name ends with ErrReplaced.
//
// It takes one batch call and two single calls, which wait in the actors' mailboxes like any other, as long as ctx allows. The
// result, whose Rank is -1, serves to close the group. Errors: ErrArgument, those of package batch, or the context's; then
// there is no group, and none of that name.
func NewGroup[A any](ctx context.Context, name string, handles []*core.Handle[A], opts ...Option) (*Group, error) {
	c := charter{Name: name, Timeout: DefaultTimeout, Members: make([]uint64, len(handles))}
	for i, h := range handles {
		if h == nil {
			return nil, fmt.Errorf("%w: group %q: handle %d is nil", ErrArgument, name, i)
		}
		c.Members[i] = uint64(h.ID())
	}
	for _, o := range opts {
		if o == nil {
			return nil, fmt.Errorf("%w: group %q: nil option", ErrArgument, name)
		}
		o.apply(&c)
	}
	return establish(ctx, actors[A](handles), c)
}

// actors organize themselves by calls of the methods above.
type actors[A any] []*core.Handle[A]

func (a actors[A]) found(ctx context.Context, c charter) (ticket, error) {
	v, err := a.call(ctx, 1, methodFound, c)
	if err != nil {
		return ticket{}, err
	}
	t, ok := v.(ticket)
	if !ok {
		return ticket{}, fmt.Errorf("%s answered with a %T", methodFound, v)
	}
	return t, nil
}

func (a actors[A]) join(ctx context.Context, c charter) error {
	_, err := a.call(ctx, len(a), methodJoin, c)
	return err
}

func (a actors[A]) open(ctx context.Context, t ticket) error {
	_, err := a.call(ctx, 1, methodOpen, t)
	return err
}

// call calls a method of the first n actors and returns the first value, when all have answered without an error.
func (a actors[A]) call(ctx context.Context, n int, method string, in any) (any, error) {
	refs, err := batch.New(a[:n]).Method(method).Remote(ctx, in)
	if err != nil {
		if refs != nil {
			refs.Cancel()
		}
		return nil, err
	}
	values, err := refs.Get(ctx)
	if err != nil {
		refs.Cancel()
		return nil, err
	}
	return values[0], nil
}

// close asks all members to close the group, and returns when one has.
func (a actors[A]) close(ctx context.Context, t ticket) error {
	refs, err := batch.New(a, batch.BestEffort).Method(methodClose).Remote(ctx, t)
	if err != nil {
		return fmt.Errorf("collective: close group %q: %w", t.Name, err)
	}
	defer refs.Cancel()
	for _, r := range refs.Stream(ctx) {
		if r.Err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("collective: close group %q: %w", t.Name, r.Err)
		}
		err = errors.Join(err, r.Err)
	}
	if errors.Is(err, core.ErrNodeLost) || errors.Is(err, core.ErrActorDead) {
		return nil // a group that lost a member is over
	}
	return err
}
