// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/wire"
)

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
