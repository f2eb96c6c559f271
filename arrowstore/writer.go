// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// draft is an object that is being written: a slot with a record, and memory.
type draft struct {
	slot  uint32
	rec   *record
	block block
}

// Put copies the buffers into a new object and seals it. The caller releases the Object; the object itself stays until
// Delete or Close. It returns ErrNoSpace when the store is full. Buffers may be empty, and there may be none.
func (s *Store) Put(buffers ...[]byte) (*Object, error) {
	if !s.gate.enter() {
		return nil, ErrClosed
	}
	o, err := s.put(buffers, nil)
	if err != nil {
		s.leave()
		return nil, fmt.Errorf("put: %w", err)
	}
	return o, nil
}

// put makes an object of buffers. Where parts are given they are as many, and a buffer with a part stays where it is; the
// object takes over the references to them.
func (s *Store) put(buffers [][]byte, list []*part) (*Object, error) {
	size, err := layoutSize(buffers, list, func(b []byte) int { return len(b) })
	var d draft
	if err == nil {
		d, err = s.begin(size, list)
	}
	if err != nil {
		s.dropParts(list)
		return nil, err
	}
	sealed, err := d.copyIn(buffers, list, size)
	if err != nil {
		s.drop(d)
		return nil, s.dir.explain(err)
	}
	return s.seal(d, len(buffers), size, sealed)
}

// copyIn writes buffers and their table into a draft. Of an object of several buffers it returns where they are.
func (d *draft) copyIn(buffers [][]byte, parts []*part, size int64) ([][]byte, error) {
	if size == 0 {
		return nil, nil
	}
	off := tableLen(len(buffers))
	if off == 0 {
		return nil, d.block.write(buffers[0], 0)
	}
	table, sealed := d.block.table(off), make([][]byte, len(buffers))
	for i, b := range buffers {
		n := int64(len(b))
		seg, at := d.block.seg, d.block.start()+roundUp(off, unit)
		if parts != nil && parts[i] != nil {
			seg, at = parts[i].seg, parts[i].start()
		} else {
			off = roundUp(off, unit)
			if err := d.block.write(b, off); err != nil {
				return nil, err
			}
			off += n
		}
		table = appendEntry(table, seg.num, at, n)
		sealed[i] = seg.ro[at : at+n : at+n]
	}
	if d.block.coldTo == 0 {
		return sealed, nil
	}
	return sealed, d.block.write(table, 0)
}

// table returns where a table of up to size bytes is to be built: in place, where there is memory already.
func (b *block) table(size int64) []byte {
	if b.coldTo > 0 {
		return make([]byte, 0, size)
	}
	return b.seg.rw[b.start() : b.start() : b.start()+size]
}

// write copies b to an offset of the block. Memory that is not backed yet is written through the file, which neither
// clears pages first nor faults on each of them, and which reports a full file system.
func (b *block) write(p []byte, off int64) error {
	if b.coldTo == 0 {
		copy(b.seg.rw[b.start()+off:], p)
		return nil
	}
	_, err := b.seg.file.WriteAt(p, b.start()+off)
	return noSpace(err)
}

// begin takes a slot and memory for an object of the given size. The parts become the object's.
func (s *Store) begin(size int64, list []*part) (draft, error) {
	var d draft
	var err error
	if size > 0 {
		if d.block, err = s.take(size); err != nil {
			return draft{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.slot, d.rec, err = s.records.take(s.table); err != nil {
		if size > 0 {
			s.space.fail(d.block)
		}
		return draft{}, err
	}
	if size > 0 {
		d.rec.where, d.rec.span = inSpan, d.block.span
	}
	if list != nil {
		s.mu.parts.attach(d.slot, list)
		d.rec.where = inParts
	}
	return d, nil
}

// takeLocked takes memory, if need be that of deleted objects which only dead processes still pin.
func (s *Store) takeLocked(size int64) (block, error) {
	s.reclaimLocked()
	b, err := s.space.take(size)
	if !errors.Is(err, ErrNoSpace) || len(s.mu.zombies) == 0 {
		return b, err
	}
	if reapErr := s.reapPinnersLocked(); reapErr != nil {
		return block{}, errors.Join(err, reapErr)
	}
	return s.space.take(size)
}

// drop gives an unsealed draft back.
func (s *Store) drop(d draft) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.rec.where != nowhere {
		s.space.fail(d.block)
	}
	s.mu.parts.detach(s.space, d.slot)
	s.records.give(d.slot, d.rec)
}

// seal makes a written draft readable by all and returns its handle. sealed is where its buffers are, or nil to look for
// them. On an error the draft is dropped.
func (s *Store) seal(d draft, buffers int, size int64, sealed [][]byte) (*Object, error) {
	r, sl := d.rec, s.table.slot(d.slot)
	open := r.ref.Load()&recordOpen != 0
	if !open { // else Open has said it, and those who have joined may read it
		r.buffers, r.size = uint32(buffers), size
		if buffers != 1 {
			r.size = int64(buffers) * entrySize
		}
		d.place(sl)
		sl.buffers.Store(r.buffers)
		sl.size.Store(uint64(r.size))
	}
	r.used.Store(s.clock.Add(1))
	gen := r.gen()
	if open {
		r.ref.Add(recordSealed - recordOpen + 1)
		sl.word.Or(flagSealed) // and not flagOpen before: who has joined looks at it
		sl.word.And(^uint64(flagOpen))
	} else {
		sl.word.Store(uint64(gen)<<32 | flagSealed)
		r.ref.Store(uint64(gen)<<32 | recordSealed | 1)
	}
	o := newObject(&Object{st: s, rec: r, id: ID{store: s.number, slot: d.slot, gen: gen}})
	if sealed != nil {
		o.bufs = sealed
		for _, b := range sealed {
			o.size += int64(len(b))
		}
		return o, nil
	}
	if err := o.openOwn(); err != nil {
		o.leak.stop()
		r.ref.Store(uint64(gen) << 32)
		sl.word.Store(uint64(gen) << 32)
		s.drop(d)
		return nil, err
	}
	return o, nil
}

// Writer is an object that is written in place. It belongs to one goroutine at a time, and must be sealed or aborted.
type Writer struct {
	st   *Store
	d    draft
	size int64
	done atomic.Bool
	open bool // to others, who may hold it
	one  [1][]byte
	bufs [][]byte
}

// Create starts an object of one buffer of the given size in bytes, whose contents are not specified until written.
func (s *Store) Create(size int) (*Writer, error) {
	sizes := [1]int{size}
	return s.CreateBuffers(sizes[:]...)
}

// CreateBuffers starts an object with one buffer for each size, in bytes. Their contents are not specified until
// written. It returns ErrNoSpace when the store is full: no write to the buffers can fail later.
func (s *Store) CreateBuffers(sizes ...int) (*Writer, error) {
	size, err := layoutSize(sizes, nil, func(n int) int { return n })
	if err != nil {
		return nil, fmt.Errorf("create object: %w", err)
	}
	if !s.gate.enter() {
		return nil, ErrClosed
	}
	d, err := s.begin(size, nil)
	if err == nil {
		if err = s.dir.explain(d.block.warm()); err != nil {
			s.drop(d)
		}
	}
	if err != nil {
		s.leave()
		return nil, fmt.Errorf("create object: %w", err)
	}
	w := &Writer{st: s, d: d, size: size}
	w.lay(sizes)
	return w, nil
}

// warm backs the cold part of a block.
func (b *block) warm() error {
	if b.coldTo == 0 {
		return nil
	}
	if err := allocate(b.seg.file, b.coldFrom, b.coldTo-b.coldFrom); err != nil {
		return noSpace(err)
	}
	b.coldFrom, b.coldTo = 0, 0
	return nil
}

// lay cuts the memory into buffers and writes the table.
func (w *Writer) lay(sizes []int) {
	w.bufs = w.one[:0]
	var mem []byte
	if w.size > 0 {
		start := w.d.block.start()
		mem = w.d.block.seg.rw[start : start+w.size]
	}
	off := tableLen(len(sizes))
	table := mem[:0]
	for _, n := range sizes {
		off = roundUp(off, unit)
		if len(sizes) != 1 {
			table = appendEntry(table, w.d.block.seg.num, w.d.block.start()+off, int64(n))
		}
		if n == 0 {
			w.bufs = append(w.bufs, []byte{})
			continue
		}
		end := off + int64(n)
		w.bufs = append(w.bufs, mem[off:end:end])
		off = end
	}
}

// Bytes returns the first buffer to be written, or nil if there is none. It must not be written to after Seal or Abort.
func (w *Writer) Bytes() []byte {
	if len(w.bufs) == 0 {
		return nil
	}
	return w.bufs[0]
}

// Len returns the number of buffers.
func (w *Writer) Len() int { return len(w.bufs) }

// Buffer returns buffer i to be written. It must not be written to after Seal or Abort.
func (w *Writer) Buffer(i int) []byte { return w.bufs[i] }

// Seal makes the object immutable and readable by every process. The caller releases the Object. It returns ErrSealed
// when the Writer was sealed or aborted before.
func (w *Writer) Seal() (*Object, error) {
	if w.done.Swap(true) {
		return nil, ErrSealed
	}
	o, err := w.st.seal(w.d, len(w.bufs), w.size, nil)
	if err != nil {
		w.st.leave()
		return nil, fmt.Errorf("seal: %w", err)
	}
	return o, nil
}

// Abort gives the memory back. After Seal or Abort it does nothing, so it can be deferred.
func (w *Writer) Abort() {
	if w.done.Swap(true) {
		return
	}
	if w.open {
		w.st.dropOpen(w.d)
	} else {
		w.st.drop(w.d)
	}
	w.st.leave()
}
