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
	id   ticket
	size int
	m    *member                     // nil at the creator
	end  func(context.Context) error // at the creator: how to close it
}

// ticket names an epoch to its owner and its members.
type ticket struct {
	Name  string
	Group uint64
	Epoch uint32
	Owner uint32
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
	select {
	case <-g.m.s.opened:
	default:
		if g.m.rank == 0 { // where it is opened before NewGroup returns
			return nil, fmt.Errorf("%w: group %q is still being created", ErrNoGroup, name)
		}
	}
	if end := g.m.s.ended(); end != nil && end.code == codeClosed {
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
func (g *Group) Size() int { return g.size }

// Epoch returns the epoch: 1 for the first group of its name, and higher with each NewGroup of that name.
func (g *Group) Epoch() uint32 { return g.id.Epoch }

// Name returns the name given to NewGroup.
func (g *Group) Name() string { return g.id.Name }

// Close ends the group for all its members, whose pending and later operations return an *Error that matches ErrClosed. A
// member or the creator may call it; once is enough. At a member it returns when all nodes have been sent the notice. The
// creator's goes through the mailboxes of the members and takes effect at the first that is free. A group that is over
// already, for whatever reason, is left as it is. Errors: the context's; members that are lost are no error.
func (g *Group) Close(ctx context.Context) error {
	if g.m == nil {
		return g.end(ctx)
	}
	return g.m.s.close(ctx, fmt.Sprintf("rank %d", g.m.rank))
}

// close ends the epoch and tells all other nodes.
func (s *session) close(ctx context.Context, by string) error {
	end := &ending{code: codeClosed, text: fmt.Sprintf("%v by %s", ErrClosed, by)}
	if !s.finish(end) {
		return nil
	}
	var errs []error
	for _, node := range s.nodes {
		if node == s.hub.mesh.Self() {
			continue
		}
		err := s.notice(ctx, node, end)
		if _, lost := errors.AsType[*mesh.LostError](err); err != nil && !lost {
			errs = append(errs, fmt.Errorf("collective: close group %q: %w", s.name, err))
		}
	}
	return errors.Join(errs...)
}
