// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"errors"
	"fmt"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/wire"
)

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
