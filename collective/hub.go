// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/scope"
	"github.com/tutti-go/tutti/internal/wire"
)

const (
	// patience bounds the attempt to send something that nobody waits for.
	patience = 10 * time.Second
	// pastEpochs is how many epochs that are over a node remembers, to answer those who have not heard of it.
	pastEpochs = 16
)

// hub is a node's end of all groups: it hands frames to the members of this node and watches for lost nodes.
type hub struct {
	mesh    *mesh.Mesh
	root    context.Context          //nolint:containedctx // lives as long as the node; it owns the epochs
	dir     string                   // for the records of members, or none
	run     string                   // of the system on this machine, for memory that processes share, or none
	runAt   func(mesh.NodeID) string // that of another node of this machine, where each has its own; nil: run is that of all
	job     string                   // tells the users of run apart that come one after the other
	kept    records
	storage *storage
	world   *world // of a process without actors; set before its mesh starts
	machine machine
	lanes   int           // to each node at most
	stale   atomic.Uint64 // frames dropped because their epoch is over here, or they are not from where their rank lives

	mu struct {
		sync.RWMutex

		sessions map[uint64]*session          // the epoch that is running, by group
		past     []*session                   // epochs that are over, the last ones
		fence    map[uint64]uint32            // the highest epoch that is over, by group
		joined   map[uint64]map[string]*Group // by actor and name, until the actor ends
		epochs   map[string]uint32            // the highest epoch heard of, by name
		numbers  map[string]uint64            // of groups that were made on this node, by name
		early    early
		over     bool // the node has ended
	}
}

type hubKey struct{}

// hubOf returns the node's hub. The first call makes it and takes over the node's block and abort frames.
func hubOf(ctx context.Context, n *scope.Node) *hub {
	h, _ := n.Value(hubKey{}, func(n *scope.Node) any { return newHub(context.WithoutCancel(ctx), n) }).(*hub)
	return h
}

func newHub(root context.Context, n *scope.Node) *hub {
	m := n.Mesh
	h := &hub{mesh: m, root: root, dir: flightDir(n.Dir), run: n.Dir, storage: newStorage(n), lanes: lanesFrom(os.Getenv(EnvLanes))}
	h.mu.sessions = map[uint64]*session{}
	h.mu.fence = map[uint64]uint32{}
	h.mu.joined = map[uint64]map[string]*Group{}
	h.mu.epochs = map[string]uint32{}
	h.mu.numbers = map[string]uint64{}
	h.mu.early.held = map[epochKey]*waiting{}
	m.Handle(wire.KindBlock, h.onBlock)
	m.Handle(wire.KindAbort, h.onAbort)
	m.HandleLanes(h.serveLane)
	m.OnLost(h.onLost)
	m.Go(h.endWithNode)
	return h
}

// endWithNode ends all epochs at the node when its mesh ends: no others will say why they are over, and a member that waits in memory would wait for that
// until its time is over.
func (h *hub) endWithNode() {
	<-h.mesh.Done()
	h.mu.Lock()
	h.mu.over = true
	sessions := slices.Collect(maps.Values(h.mu.sessions))
	h.mu.Unlock()
	for _, s := range sessions {
		s.finish(s.endOfNode())
	}
}

// endOfNode is the end of an epoch at a node that has ended itself.
func (s *session) endOfNode() *ending {
	self := s.hub.mesh.Self()
	return &ending{
		code: codeLost, failed: s.ranksOn(self), cause: mesh.ErrClosed,
		text: fmt.Sprintf("its own node has ended: %v", mesh.ErrClosed),
	}
}

// background runs something that sends, on a goroutine that the end of the node waits for, so that its caller, who may be the reader
// of a link, does not block.
func (h *hub) background(send func(ctx context.Context)) {
	h.mesh.Go(func() {
		ctx, cancel := context.WithTimeout(h.root, patience)
		defer cancel()
		send(ctx)
	})
}

// session returns the running epoch that a frame belongs to, or nil.
func (h *hub) session(f *wire.Header) *session {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if s := h.mu.sessions[f.Group]; s != nil && s.epoch == f.Epoch {
		return s
	}
	return nil
}

func (h *hub) onBlock(node mesh.NodeID, f wire.Frame) {
	if isCouncil(f.Step) {
		h.onCouncil(node, f)
		return
	}
	s := h.session(&f.Header)
	if s == nil {
		h.onUnknown(node, f)
		return
	}
	if !s.livesOn(f.From, node) {
		h.stale.Add(1)
		return
	}
	s.heardFrom(node).Add(1)
	m := s.member(int(f.To))
	if m == nil {
		h.onUnknown(node, f)
		return
	}
	if end := m.deliver(int(f.From), node == h.mesh.Self(), f); end != nil {
		s.abort(end)
	}
}

func (h *hub) onAbort(node mesh.NodeID, f wire.Frame) {
	s := h.session(&f.Header)
	if s == nil {
		h.shut(epochKey{f.Group, f.Epoch})
		return
	}
	if node != s.owner && !slices.Contains(s.nodes, node) {
		h.stale.Add(1)
		return
	}
	end, err := parseEnding(f.Body, len(s.members))
	if err != nil {
		end = &ending{code: codeOther, text: fmt.Sprintf("node %d aborted, for a reason that cannot be read: %v", node, err), cause: err}
	}
	if s.finish(end) {
		s.tell(end, false)
	}
}

func (h *hub) onLost(e *mesh.LostError) {
	h.mu.RLock()
	var affected []*session
	for _, s := range h.mu.sessions {
		if slices.Contains(s.nodes, e.Node) {
			affected = append(affected, s)
		}
	}
	past := slices.Clone(h.mu.past)
	h.mu.RUnlock()
	for _, s := range affected {
		s.lost(e)
	}
	for _, s := range append(affected, past...) {
		s.council.wake()
	}
}

// forget takes an epoch that is over out of service.
func (h *hub) forget(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.sessions[s.id] == s {
		delete(h.mu.sessions, s.id)
		h.mu.past = append(h.mu.past, s)
		if len(h.mu.past) > pastEpochs {
			h.mu.past = slices.Delete(h.mu.past, 0, 1)
		}
	}
	h.mu.fence[s.id] = max(h.mu.fence[s.id], s.epoch)
	h.mu.early.drop(epochKey{s.id, s.epoch})
}

// shut keeps an epoch from being joined here.
func (h *hub) shut(k epochKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.fence[k.group] = max(h.mu.fence[k.group], k.epoch)
	h.mu.early.drop(k)
}

// pastLocked returns an epoch that is over, if it is remembered.
func (h *hub) pastLocked(k epochKey) *session {
	for _, s := range h.mu.past {
		if s.id == k.group && s.epoch == k.epoch {
			return s
		}
	}
	return nil
}

// sessionLocked returns the epoch of a charter, making it if this node has not heard of it, and the earlier epoch that it
// replaces, if there is one.
func (h *hub) sessionLocked(c charter) (s, old *session, err error) {
	s = h.mu.sessions[c.Group]
	if s != nil && s.epoch == c.Epoch {
		return s, nil, nil
	}
	if h.mu.over {
		return nil, nil, fmt.Errorf("collective: group %q: epoch %d: %w: this node has ended: %w", c.Name, c.Epoch, ErrAborted, mesh.ErrClosed)
	}
	if h.mu.fence[c.Group] >= c.Epoch || s != nil && s.epoch > c.Epoch {
		err = fmt.Errorf("collective: group %q: epoch %d is over: %w", c.Name, c.Epoch, ErrAborted)
		if past := h.pastLocked(epochKey{c.Group, c.Epoch}); past != nil {
			err = fmt.Errorf("%w: %w", err, past.ended())
		}
		return nil, nil, err
	}
	old = s
	s = newSession(h, c)
	h.mu.sessions[c.Group] = s
	h.mu.epochs[c.Name] = max(h.mu.epochs[c.Name], c.Epoch)
	return s, old, nil
}
