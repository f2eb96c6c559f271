// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"fmt"
	"unsafe"
)

// Allocator allocates in a store's shared memory. It is an Arrow memory.Allocator, so that Arrow builders write where the
// finished data stays: PutRecord, PutArray and Seal of it copies nothing but a description.
//
// Memory is zeroed and aligned to 64 bytes. When the store is full or closed, Allocate returns memory of the Go heap
// instead, which works the same but is copied when it is put. All methods may be called from any goroutine.
type Allocator struct{ st *Store }

// Allocator returns the allocator of the store. Memory allocated with it counts as Used until it is freed and every
// object that it became part of is gone; until it is freed it also keeps a closed store mapped.
func (s *Store) Allocator() *Allocator { return &Allocator{st: s} }

// part is a span that the Allocator handed out. It belongs to whoever allocated it and to the objects it is a part of.
type part struct {
	block
	size int64 // as allocated
	refs int
}

// parts are the spans of the Allocator, guarded by the store's lock.
type parts struct {
	byAddr map[uintptr]*part
	of     map[uint32][]*part // by the slot of the object
}

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// attach makes parts, which were retained for it, belong to the object in a slot.
func (p *parts) attach(slot uint32, list []*part) {
	if p.of == nil {
		p.of = map[uint32][]*part{}
	}
	p.of[slot] = list
}

// detach drops what the object in a slot holds.
func (p *parts) detach(s *space, slot uint32) {
	for _, part := range p.of[slot] {
		p.drop(s, part)
	}
	delete(p.of, slot)
}

// drop drops one reference to a part, which may be nil, and frees its memory with the last.
func (p *parts) drop(s *space, part *part) {
	if part == nil {
		return
	}
	if part.refs--; part.refs == 0 {
		s.give(part.span)
	}
}

// Allocate returns size zeroed bytes.
func (a *Allocator) Allocate(size int) []byte {
	if size <= 0 {
		return []byte{}
	}
	s := a.st
	if !s.gate.enter() {
		return make([]byte, size)
	}
	b, err := s.allocatePart(int64(size))
	if err != nil {
		s.leave()
		return make([]byte, size)
	}
	return b
}

// allocatePart takes memory for a part, which keeps the store in use until it is freed.
func (s *Store) allocatePart(size int64) ([]byte, error) {
	blk, err := s.take(size)
	if err != nil {
		return nil, err
	}
	if err := blk.warm(); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.space.fail(blk)
		return nil, err
	}
	p := &part{block: blk, size: size, refs: 1}
	b := p.bytes(size)
	clear(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.parts.byAddr == nil {
		s.mu.parts.byAddr = map[uintptr]*part{}
	}
	s.mu.parts.byAddr[address(b)] = p
	return b, nil
}

func (p *part) bytes(size int64) []byte {
	from := p.start()
	return p.seg.rw[from : from+size : from+size]
}

// Reallocate returns size bytes that start with those of b, and are zero after them. b must not be used afterwards.
func (a *Allocator) Reallocate(size int, b []byte) []byte {
	if size > 0 {
		if r, ok := a.resize(int64(size), b); ok {
			return r
		}
	}
	r := a.Allocate(size)
	copy(r, b)
	a.Free(b)
	return r
}

// resize changes the size of memory in place, unless it is sealed into an object or has no room to grow.
func (a *Allocator) resize(size int64, b []byte) ([]byte, bool) {
	s := a.st
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.mu.parts.byAddr[address(b)]
	if p == nil || p.refs != 1 || size > p.span.bytes() {
		return nil, false
	}
	if size < p.size {
		p.span = s.space.shrink(p.span, size)
	}
	r := p.bytes(size)
	if size > p.size {
		clear(r[p.size:])
	}
	p.size = size
	return r, true
}

// Free gives memory back, unless it has become part of an object, which then keeps it. b must not be used afterwards.
func (a *Allocator) Free(b []byte) {
	s := a.st
	if s.freePart(b) {
		s.leave()
	}
}

func (s *Store) freePart(b []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.mu.parts.byAddr[address(b)]
	if p == nil { // of the Go heap
		return false
	}
	delete(s.mu.parts.byAddr, address(b))
	s.mu.parts.drop(s.space, p)
	return true
}

// Seal stores buffers as Put does, except that those whose memory came from this store's Allocator become part of the
// object where they are, without a copy. Nobody may write to them any more. An object of a single buffer is copied.
func (s *Store) Seal(buffers ...[]byte) (*Object, error) {
	if !s.gate.enter() {
		return nil, ErrClosed
	}
	var list []*part
	if len(buffers) > 1 {
		list = s.retainParts(buffers)
	}
	o, err := s.put(buffers, list)
	if err != nil {
		s.leave()
		return nil, fmt.Errorf("seal: %w", err)
	}
	return o, nil
}

func (s *Store) dropParts(list []*part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range list {
		s.mu.parts.drop(s.space, p)
	}
}

// retainParts returns, for each buffer, the part that it is the start of, or nil if there is none at all.
func (s *Store) retainParts(buffers [][]byte) []*part {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.parts.byAddr) == 0 {
		return nil
	}
	var list []*part
	for i, b := range buffers {
		p := s.mu.parts.byAddr[address(b)]
		if p == nil || int64(len(b)) > p.size || len(b) == 0 {
			continue
		}
		if list == nil {
			list = make([]*part, len(buffers))
		}
		p.refs++
		list[i] = p
	}
	return list
}
