// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/internal/scope"
)

// methodJoin is the method that every actor has for its groups.
const methodJoin = "tutti.collective.join"

var _ = core.RegisterForAll(
	core.NamedMethod(methodJoin, func(_ any, ctx context.Context, c charter) (core.Void, error) {
		sc, ok := scope.From(ctx)
		if !ok {
			return core.Void{}, ErrOutside
		}
		_, err := hubOf(ctx, sc.Node).join(sc, c)
		return core.Void{}, err
	}),
)

// A node keeps what comes for members that have not joined, so it must listen from the start.
var _ = core.RegisterOnNode(func(ctx context.Context, n *scope.Node) { hubOf(ctx, n) })

// actorEnded reports whether an operation failed because its actor was killed or its node is shutting down.
func actorEnded(err error) bool {
	return errors.Is(err, core.ErrActorDead) || errors.Is(err, core.ErrClosed)
}

// NewGroup makes a group of actors, whose ranks are their places in handles: actors that share a node should be neighbours, for
// most data moves between neighbours. All must be of one kind and system, and none may be there twice. The members find the
// group with [FromContext] under the name given; a group that had this name ends with ErrReplaced.
//
// Algorithms are chosen by a model of the costs, measured by the first group of a system in some 20 ms, and a table that follows from it, which takes some 85 ms for 400 members: see [Costs], [Algorithm] and
// [Group.Explain].
//
// It takes one batch call, which waits in the actors' mailboxes like any other, as long as ctx allows. The result, whose Rank is -1,
// serves to watch, revoke, close, shrink and grow the group. Errors: ErrArgument, those of package batch, or the context's; then
// there is no group, and none of that name.
func NewGroup[A any](ctx context.Context, name string, handles []*core.Handle[A], opts ...Option) (*Group, error) {
	b, err := boundsOf(name, opts)
	if err != nil {
		return nil, err
	}
	return newGroup(ctx, charter{Name: name, Bounds: b}, handles)
}

func newGroup[A any](ctx context.Context, c charter, handles []*core.Handle[A]) (*Group, error) {
	c.Members = make([]uint64, len(handles))
	hosts := map[string]uint32{}
	for i, h := range handles {
		if h == nil || h.System().Scope() == nil {
			return nil, fmt.Errorf("%w: group %q: handle %d is nil", ErrArgument, c.Name, i)
		}
		c.Members[i] = uint64(h.Place())
		host := h.Host()
		if _, known := hosts[host]; !known {
			hosts[host] = uint32(len(hosts))
		}
		c.Hosts = append(c.Hosts, hosts[host])
	}
	if len(hosts) == 1 {
		c.Hosts = nil
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	c.Bounds.Host = true
	h := hubOf(ctx, handles[0].System().Scope())
	if err := h.tabulate(ctx, &c); err != nil {
		return nil, err
	}
	g, err := h.establish(ctx, c, func(ctx context.Context, c charter) error {
		refs, err := batch.New(handles).Method(methodJoin).Remote(ctx, c)
		if err == nil {
			_, err = refs.Get(ctx)
		}
		if err != nil && refs != nil {
			refs.Cancel()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	handles = slices.Clone(handles)
	g.handles = handles
	g.targets = sync.OnceValues(func() (*core.Targets, error) { return core.NewTargets(handles) })
	g.ordering = make(chan struct{}, 1)
	g.again = func(ctx context.Context, ranks []int) (*Group, error) {
		left := make([]*core.Handle[A], len(ranks))
		for i, rank := range ranks {
			left[i] = handles[rank]
		}
		return newGroup(ctx, charter{Name: c.Name, Epoch: g.Epoch() + 1, Bounds: c.Bounds}, left)
	}
	return g, nil
}
