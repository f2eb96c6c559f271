// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
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

// replica is an object of another host, or of another node of this one, as far as it has come. Its fields are guarded by transfers.mu.
type replica struct {
	id      arrowstore.ID
	seq     uint64   // of the fetch under way
	source  uint32   // who was asked
	others  []uint32 // who can be asked then
	sizes   []int64  // of the buffers; nil until known
	total   int64
	got     int64 // bytes that have come
	taken   int64 // bytes that the source was told of
	writer  *arrowstore.Writer
	changed chan struct{} // closed when one of these changes
	done    bool
	err     error // done without success
	local   arrowstore.ID
	object  *arrowstore.Object // the copy, pinned; nil if it belongs to another node
	readers int                // of writer
	dropped bool               // to be let go when nobody reads
	used    uint64
}

func (r *replica) changedLocked() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// here returns the object, pinned, if it can be had without waiting.
func (t *transfers) here(id arrowstore.ID) *arrowstore.Object {
	t.mu.Lock()
	r := t.mu.replicas[id]
	if r != nil && r.done && r.err == nil {
		id = r.local
		t.touchLocked(r)
	} else if r != nil {
		t.mu.Unlock()
		return nil
	}
	t.mu.Unlock()
	obj, err := t.store.Get(id)
	if err != nil {
		return nil
	}
	return obj
}

func (t *transfers) touchLocked(r *replica) {
	t.mu.clock++
	r.used = t.mu.clock
}

// open returns an object, pinned, and fetches it if need be.
func (t *transfers) open(ctx context.Context, w whereabouts) (*arrowstore.Object, error) {
	for range fetchTries {
		if obj := t.here(w.id); obj != nil {
			return obj, nil
		}
		r := t.fetch(w)
		if err := t.wait(ctx, r, func() bool { return r.done }); err != nil {
			return nil, fmt.Errorf("fetch an object from node %d: %w", w.origin, err)
		}
		obj, err := t.store.Get(r.local)
		if err == nil {
			return obj, nil
		}
		t.forget(r) // it was let go meanwhile, here or by who has told of it
	}
	return nil, fmt.Errorf("%w: an object of node %d is there and gone again", ErrObjectLost, w.origin)
}

// wait waits until a replica is as far as until says, or has failed.
func (t *transfers) wait(ctx context.Context, r *replica, until func() bool) error {
	for {
		t.mu.Lock()
		ok, err, changed := until(), r.err, r.changed
		t.mu.Unlock()
		switch {
		case err != nil:
			return err
		case ok:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ended(ctx)
		case <-t.ctx.Done():
			return ErrClosed
		}
	}
}

// fetch returns the replica of an object, which it begins to fetch if nobody has.
func (t *transfers) fetch(w whereabouts) *replica {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.mu.replicas[w.id]
	if r != nil {
		if !r.done && !slices.Contains(r.others, w.source) && r.source != w.source && w.source != t.mesh.Self() {
			r.others = append(r.others, w.source)
		}
		t.touchLocked(r)
		return r
	}
	r = &replica{id: w.id, changed: make(chan struct{})}
	for _, n := range []uint32{w.source, w.origin} {
		if n != t.mesh.Self() && !slices.Contains(r.others, n) {
			r.others = append(r.others, n)
		}
	}
	t.mu.replicas[w.id] = r
	t.touchLocked(r)
	t.askNextLocked(r, fmt.Errorf("%w: object %v", ErrObjectLost, w.id))
	return r
}

// askNextLocked asks the next node that may have the object; why says what became of the one before.
func (t *transfers) askNextLocked(r *replica, why error) {
	delete(t.mu.fetches, r.seq)
	if len(r.others) == 0 {
		t.failLocked(r, why)
		return
	}
	r.source, r.others = r.others[0], r.others[1:]
	t.mu.next++
	r.seq, r.taken = t.mu.next, r.got
	t.mu.fetches[r.seq] = r
	seq, source := r.seq, r.source
	f := wire.Fetch{ID: idBytes(r.id), Offset: uint64(r.got), Host: t.host}
	if !t.begin(func() {
		err := t.mesh.Send(t.ctx, source, &wire.Header{Kind: wire.KindFetch, Seq: seq}, f.Append(nil))
		if err != nil {
			t.gaveUp(seq, fmt.Errorf("%w: %w", ErrObjectLost, sendError(err)))
		}
	}) {
		t.failLocked(r, ErrClosed)
	}
}

// gaveUp is told that a source does not deliver.
func (t *transfers) gaveUp(seq uint64, why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.mu.fetches[seq]; r != nil {
		t.askNextLocked(r, why)
	}
}

func (t *transfers) failLocked(r *replica, err error) {
	if t.mu.fetches[r.seq] == r { // the source waits for credit
		t.sendCredit(r.source, wire.Credit{Stream: r.seq, Taken: math.MaxUint64})
	}
	r.err, r.done = err, true
	r.changedLocked()
	t.removeLocked(r)
}

// removeLocked takes a replica out, and lets its memory go when nobody reads it.
func (t *transfers) removeLocked(r *replica) {
	delete(t.mu.fetches, r.seq)
	if t.mu.replicas[r.id] == r {
		delete(t.mu.replicas, r.id)
	}
	r.dropped = true
	t.freeLocked(r)
}

// freeLocked lets the memory of a replica go that was taken out, when nobody reads or fills it any more.
func (t *transfers) freeLocked(r *replica) {
	if !r.dropped || r.readers > 0 || !r.done {
		return
	}
	switch {
	case r.object != nil:
		t.mu.bytes -= r.total
		if err := t.store.Delete(r.object.ID()); err != nil && t.ctx.Err() == nil {
			t.log.Error("cannot delete a copy of an object", "id", r.id.String(), "err", err)
		}
		r.object.Release()
		r.object = nil
	case r.writer != nil:
		r.writer.Abort()
	}
	r.writer = nil
}

func (t *transfers) forget(r *replica) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeLocked(r)
}

// onChunk takes in what a source has sent. It runs on the link's reader.
func (t *transfers) onChunk(from uint32, f wire.Frame) {
	c, err := wire.ParseChunk(f.Body)
	if err != nil {
		t.mesh.Lost(from, fmt.Errorf("bad chunk: %w", err))
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.mu.fetches[f.Seq]
	if r == nil || r.source != from || t.mu.closed {
		return // another was asked since
	}
	switch c.Kind {
	case wire.ChunkFault:
		why := ErrObjectLost
		fault, err := wire.ParseFault(c.Data)
		if err != nil {
			t.askNextLocked(r, fmt.Errorf("%w: %w", why, err))
			return
		}
		t.askNextLocked(r, fmt.Errorf("%w: node %d: %s", why, from, fault.Message))
	case wire.ChunkLocal:
		id, err := arrowstore.ParseID(c.Data)
		if err != nil {
			t.askNextLocked(r, fmt.Errorf("%w: %w", ErrObjectLost, err))
			return
		}
		delete(t.mu.fetches, r.seq)
		r.local, r.done = id, true
		r.changedLocked()
	case wire.ChunkLayout:
		if r.sizes != nil {
			t.askNextLocked(r, fmt.Errorf("%w: node %d gave its layout twice", ErrObjectLost, from))
			return
		}
		r.sizes = append([]int64{}, c.Sizes...)
		for _, n := range c.Sizes {
			r.total += n
		}
		if !t.begin(func() { t.prepare(r) }) {
			t.failLocked(r, ErrClosed)
		}
	case wire.ChunkData:
		t.fillLocked(r, c)
	}
}

// prepare makes room for an object and tells its source to go on.
func (t *transfers) prepare(r *replica) {
	sizes := make([]int, len(r.sizes)) // not written any more
	for i, n := range r.sizes {
		sizes[i] = int(n)
	}
	w, err := t.store.CreateBuffers(sizes...)
	for errors.Is(err, arrowstore.ErrNoSpace) && t.evictOne() {
		w, err = t.store.CreateBuffers(sizes...)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.failLocked(r, fmt.Errorf("copy of an object of %d bytes: %w", r.total, storeError(err)))
		return
	}
	if r.done { // failed meanwhile
		w.Abort()
		return
	}
	r.writer = w
	r.changedLocked()
	if r.total == 0 {
		t.sealLocked(r)
		return
	}
	t.creditLocked(r)
}

// fillLocked copies a chunk to its place.
func (t *transfers) fillLocked(r *replica, c wire.Chunk) {
	if r.writer == nil || c.Offset != uint64(r.got) || int64(len(c.Data)) > r.total-r.got {
		t.askNextLocked(r, fmt.Errorf("%w: node %d sent %d bytes for offset %d of %d bytes, of which %d were there",
			ErrObjectLost, r.source, len(c.Data), c.Offset, r.total, r.got))
		return
	}
	forEachPart(r.sizes, r.got, c.Data, func(buf int, off int64, part []byte) { copy(r.writer.Buffer(buf)[off:], part) })
	r.got += int64(len(c.Data))
	r.changedLocked()
	if r.got == r.total {
		t.sealLocked(r)
		return
	}
	if r.got-r.taken >= creditBytes {
		t.creditLocked(r)
	}
}

// forEachPart calls fn for the part of data that belongs to each buffer, if data begins at an offset counted through all of them.
func forEachPart(sizes []int64, offset int64, data []byte, fn func(buf int, off int64, part []byte)) {
	for i, size := range sizes {
		if len(data) == 0 {
			return
		}
		if offset >= size {
			offset -= size
			continue
		}
		n := min(size-offset, int64(len(data)))
		fn(i, offset, data[:n])
		data, offset = data[n:], 0
	}
}

// creditLocked tells the source how far the fetch has come.
func (t *transfers) creditLocked(r *replica) {
	r.taken = r.got
	t.sendCredit(r.source, wire.Credit{Stream: r.seq, Taken: uint64(r.got)})
}

// sendCredit tells a source how much was taken; all that can be said stands for no more being wanted.
func (t *transfers) sendCredit(source uint32, c wire.Credit) {
	t.begin(func() {
		if err := t.mesh.Send(t.ctx, source, &wire.Header{Kind: wire.KindCredit}, c.Append(nil)); err != nil {
			t.gaveUp(c.Stream, fmt.Errorf("%w: %w", ErrObjectLost, sendError(err)))
		}
	})
}

// sealLocked makes a complete copy an object.
func (t *transfers) sealLocked(r *replica) {
	obj, err := r.writer.Seal()
	if err != nil {
		r.writer = nil // it is gone
		t.failLocked(r, storeError(err))
		return
	}
	delete(t.mu.fetches, r.seq)
	r.object, r.local, r.done = obj, obj.ID(), true
	t.mu.bytes += r.total
	r.changedLocked()
	t.freeLocked(r) // if it was let go while it came
	for t.mu.bytes > replicaBytes || len(t.mu.replicas) > replicaCount {
		if !t.evictLocked(r) {
			return
		}
	}
}

// put puts a value into the store, in the place of copies of other objects if there is no other room.
func (t *transfers) put(v codec.Value) (*arrowstore.Object, error) {
	obj, err := putObject(t.store, v)
	for errors.Is(err, ErrNoSpace) && t.evictOne() {
		obj, err = putObject(t.store, v)
	}
	return obj, err
}

func (t *transfers) evictOne() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.evictLocked(nil)
}

// evictLocked lets go of the copy that was used least recently, but for one, and reports false if there is none. What calls have
// pinned stays until they end.
func (t *transfers) evictLocked(keep *replica) bool {
	var oldest *replica
	for _, r := range t.mu.replicas {
		if r != keep && r.object != nil && r.readers == 0 && (oldest == nil || r.used < oldest.used) {
			oldest = r
		}
	}
	if oldest == nil {
		return false
	}
	t.removeLocked(oldest)
	return true
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

// onDrop lets copies go of objects that are gone.
func (t *transfers) onDrop(from uint32, f wire.Frame) {
	var ids []arrowstore.ID
	err := wire.ParseRelease(f.Body, func(b []byte) bool {
		if id, err := arrowstore.ParseID(b); err == nil {
			ids = append(ids, id)
		}
		return true
	})
	if err != nil {
		t.mesh.Lost(from, fmt.Errorf("bad drop: %w", err))
		return
	}
	t.mu.Lock()
	for _, id := range ids {
		switch r := t.mu.replicas[id]; {
		case r == nil:
		case r.done:
			t.removeLocked(r)
		default:
			t.failLocked(r, fmt.Errorf("%w: it was released while it was fetched", ErrObjectLost))
		}
	}
	t.mu.Unlock()
	t.released(ids...)
}

// released tells who has copies of objects from here that the objects are gone. It does not block.
func (t *transfers) released(ids ...arrowstore.ID) {
	t.mu.Lock()
	bodies := map[uint32][]byte{}
	for _, id := range ids {
		for peer := range t.mu.served[id] {
			bodies[peer] = wire.AppendRelease(bodies[peer], idBytes(id))
		}
		delete(t.mu.served, id)
	}
	t.mu.Unlock()
	if len(bodies) == 0 {
		return
	}
	t.begin(func() {
		for peer, body := range bodies {
			if err := t.mesh.Send(t.ctx, peer, &wire.Header{Kind: wire.KindDrop}, body); err != nil {
				t.log.Debug("copies were not dropped", "peer", peer, "err", err) // they go when there is no room
			}
		}
	})
}
