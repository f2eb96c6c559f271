// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/scope"
)

// How a group comes to be. The creator numbers the epoch by itself, for the number of a group names the node that gave it; then all
// members join, in one batch call. Each may begin at once: what comes to a node before its member has joined waits there.

// closePatience bounds the attempt to undo a creation that failed.
const closePatience = time.Second

// number gives a new epoch of a name its numbers.
func (h *hub) number(c *charter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id, ok := h.mu.numbers[c.Name]
	if !ok {
		id = uint64(h.mesh.Self())<<32 | uint64(len(h.mu.numbers)+1)
		h.mu.numbers[c.Name] = id
	}
	c.Group, c.Epoch, c.Owner = id, max(h.mu.epochs[c.Name]+1, c.Epoch), h.mesh.Self()
	h.mu.epochs[c.Name] = c.Epoch
}

// establish creates a group. join makes all members join.
func (h *hub) establish(ctx context.Context, c charter, join func(context.Context, charter) error) (*Group, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	h.number(&c)
	h.mu.Lock()
	s, old, err := h.sessionLocked(c)
	h.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if old != nil {
		old.abort(replacedBy(c))
	}
	h.watch(s)
	if err = join(ctx, c); err == nil && s.ended() != nil {
		err = fmt.Errorf("%w: %w", ErrAborted, s.ended())
	}
	if err != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
		defer cancel()
		_ = s.close(end, "its creator") // members that have joined should not wait for the rest; at worst they do so until their deadline
		return nil, fmt.Errorf("collective: create group %q: %w", c.Name, err)
	}
	return &Group{s: s}, nil
}

// join makes the actor of sc a member of the group.
func (h *hub) join(sc *scope.Scope, c charter) (*Group, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	rank := slices.Index(c.Members, sc.Actor)
	if rank < 0 {
		return nil, fmt.Errorf("%w: actor %x is not in the charter of group %q", ErrNotMember, sc.Actor, c.Name)
	}
	h.mu.Lock()
	s, old, err := h.sessionLocked(c)
	if err != nil {
		h.mu.Unlock()
		return nil, err
	}
	groups, known := h.mu.joined[sc.Actor]
	if !known {
		groups = map[string]*Group{}
		h.mu.joined[sc.Actor] = groups
	}
	namesake := groups[c.Name]
	g := &Group{s: s, m: s.add(rank, sc)}
	groups[c.Name] = g
	end := h.replayLocked(s, g.m)
	h.mu.Unlock()
	if old != nil {
		old.abort(replacedBy(c))
	}
	if namesake != nil && namesake.s != s {
		namesake.s.abort(replacedBy(c)) // of another creator; nothing if it was the earlier epoch
	}
	if !known {
		sc.OnEnd(func(reason error) { h.leave(sc.Actor, reason) })
		sc.OnPanic(func(reason error) { h.panicked(sc.Actor, reason) })
	}
	if end != nil {
		s.abort(end)
	}
	h.watch(s)
	return g, nil
}

func replacedBy(c charter) *ending {
	return &ending{code: codeReplaced, text: fmt.Sprintf("%v: epoch %d", ErrReplaced, c.Epoch)}
}

// leave ends the groups of an actor that has ended.
func (h *hub) leave(actor uint64, reason error) {
	h.mu.Lock()
	groups := h.mu.joined[actor]
	delete(h.mu.joined, actor)
	h.mu.Unlock()
	for _, g := range groups {
		g.s.council.exclude(g.m.rank)
		g.s.abort(&ending{
			code: codeLost, failed: []int{g.m.rank},
			text: fmt.Sprintf("the actor of rank %d on node %d ended: %v", g.m.rank, h.mesh.Self(), reason),
		})
	}
}

// panicked ends the groups of an actor of which a method panicked: whatever it had still to call, the others would wait for it.
func (h *hub) panicked(actor uint64, reason error) {
	h.mu.RLock()
	groups := slices.Collect(maps.Values(h.mu.joined[actor]))
	h.mu.RUnlock()
	for _, g := range groups {
		g.s.abort(panicked(g.m.rank, reason))
	}
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
