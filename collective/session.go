// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

// charter is what all nodes know of an epoch of a group. It travels to each member with the call that makes it join.
type charter struct {
	Name    string
	Group   uint64 // number of the group: unique in the system, the same in all its epochs
	Epoch   uint32
	Owner   uint32        // node of rank 0, which numbers the epoch and says when all have joined
	Timeout time.Duration // of an operation whose context has no deadline
	Members []uint64      // actors by rank
}

// validate checks a charter that came over a link.
func (c *charter) validate() error {
	switch {
	case c.Name == "":
		return fmt.Errorf("%w: a group without a name", ErrArgument)
	case c.Timeout <= 0:
		return fmt.Errorf("%w: group %q has a timeout of %v", ErrArgument, c.Name, c.Timeout)
	case len(c.Members) == 0:
		return fmt.Errorf("%w: group %q has no members", ErrArgument, c.Name)
	}
	seen := make(map[uint64]int, len(c.Members))
	for rank, actor := range c.Members {
		if first, ok := seen[actor]; ok {
			return fmt.Errorf("%w: group %q names one actor as rank %d and as rank %d", ErrArgument, c.Name, first, rank)
		}
		seen[actor] = rank
	}
	return nil
}

// session is one epoch of a group, as one node knows it. The members of the node share it.
type session struct {
	hub     *hub
	name    string
	id      uint64
	epoch   uint32
	owner   mesh.NodeID
	timeout time.Duration
	members []uint64
	nodes   []mesh.NodeID // of the members, each once

	ctx    context.Context //nolint:containedctx // ends with the epoch, which it stands for; its cause is an *ending
	cancel context.CancelCauseFunc
	opened chan struct{} // closed when all members have joined
	plans  plans

	mu struct {
		sync.Mutex

		local map[int]*member
		open  bool
		end   *ending
	}
}

func newSession(h *hub, c charter) *session {
	s := &session{
		hub: h, name: c.Name, id: c.Group, epoch: c.Epoch, owner: c.Owner, timeout: c.Timeout,
		members: slices.Clone(c.Members), // the charter is an argument, valid until the call returns
		opened:  make(chan struct{}),
	}
	for _, actor := range c.Members {
		s.nodes = append(s.nodes, nodeOfActor(actor))
	}
	slices.Sort(s.nodes)
	s.nodes = slices.Compact(s.nodes)
	s.ctx, s.cancel = context.WithCancelCause(h.root)
	s.mu.local = map[int]*member{}
	return s
}

func (s *session) nodeOf(rank int) mesh.NodeID { return nodeOfActor(s.members[rank]) }

func (s *session) ranksOn(node mesh.NodeID) []int {
	var ranks []int
	for rank := range s.members {
		if s.nodeOf(rank) == node {
			ranks = append(ranks, rank)
		}
	}
	return ranks
}

// add makes the member for a rank of this node.
func (s *session) add(rank int, actor uint64) *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := newMember(s, rank, actor)
	s.mu.local[rank] = m
	return m
}

func (s *session) member(rank int) *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.local[rank]
}

// setOpen lets the operations of this node's members begin.
func (s *session) setOpen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.open {
		s.mu.open = true
		close(s.opened)
	}
}

// ended returns why the epoch is over, or nil while it is not.
func (s *session) ended() *ending {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.end
}

// finish ends the epoch on this node, unless it is over already. It does not block.
func (s *session) finish(end *ending) bool {
	s.mu.Lock()
	if s.mu.end != nil {
		s.mu.Unlock()
		return false
	}
	s.mu.end = end
	clear(s.mu.local) // frames that arrive from now on are stale
	s.mu.Unlock()
	s.cancel(end)
	s.hub.forget(s)
	return true
}

// abort ends the epoch on this node and, if it was not over already, tells the others. It does not block.
func (s *session) abort(end *ending) {
	if s.finish(end) {
		s.hub.tell(s, end)
	}
}

// notice sends the end of the epoch to one node.
func (s *session) notice(ctx context.Context, node mesh.NodeID, end *ending) error {
	h := wire.Header{Kind: wire.KindAbort, Group: s.id, Epoch: s.epoch}
	return s.hub.mesh.Send(ctx, node, &h, end.encode())
}

// lost is called when a node is gone.
func (s *session) lost(e *mesh.LostError) {
	s.abort(&ending{code: codeLost, failed: s.ranksOn(e.Node), text: e.Error(), cause: e})
}

// endingOf says what the failure err of the member's operation under ctx means for the group.
func (m *member) endingOf(ctx context.Context, err error) *ending {
	s, rank := m.s, m.rank
	if end, ok := errors.AsType[*ending](err); ok {
		return end
	}
	if lost, ok := errors.AsType[*mesh.LostError](err); ok {
		return &ending{code: codeLost, failed: s.ranksOn(lost.Node), text: err.Error(), cause: err}
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		failed, why := m.blame()
		return &ending{code: codeDeadline, failed: failed, text: fmt.Sprintf("rank %d: %v%s", rank, err, why), cause: err}
	case errors.Is(err, mesh.ErrClosed): // the node ends, and with it all its members
		return &ending{code: codeLost, failed: s.ranksOn(s.nodeOf(rank)), text: fmt.Sprintf("rank %d: %v", rank, err), cause: err}
	case actorEnded(err):
		return &ending{code: codeLost, failed: []int{rank}, text: fmt.Sprintf("rank %d: %v", rank, err), cause: err}
	case ctx.Err() != nil:
		return &ending{code: codeCanceled, failed: []int{rank}, text: fmt.Sprintf("rank %d gave up: %v", rank, err), cause: err}
	default:
		return &ending{code: codeOther, failed: []int{rank}, text: fmt.Sprintf("rank %d: %v", rank, err), cause: err}
	}
}
