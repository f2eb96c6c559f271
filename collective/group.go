// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/scope"
	"github.com/tutti-go/tutti/internal/wire"
)

// DefaultTimeout bounds an operation whose context has no deadline, unless the group was made with [Timeout].
const DefaultTimeout = 30 * time.Second

// Option changes a group at its creation.
type Option interface{ apply(*charter) }

type timeout time.Duration

func (t timeout) apply(c *charter) { c.Timeout = time.Duration(t) }

// Timeout bounds each operation on the group whose context has no deadline of its own. It must be positive. Default:
// DefaultTimeout.
func Timeout(d time.Duration) Option { return timeout(d) }

// Group is one epoch of a group of actors, seen by a member or by its creator. It may be used from many goroutines.
type Group struct {
	s     *session
	m     *member // nil at the creator
	actor uint64  // of the member
}

// FromContext returns the group of the given name that the actor was put into, by the latest NewGroup of that name. ctx must be
// one of the actor's call. The group may have failed: then operations on it say why. Errors: ErrOutside, ErrNoGroup, ErrClosed.
func FromContext(ctx context.Context, name string) (*Group, error) {
	sc, ok := scope.From(ctx)
	if !ok {
		return nil, fmt.Errorf("%w: group %q", ErrOutside, name)
	}
	h := hubOf(ctx, sc.Node)
	h.mu.RLock()
	g := h.mu.joined[sc.Actor][name]
	h.mu.RUnlock()
	if g == nil {
		return nil, fmt.Errorf("%w: actor %x is in no group %q", ErrNoGroup, sc.Actor, name)
	}
	if end := g.s.ended(); end != nil && end.code == codeClosed {
		return nil, fmt.Errorf("%w: %q: %s", ErrClosed, name, end.text)
	}
	return g, nil
}

// Rank returns the member's number in the group, from 0, in the order of the handles given to NewGroup. The creator's is -1.
func (g *Group) Rank() int {
	if g.m == nil {
		return -1
	}
	return g.m.rank
}

// Size returns the number of members.
func (g *Group) Size() int { return len(g.s.members) }

// Epoch returns the epoch: 1 for the first group of its name, and one more for each NewGroup of that name.
func (g *Group) Epoch() uint32 { return g.s.epoch }

// Name returns the name given to NewGroup.
func (g *Group) Name() string { return g.s.name }

// Close ends the group for all its members, whose pending and later operations return an *Error that matches ErrClosed. A
// member or the creator may call it; once is enough. It returns when all nodes have been sent the notice. A group that is
// over already, for whatever reason, is left as it is. Errors: the context's; nodes that are lost are no error.
func (g *Group) Close(ctx context.Context) error {
	by := "its creator"
	if g.m != nil {
		by = fmt.Sprintf("rank %d", g.m.rank)
	}
	end := &ending{code: codeClosed, text: fmt.Sprintf("%v by %s", ErrClosed, by)}
	if !g.s.finish(end) {
		return nil
	}
	var errs []error
	for _, node := range g.s.nodes {
		if node == g.s.hub.mesh.Self() {
			continue
		}
		var lost *mesh.LostError
		if err := g.s.notice(ctx, node, end); err != nil && !errors.As(err, &lost) {
			errs = append(errs, fmt.Errorf("collective: close group %q: %w", g.s.name, err))
		}
	}
	return errors.Join(errs...)
}

// establish creates a group on the node of h, which becomes its owner. invite must make every member join and return when all
// have.
func (h *hub) establish(ctx context.Context, c charter, opts []Option, invite func(context.Context, charter) error) (*Group, error) {
	c.Owner, c.Timeout = h.mesh.Self(), DefaultTimeout
	for _, o := range opts {
		o.apply(&c)
	}
	g, c, err := h.found(c)
	if err != nil {
		return nil, err
	}
	if g.s.ended() == nil {
		err = invite(ctx, c)
	}
	if err == nil {
		err = h.open(ctx, g.s)
	}
	if err != nil {
		g.s.abort(&ending{code: codeOther, text: fmt.Sprintf("the group was not created: %v", err), cause: err})
	}
	if end := g.s.ended(); end != nil {
		return nil, &Error{Group: c.Name, Epoch: c.Epoch, Op: "NewGroup", Rank: -1, Failed: end.failed, Reason: end}
	}
	return g, nil
}

// found numbers a group and takes it into the hub of its owner. The group of that name that was created here before ends.
func (h *hub) found(c charter) (*Group, charter, error) {
	h.mu.Lock()
	before := h.mu.created[c.Name]
	if before == nil {
		c.Group, c.Epoch = uint64(h.mesh.Self())<<32|uint64(len(h.mu.created)+1), 1
	} else {
		c.Group, c.Epoch = before.s.id, before.s.epoch+1
	}
	if err := c.validate(); err != nil {
		h.mu.Unlock()
		return nil, c, err
	}
	s, _, err := h.sessionLocked(c)
	if err != nil {
		h.mu.Unlock()
		return nil, c, err
	}
	g := &Group{s: s}
	h.mu.created[c.Name] = g
	h.mu.Unlock()
	if before != nil {
		before.s.abort(replacedBy(c))
	}
	h.watch(s)
	return g, c, nil
}

// open tells all nodes of a group that its members have joined.
func (h *hub) open(ctx context.Context, s *session) error {
	for _, node := range s.nodes {
		hd := wire.Header{Kind: wire.KindBlock, Step: stepOpen, Group: s.id, Epoch: s.epoch}
		if err := h.mesh.Send(ctx, node, &hd); err != nil {
			return err
		}
	}
	return nil
}
