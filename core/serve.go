// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"math"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/wire"
)

// servingKey identifies a fetch by another node.
type servingKey struct {
	peer uint32
	seq  uint64
}

// serving is the delivery of an object to another node.
type serving struct {
	t      *transfers
	key    servingKey
	id     arrowstore.ID
	ctx    context.Context //nolint:containedctx // ends with the transfers, or when the peer is lost
	stop   context.CancelFunc
	wake   chan struct{} // holds a token when limit has risen
	limit  int64         // may be sent; guarded by transfers.mu
	sizes  []int64
	total  int64
	buffer func(i int) []byte
}

// onFetch delivers an object to another node, on a goroutine of its own.
func (t *transfers) onFetch(from uint32, f wire.Frame) {
	req, err := wire.ParseFetch(f.Body)
	if err != nil {
		t.mesh.Lost(from, fmt.Errorf("bad fetch: %w", err))
		return
	}
	s := &serving{t: t, key: servingKey{from, f.Seq}, wake: make(chan struct{}, 1)}
	if req.Offset > 0 {
		s.limit = int64(req.Offset) + windowBytes // it has room: some has come already
	}
	id, err := arrowstore.ParseID(req.ID)
	s.id = id
	s.ctx, s.stop = context.WithCancel(t.ctx)
	t.mu.Lock()
	t.mu.serving[s.key] = s
	if err == nil {
		if t.mu.served[id] == nil {
			t.mu.served[id] = map[uint32]struct{}{}
		}
		t.mu.served[id][from] = struct{}{}
	}
	t.mu.Unlock()
	if !t.begin(func() { s.run(req, err) }) {
		s.end()
	}
}

func (s *serving) end() {
	s.stop()
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	delete(s.t.mu.serving, s.key)
}

func (s *serving) run(req wire.Fetch, err error) {
	defer s.end()
	if err == nil {
		err = s.serve(req)
	}
	if err != nil && s.ctx.Err() == nil {
		f := faultOf(err)
		err = s.send(wire.Chunk{Kind: wire.ChunkFault, Data: f.Append(nil)})
	}
	if err != nil && s.t.ctx.Err() == nil {
		s.t.log.Debug("an object was not delivered", "peer", s.key.peer, "err", err)
	}
}

func (s *serving) send(c wire.Chunk) error {
	return s.t.mesh.Send(s.ctx, s.key.peer, &wire.Header{Kind: wire.KindChunk, Seq: s.key.seq}, c.AppendHead(nil), c.Data)
}

// serve delivers an object that is here, or one that is arriving.
func (s *serving) serve(req wire.Fetch) error {
	if obj := s.t.here(s.id); obj != nil {
		defer obj.Release()
		if req.Host == s.t.host {
			return s.send(wire.Chunk{Kind: wire.ChunkLocal, Data: idBytes(obj.ID())})
		}
		for i := range obj.Len() {
			s.sizes = append(s.sizes, int64(len(obj.Buffer(i))))
			s.total += int64(len(obj.Buffer(i)))
		}
		s.buffer = obj.Buffer
		return s.deliver(req, nil)
	}
	s.t.mu.Lock()
	r := s.t.mu.replicas[s.id]
	if r != nil {
		r.readers++
	}
	s.t.mu.Unlock()
	if r == nil {
		return fmt.Errorf("%w: no object %v here", ErrObjectLost, s.id)
	}
	defer func() {
		s.t.mu.Lock()
		defer s.t.mu.Unlock()
		r.readers--
		s.t.freeLocked(r)
	}()
	if req.Host == s.t.host {
		if err := s.t.wait(s.ctx, r, func() bool { return r.done }); err != nil {
			return err
		}
		return s.send(wire.Chunk{Kind: wire.ChunkLocal, Data: idBytes(r.local)})
	}
	if err := s.t.wait(s.ctx, r, func() bool { return r.writer != nil || r.done }); err != nil {
		return err
	}
	s.t.mu.Lock()
	w, sizes, total := r.writer, r.sizes, r.total
	s.t.mu.Unlock()
	if w == nil { // it came as one that is on this host already
		obj, err := s.t.store.Get(r.local)
		if err != nil {
			return storeError(err)
		}
		obj.Release()
		return fmt.Errorf("%w: object %v has moved", ErrObjectLost, s.id)
	}
	s.sizes, s.total, s.buffer = sizes, total, w.Buffer
	return s.deliver(req, r)
}

// deliver sends the object's bytes, those of a replica as they come.
func (s *serving) deliver(req wire.Fetch, r *replica) error {
	if req.Offset > uint64(s.total) {
		return fmt.Errorf("%w: offset %d of %d bytes", ErrInvalid, req.Offset, s.total)
	}
	next := int64(req.Offset)
	if next == 0 {
		if err := s.send(wire.Chunk{Kind: wire.ChunkLayout, Sizes: s.sizes}); err != nil {
			return err
		}
	}
	for next < s.total {
		limit, err := s.allowed(next)
		if err != nil {
			return err
		}
		if r != nil {
			if err := s.t.wait(s.ctx, r, func() bool { return r.got > next }); err != nil {
				return err
			}
			s.t.mu.Lock()
			limit = min(limit, r.got)
			s.t.mu.Unlock()
		}
		chunk := make([]byte, min(chunkBytes, limit-next, s.total-next))
		forEachPart(s.sizes, next, chunk, func(buf int, off int64, part []byte) { copy(part, s.buffer(buf)[off:]) })
		s.t.mu.Lock()
		s.t.mu.sent += int64(len(chunk)) // before it is sent: who has all of it finds it counted
		s.t.mu.Unlock()
		if err := s.send(wire.Chunk{Kind: wire.ChunkData, Offset: uint64(next), Data: chunk}); err != nil {
			return err
		}
		next += int64(len(chunk))
	}
	return nil
}

// allowed waits until more than next bytes may be sent, and returns how many.
func (s *serving) allowed(next int64) (int64, error) {
	for {
		s.t.mu.Lock()
		limit := s.limit
		s.t.mu.Unlock()
		if limit > next {
			return limit, nil
		}
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return 0, ended(s.ctx)
		}
	}
}

// onCredit is told how much of a stream was taken.
func (t *transfers) onCredit(from uint32, f wire.Frame) {
	c, err := wire.ParseCredit(f.Body)
	if err != nil {
		t.mesh.Lost(from, fmt.Errorf("bad credit: %w", err))
		return
	}
	if c.Stream == 0 {
		if t.answered != nil {
			t.answered(from, c.Taken)
		}
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.mu.serving[servingKey{from, c.Stream}]
	switch {
	case s == nil: // it has ended
	case c.Taken == math.MaxUint64:
		s.stop()
	case c.Taken <= uint64(s.limit):
		s.limit = max(s.limit, int64(c.Taken)+windowBytes) // credits may overtake each other
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}
