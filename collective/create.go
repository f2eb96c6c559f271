// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/scope"
	"github.com/tutti-go/tutti/internal/wire"
)

// How a group comes to be. The creator asks the node of rank 0 to found an epoch, then all members, in one batch call, to
// join it; when all have, it asks rank 0 to open it. Operations wait for the notice of that, so that no frame comes to
// a node that does not know the group yet.

// closePatience bounds the attempt to undo a creation that failed.
const closePatience = time.Second

// organizer is what creating a group needs of the members: calls of their actors.
type organizer interface {
	found(ctx context.Context, c charter) (ticket, error) // at rank 0
	join(ctx context.Context, c charter) error            // at all members
	open(ctx context.Context, t ticket) error             // at rank 0
	close(ctx context.Context, t ticket) error            // at any member
}

// establish creates a group.
func establish(ctx context.Context, o organizer, c charter) (*Group, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	t, err := o.found(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("collective: create group %q: %w", c.Name, err)
	}
	c.Group, c.Epoch, c.Owner = t.Group, t.Epoch, t.Owner
	if err = o.join(ctx, c); err == nil {
		err = o.open(ctx, t)
	}
	if err != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
		defer cancel()
		_ = o.close(end, t) // members that have joined should not wait for the rest; at worst they do so until their deadline
		return nil, fmt.Errorf("collective: create group %q: %w", c.Name, err)
	}
	return &Group{id: t, size: len(c.Members), end: func(ctx context.Context) error { return o.close(ctx, t) }}, nil
}

// found numbers an epoch. The epoch of that name that was founded on this node before ends.
func (h *hub) found(c charter) (ticket, error) {
	if err := c.validate(); err != nil {
		return ticket{}, err
	}
	c.Owner = h.mesh.Self()
	h.mu.Lock()
	before := h.mu.founded[c.Name]
	if before != nil {
		c.Group = before.id
	} else {
		h.mu.groups++
		c.Group = uint64(c.Owner)<<32 | uint64(h.mu.groups)
	}
	c.Epoch = h.mu.epochs[c.Name] + 1
	s, _, err := h.sessionLocked(c)
	if err == nil {
		h.mu.founded[c.Name] = s
	}
	h.mu.Unlock()
	if err != nil {
		return ticket{}, err
	}
	if before != nil {
		before.abort(replacedBy(c))
	}
	h.watch(s)
	return ticket{Name: c.Name, Group: c.Group, Epoch: c.Epoch, Owner: c.Owner}, nil
}

// join makes the actor of sc a member of the group.
func (h *hub) join(sc *scope.Scope, c charter) error {
	if err := c.validate(); err != nil {
		return err
	}
	rank := slices.Index(c.Members, sc.Actor)
	if rank < 0 {
		return fmt.Errorf("%w: actor %x is not in the charter of group %q", ErrNotMember, sc.Actor, c.Name)
	}
	h.mu.Lock()
	s, old, err := h.sessionLocked(c)
	if err != nil {
		h.mu.Unlock()
		return err
	}
	groups, known := h.mu.joined[sc.Actor]
	if !known {
		groups = map[string]*Group{}
		h.mu.joined[sc.Actor] = groups
	}
	namesake := groups[c.Name]
	t := ticket{Name: c.Name, Group: c.Group, Epoch: c.Epoch, Owner: c.Owner}
	groups[c.Name] = &Group{id: t, size: len(c.Members), m: s.add(rank, sc.Actor)}
	h.mu.Unlock()
	if old != nil {
		old.abort(replacedBy(c))
	}
	if namesake != nil {
		namesake.m.s.abort(replacedBy(c)) // of another owner; nothing if it was the earlier epoch
	}
	if !known {
		sc.OnEnd(func() { h.leave(sc.Actor) })
	}
	h.watch(s)
	return nil
}

func replacedBy(c charter) *ending {
	return &ending{code: codeReplaced, text: fmt.Sprintf("%v: epoch %d", ErrReplaced, c.Epoch)}
}

// leave ends the groups of an actor that has ended.
func (h *hub) leave(actor uint64) {
	h.mu.Lock()
	groups := h.mu.joined[actor]
	delete(h.mu.joined, actor)
	h.mu.Unlock()
	for _, g := range groups {
		g.m.s.abort(&ending{
			code: codeLost, failed: []int{g.m.rank},
			text: fmt.Sprintf("the actor of rank %d on node %d ended", g.m.rank, h.mesh.Self()),
		})
	}
}

// open tells all nodes of a group that its members have joined.
func (h *hub) open(ctx context.Context, t ticket) error {
	s, err := h.ticketed(t)
	if err != nil {
		return err
	}
	for _, node := range s.nodes {
		hd := wire.Header{Kind: wire.KindBlock, Step: stepOpen, Group: s.id, Epoch: s.epoch}
		if err := h.mesh.Send(ctx, node, &hd); err != nil {
			return err
		}
	}
	return nil
}

// close ends an epoch on behalf of its creator. One that is over, or was never joined here, is no error.
func (h *hub) close(ctx context.Context, t ticket) error {
	s, err := h.ticketed(t)
	if err != nil {
		return nil //nolint:nilerr // there is nothing left to close
	}
	return s.close(ctx, "its creator")
}

// ticketed returns the running epoch of a ticket.
func (h *hub) ticketed(t ticket) (*session, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if s := h.mu.sessions[t.Group]; s != nil && s.epoch == t.Epoch {
		return s, nil
	}
	err := fmt.Errorf("%w: epoch %d of group %q is over", ErrAborted, t.Epoch, t.Name)
	if s := h.mu.founded[t.Name]; s != nil && s.id == t.Group && s.epoch == t.Epoch {
		err = fmt.Errorf("%w: %w", err, s.ended())
	}
	return nil, err
}

// watch ends an epoch at once if one of its nodes was lost before this node heard of the epoch.
func (h *hub) watch(s *session) {
	for _, node := range s.nodes {
		if e := h.mesh.IsLost(node); e != nil {
			s.lost(e)
			return
		}
	}
}

// nodeOfActor returns the node that an actor lives on, which its identity tells.
func nodeOfActor(actor uint64) mesh.NodeID { return mesh.NodeID(actor >> 32) }
