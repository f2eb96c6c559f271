// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/scope"
	"github.com/tutti-go/tutti/internal/wire"
)

// charter is what all nodes know of an epoch of a group. It travels to each member with the call that makes it join.
type charter struct {
	Name    string
	Group   uint64 // number of the group: unique in the system, the same in all its epochs
	Epoch   uint32
	Owner   uint32 // node of the creator, which numbered the epoch
	Bounds  bounds
	Members []uint64 // actors by rank
	Hosts   []uint32 // by rank, a number for each host; none: all are on one
}

// bounds say how long the members of a group wait, and how they carry out operations. They pass on to its later epochs and parts.
type bounds struct {
	Timeout time.Duration // for an operation whose context has no deadline
	Stall   time.Duration // for anything to move, in an operation whose context has no deadline
	Strict  bool          // Stall holds for all operations
	Silence time.Duration // for a sign of life of a node
	Host    bool          // members that are on one machine may share its memory

	Select selection
}

// tick is how often a member that waits looks around.
func (b bounds) tick() time.Duration {
	const longest, shortest, parts = 250 * time.Millisecond, time.Millisecond, 8
	return max(shortest, min(longest, b.Silence/parts, b.Stall/parts))
}

// validate checks a charter that came over a link.
func (c *charter) validate() error {
	switch {
	case c.Name == "":
		return fmt.Errorf("%w: a group without a name", ErrArgument)
	case c.Bounds.Timeout <= 0:
		return fmt.Errorf("%w: group %q: Timeout is %v, want more than 0", ErrArgument, c.Name, c.Bounds.Timeout)
	case c.Bounds.Stall <= 0:
		return fmt.Errorf("%w: group %q: Stall is %v, want more than 0", ErrArgument, c.Name, c.Bounds.Stall)
	case c.Bounds.Silence <= 0:
		return fmt.Errorf("%w: group %q: Silence is %v, want more than 0", ErrArgument, c.Name, c.Bounds.Silence)
	case len(c.Members) == 0:
		return fmt.Errorf("%w: group %q has no members", ErrArgument, c.Name)
	case len(c.Hosts) != 0 && len(c.Hosts) != len(c.Members):
		return fmt.Errorf("%w: group %q has %d members on %d hosts by rank", ErrArgument, c.Name, len(c.Members), len(c.Hosts))
	}
	seen := make(map[uint64]int, len(c.Members))
	for rank, actor := range c.Members {
		if first, ok := seen[actor]; ok {
			return fmt.Errorf("%w: group %q names one actor as rank %d and as rank %d", ErrArgument, c.Name, first, rank)
		}
		seen[actor] = rank
	}
	_, err := c.Bounds.Select.chooser(len(c.Members))
	return err
}

// session is one epoch of a group, as one node knows it. The members of the node share it.
type session struct {
	hub     *hub
	name    string
	id      uint64
	epoch   uint32
	owner   mesh.NodeID
	bounds  bounds
	members []uint64
	hosts   []uint32
	nodes   []mesh.NodeID   // of the members, each once, rising
	heard   []atomic.Uint32 // frames that came from each of nodes
	council council

	ctx    context.Context //nolint:containedctx // ends with the epoch, which it stands for; its cause is an *ending
	cancel context.CancelCauseFunc

	host     *host    // nil: the members have no memory of a machine in common
	heap     *heap    // nil: they do not all live in this process, or are to exchange messages
	chooser  *chooser // as the charter has it
	programs programs // compiled schedules that members of this node share

	end atomic.Pointer[ending] // stored under the lock

	mu struct {
		sync.Mutex

		local map[int]*member
	}
}

func newSession(h *hub, c charter) *session {
	s := &session{
		hub: h, name: c.Name, id: c.Group, epoch: c.Epoch, owner: c.Owner, bounds: c.Bounds,
		members: slices.Clone(c.Members), // the charter is an argument, valid until the call returns
		hosts:   slices.Clone(c.Hosts),
	}
	for _, actor := range c.Members {
		s.nodes = append(s.nodes, nodeOfActor(actor))
	}
	slices.Sort(s.nodes)
	s.nodes = slices.Compact(s.nodes)
	s.heard = make([]atomic.Uint32, len(s.nodes))
	s.council.rounds = map[uint64]*ballot{}
	s.council.out = map[int]bool{}
	s.council.changed = make(chan struct{})
	s.chooser, _ = c.Bounds.Select.chooser(len(c.Members)) // the charter was validated
	s.ctx, s.cancel = context.WithCancelCause(h.root)
	s.mu.local = map[int]*member{}
	s.host, s.heap = h.hostFor(s), h.heapFor(s)
	return s
}

func (s *session) nodeOf(rank int) mesh.NodeID { return nodeOfActor(s.members[rank]) }

// livesOn reports whether a number that came over a link is a rank that lives on a node.
func (s *session) livesOn(rank uint32, node mesh.NodeID) bool {
	return uint64(rank) < uint64(len(s.members)) && s.nodeOf(int(rank)) == node
}

// heardFrom counts what came from a node of the group.
func (s *session) heardFrom(node mesh.NodeID) *atomic.Uint32 {
	i, _ := slices.BinarySearch(s.nodes, node)
	return &s.heard[i]
}

func (s *session) ranksOn(node mesh.NodeID) []int {
	var ranks []int
	for rank := range s.members {
		if s.nodeOf(rank) == node {
			ranks = append(ranks, rank)
		}
	}
	return ranks
}

// add makes the member for a rank of this node, unless the epoch is over.
func (s *session) add(rank int, sc *scope.Scope) *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := newMember(s, rank, sc)
	if s.end.Load() == nil {
		s.mu.local[rank] = m
	}
	return m
}

func (s *session) member(rank int) *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.local[rank]
}

// ended returns why the epoch is over, or nil while it is not.
func (s *session) ended() *ending { return s.end.Load() }

// finish ends the epoch on this node, unless it is over already. It does not block.
func (s *session) finish(end *ending) bool {
	s.mu.Lock()
	if s.end.Load() != nil {
		s.mu.Unlock()
		return false
	}
	s.end.Store(end)
	members := slices.Collect(maps.Values(s.mu.local))
	clear(s.mu.local) // frames that arrive from now on are stale
	s.mu.Unlock()
	for _, m := range members {
		m.retire(end)
	}
	s.cancel(end)
	if s.host != nil {
		s.host.end()
	}
	if s.heap != nil {
		s.heap.end(end)
	}
	s.hub.forget(s)
	return true
}

// abort ends the epoch on this node and, if it was not over already, tells the others. It does not block.
func (s *session) abort(end *ending) {
	if s.finish(end) {
		s.tell(end, true)
	}
}

// tell sends the end of an epoch on to some of its other nodes, each of which does the same once, so that all hear of it. It
// does not block; those it cannot reach hear of it from others.
func (s *session) tell(end *ending, first bool) {
	body := end.encode()
	for _, node := range s.audience(first) {
		s.hub.background(func(ctx context.Context) { _ = s.notice(ctx, node, body) })
	}
}

// audience is whom this node tells of an end: on the circle of the group's nodes those at distances that are powers of two, to both
// sides. So 2 log2 nodes messages leave each node, an end reaches all within about log2 nodes steps, and no few lost nodes cut
// anybody off. The creator hears of it from where it began and from the first node.
func (s *session) audience(first bool) []mesh.NodeID {
	self, n := s.hub.mesh.Self(), len(s.nodes)
	at, member := slices.BinarySearch(s.nodes, self)
	if !member {
		return s.nodes
	}
	var list []mesh.NodeID
	for d := 1; d < n; d *= 2 {
		list = append(list, s.nodes[(at+d)%n], s.nodes[(at-d+n)%n])
	}
	if _, ok := slices.BinarySearch(s.nodes, s.owner); !ok && (first || at == 0) {
		list = append(list, s.owner)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// notice sends the end of the epoch to one node.
func (s *session) notice(ctx context.Context, node mesh.NodeID, body []byte) error {
	h := wire.Header{Kind: wire.KindAbort, Group: s.id, Epoch: s.epoch}
	return s.hub.mesh.Send(ctx, node, &h, body)
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
		return s.endOfNode()
	case actorEnded(err):
		return &ending{code: codeLost, failed: []int{rank}, text: fmt.Sprintf("rank %d: %v", rank, err), cause: err}
	case ctx.Err() != nil:
		return &ending{code: codeCanceled, failed: []int{rank}, text: fmt.Sprintf("rank %d gave up: %v", rank, err), cause: err}
	default:
		return &ending{code: codeOther, failed: []int{rank}, text: fmt.Sprintf("rank %d: %v", rank, err), cause: err}
	}
}
