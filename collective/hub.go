// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/scope"
	"github.com/tutti-go/tutti/internal/wire"
)

// tellPatience bounds the attempt to tell one node of the end of an epoch.
const tellPatience = 10 * time.Second

// hub is a node's end of all groups: it hands frames to the members of this node and watches for lost nodes.
type hub struct {
	mesh  *mesh.Mesh
	root  context.Context //nolint:containedctx // lives as long as the node; it owns the epochs
	wg    sync.WaitGroup  // notices under way; they end with the mesh at the latest
	stale atomic.Uint64   // frames dropped because their epoch is over or unknown here

	mu struct {
		sync.RWMutex

		sessions map[uint64]*session          // the epoch that is running, by group
		fence    map[uint64]uint32            // the highest epoch that is over, by group
		joined   map[uint64]map[string]*Group // by actor and name, until the actor ends
		epochs   map[string]uint32            // the highest epoch heard of, by name
		founded  map[string]*session          // epochs that this node owns: the latest of each name
		groups   uint32                       // groups numbered by this node
	}
}

type hubKey struct{}

// hubOf returns the node's hub. The first call makes it and takes over the node's block and abort frames.
func hubOf(ctx context.Context, n *scope.Node) *hub {
	h, _ := n.Value(hubKey{}, func(n *scope.Node) any { return newHub(context.WithoutCancel(ctx), n.Mesh) }).(*hub)
	return h
}

func newHub(root context.Context, m *mesh.Mesh) *hub {
	h := &hub{mesh: m, root: root}
	h.mu.sessions = map[uint64]*session{}
	h.mu.fence = map[uint64]uint32{}
	h.mu.joined = map[uint64]map[string]*Group{}
	h.mu.epochs = map[string]uint32{}
	h.mu.founded = map[string]*session{}
	m.Handle(wire.KindBlock, h.onBlock)
	m.Handle(wire.KindAbort, h.onAbort)
	m.OnLost(h.onLost)
	return h
}

// session returns the running epoch that a frame belongs to, or nil.
func (h *hub) session(f *wire.Header) *session {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if s := h.mu.sessions[f.Group]; s != nil && s.epoch == f.Epoch {
		return s
	}
	h.stale.Add(1)
	return nil
}

func (h *hub) onBlock(node mesh.NodeID, f wire.Frame) {
	s := h.session(&f.Header)
	if s == nil {
		return
	}
	if f.Step == stepOpen {
		if node == s.owner {
			s.setOpen()
		}
		return
	}
	if uint64(f.From) >= uint64(len(s.members)) || s.nodeOf(int(f.From)) != node {
		h.stale.Add(1) // not from where that rank lives
		return
	}
	m := s.member(int(f.To))
	if m == nil {
		h.stale.Add(1)
		return
	}
	if end := m.deliver(int(f.From), node == h.mesh.Self(), f); end != nil {
		s.abort(end)
	}
}

func (h *hub) onAbort(node mesh.NodeID, f wire.Frame) {
	s := h.session(&f.Header)
	if s == nil || !slices.Contains(s.nodes, node) {
		return
	}
	end, err := parseEnding(f.Body, len(s.members))
	if err != nil {
		end = &ending{code: codeOther, text: fmt.Sprintf("node %d aborted, for a reason that cannot be read: %v", node, err), cause: err}
	}
	s.finish(end) // whoever saw the failure tells all
}

func (h *hub) onLost(e *mesh.LostError) {
	h.mu.RLock()
	var affected []*session
	for _, s := range h.mu.sessions {
		if slices.Contains(s.nodes, e.Node) {
			affected = append(affected, s)
		}
	}
	h.mu.RUnlock()
	for _, s := range affected {
		s.lost(e)
	}
}

// tell sends the end of an epoch to all its other nodes, side by side, so that one that does not listen holds up nobody.
func (h *hub) tell(s *session, end *ending) {
	for _, node := range s.nodes {
		if node == h.mesh.Self() {
			continue
		}
		h.wg.Go(func() {
			ctx, cancel := context.WithTimeout(h.root, tellPatience)
			defer cancel()
			// A node that cannot be told is lost, or hears it from others; at worst its members have their deadline.
			_ = s.notice(ctx, node, end)
		})
	}
}

// forget takes an epoch that is over out of service.
func (h *hub) forget(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.sessions[s.id] == s {
		delete(h.mu.sessions, s.id)
	}
	h.mu.fence[s.id] = max(h.mu.fence[s.id], s.epoch)
}

// sessionLocked returns the epoch of a charter, making it if this node has not heard of it, and the earlier epoch that it
// replaces, if there is one.
func (h *hub) sessionLocked(c charter) (s, old *session, err error) {
	s = h.mu.sessions[c.Group]
	if s != nil && s.epoch == c.Epoch {
		return s, nil, nil
	}
	if h.mu.fence[c.Group] >= c.Epoch || s != nil && s.epoch > c.Epoch {
		return nil, nil, fmt.Errorf("collective: group %q: epoch %d is over: %w", c.Name, c.Epoch, ErrAborted)
	}
	old = s
	s = newSession(h, c)
	h.mu.sessions[c.Group] = s
	h.mu.epochs[c.Name] = max(h.mu.epochs[c.Name], c.Epoch)
	return s, old, nil
}
