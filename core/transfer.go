// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

// An object that a call needs on another host is fetched by the node that needs it, from whoever the message came from or from the
// object's own host. Whoever fetches can serve what has come so far. So an object crosses to a host once, in chunks, and runs down a
// tree of relays while it is still arriving. Nodes of one host are told where the object is in the store that they share.

const (
	// chunkBytes is how much of an object one frame carries.
	chunkBytes = 256 << 10
	// windowBytes bounds what is under way of an object between two nodes.
	windowBytes = 4 << 20
	// creditBytes is how much is taken before the sender is told.
	creditBytes = 1 << 20
	// replicaBytes bounds the copies of objects of other hosts that are kept until they are released at home. Those in use do not count.
	replicaBytes = 256 << 20
	// replicaCount bounds their number.
	replicaCount = 4096
	// fetchTries is how often an object is looked for that is there and gone again before it can be pinned.
	fetchTries = 3
)

// whereabouts say where an object is that may be on another host.
type whereabouts struct {
	id     arrowstore.ID
	origin uint32 // node whose host has it
	source uint32 // node to be asked first
}

func parseWhereabouts(data []byte) (whereabouts, error) {
	r, err := wire.ParseRemote(data)
	if err != nil {
		return whereabouts{}, fmt.Errorf("%w: %w", ErrDecode, err)
	}
	id, err := arrowstore.ParseID(r.ID)
	if err != nil {
		return whereabouts{}, fmt.Errorf("%w: %w", ErrDecode, err)
	}
	return whereabouts{id, r.Origin, r.Source}, nil
}

func (w whereabouts) payload() wire.Payload {
	r := wire.Remote{ID: idBytes(w.id), Origin: w.origin, Source: w.source}
	return wire.Payload{Kind: wire.PayloadRemote, Data: r.Append(nil)}
}

// transfers are the copies that a process has of objects of other hosts, and its part in copying objects to others.
type transfers struct {
	mesh  *mesh.Mesh
	store *arrowstore.Store
	host  string
	log   *slog.Logger
	ctx   context.Context //nolint:containedctx // of the node or the system
	begin func(func()) bool
	// answered is told how many bytes of answers a relay has taken in all; nil if none are sent to relays.
	answered func(relay uint32, taken uint64)

	mu struct {
		sync.Mutex
		closed   bool
		next     uint64                                // number of the last fetch
		clock    uint64                                // rises with every use
		bytes    int64                                 // in copies
		sent     int64                                 // bytes of objects that others have fetched from here
		replicas map[arrowstore.ID]*replica            // by identity at home
		fetches  map[uint64]*replica                   // by number of the fetch
		serving  map[servingKey]*serving               // to others
		served   map[arrowstore.ID]map[uint32]struct{} // who has a copy from here
	}
}

// newTransfers takes part in transfers on behalf of a process. begin runs a function on a goroutine that ends with ctx, or reports false.
func newTransfers(ctx context.Context, m *mesh.Mesh, st *arrowstore.Store, host string, log *slog.Logger, begin func(func()) bool) *transfers {
	t := &transfers{mesh: m, store: st, host: host, log: log, ctx: ctx, begin: begin}
	t.mu.replicas = map[arrowstore.ID]*replica{}
	t.mu.fetches = map[uint64]*replica{}
	t.mu.serving = map[servingKey]*serving{}
	t.mu.served = map[arrowstore.ID]map[uint32]struct{}{}
	m.Handle(wire.KindFetch, t.onFetch)
	m.Handle(wire.KindChunk, t.onChunk)
	m.Handle(wire.KindDrop, t.onDrop)
	m.Handle(wire.KindCredit, t.onCredit)
	m.OnLost(t.onLost)
	return t
}

// close lets all copies go. What was begun has ended by then.
func (t *transfers) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.closed = true
	for _, r := range t.mu.replicas {
		r.done, r.readers = true, 0
		t.removeLocked(r)
	}
}

// onLost turns to others for what a lost node was to deliver.
func (t *transfers) onLost(e *mesh.LostError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.mu.replicas {
		if !r.done && r.source == e.Node {
			t.askNextLocked(r, fmt.Errorf("%w: %w: %w", ErrObjectLost, ErrNodeLost, e))
		}
	}
	for key, s := range t.mu.serving {
		if key.peer == e.Node {
			s.stop()
		}
	}
	for id, peers := range t.mu.served {
		if delete(peers, e.Node); len(peers) == 0 {
			delete(t.mu.served, id)
		}
	}
}
