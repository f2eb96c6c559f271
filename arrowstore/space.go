// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
)

// space is the memory of a store's own objects: the segments, the heap that divides them, and which chunks of them have
// memory behind them. Segments reserve addresses only; chunks are backed by fallocate before anything touches them and
// given back by punching holes. All but find is guarded by the store's lock.
type space struct {
	dir   *dir
	store uint64
	limit int64
	size  int64 // of a segment

	heap     *heap
	segments atomic.Pointer[[]atomic.Pointer[segment]]
	spare    []uint32 // indexes of segments that are gone
	nextNum  uint32
	count    int   // segments
	backed   int64 // bytes with memory behind them
	used     int64 // bytes in spans
	idle     int64 // backed bytes without any object
	keepIdle int64
	noPunch  bool

	mapped   func(*segment)
	unmapped func(*segment)
	retired  func() // after a segment was removed
}

// block is a span that was taken, on its way to become an object.
type block struct {
	span
	seg *segment
	// coldFrom and coldTo bound the bytes of the segment that are counted as backed but are not yet: whole chunks that
	// nobody else touches, so that the taker backs them outside the store's lock.
	coldFrom, coldTo int64
}

func newSpace(d *dir, store uint64, o options) *space {
	s := &space{dir: d, store: store, limit: o.limit, size: o.segment, heap: newHeap(), keepIdle: min(o.limit/4, 1<<30)}
	s.segments.Store(&[]atomic.Pointer[segment]{})
	return s
}

// find returns the segment of a span that holds an object.
func (s *space) find(index uint32) *segment { return (*s.segments.Load())[index].Load() }

// byNumber returns the segment with a number, or nil.
func (s *space) byNumber(num uint32) *segment {
	for g := range s.all() {
		if g.num == num {
			return g
		}
	}
	return nil
}

// take reserves a block of at least size bytes.
func (s *space) take(size int64) (block, error) {
	if size > s.limit {
		return block{}, fmt.Errorf("object of %d bytes in a store limited to %d: %w", size, s.limit, ErrNoSpace)
	}
	units := uint32(roundUp(max(size, 1), unit) >> unitShift)
	sp, ok := s.heap.take(units)
	if !ok {
		if err := s.addSegment(units); err != nil {
			return block{}, err
		}
		if sp, ok = s.heap.take(units); !ok {
			return block{}, fmt.Errorf("no room in a new segment: %w", ErrNoSpace)
		}
	}
	b := block{span: sp, seg: s.find(sp.seg)}
	if err := s.back(&b); err != nil {
		s.heap.give(sp)
		return block{}, err
	}
	s.idle -= b.seg.chunks.use(sp)
	b.seg.spans++
	s.used += sp.bytes()
	return b, nil
}

// back sees that every chunk of a block has memory or is in its cold range. On success all of them count as backed, and
// those without objects as idle.
func (s *space) back(b *block) error {
	c := &b.seg.chunks
	first, end, wholeFirst, wholeEnd := c.of(b.span)
	missing := c.unbacked(first, end)
	if missing == 0 {
		return nil
	}
	if s.backed+missing > s.limit {
		s.trim(s.backed+missing-s.limit, b.span)
		// Trimming may have punched chunks of this very block, which were idle.
		missing = c.unbacked(first, end)
		if s.backed+missing > s.limit {
			return fmt.Errorf("%d of %d bytes in use, %d more needed: %w", s.used, s.limit, b.bytes(), ErrNoSpace)
		}
	}
	for _, edge := range [2]int{first, end - 1} { // the others are covered wholly
		if whole := edge >= wholeFirst && edge < wholeEnd; whole || c.backed.has(edge) {
			continue
		}
		if err := s.backChunk(b, edge); err != nil {
			return err
		}
	}
	if coldFirst, coldEnd := c.backed.missing(wholeFirst, wholeEnd); coldEnd > 0 {
		b.coldFrom, b.coldTo = int64(coldFirst)*c.size, int64(coldEnd)*c.size
		added := int64(c.backed.set(coldFirst, coldEnd)) * c.size
		s.backed += added
		s.idle += added
	}
	return nil
}

func (s *space) backChunk(b *block, i int) error {
	g, size := b.seg, b.seg.chunks.size
	off := int64(i) * size
	err := noSpace(allocate(g.file, off, size))
	if errors.Is(err, ErrNoSpace) && s.idle > 0 {
		s.trim(s.idle, b.span)
		err = noSpace(allocate(g.file, off, size))
	}
	if err != nil {
		return s.dir.explain(err)
	}
	g.chunks.backed.set(i, i+1)
	s.backed += size
	s.idle += size
	return nil
}

// give takes a block's memory back. Chunks left without objects are kept for the next ones up to keepIdle.
func (s *space) give(sp span) {
	g := s.find(sp.seg)
	g.mangle(sp)
	s.idle += g.chunks.leave(sp)
	g.spans--
	s.used -= sp.bytes()
	s.heap.give(sp)
	if s.idle > s.keepIdle {
		s.trim(s.idle-s.keepIdle/2, span{})
	}
}

// shrink gives back what a span has beyond size bytes, and returns what stays.
func (s *space) shrink(sp span, size int64) span {
	kept := s.heap.shrink(sp, uint32(roundUp(max(size, 1), unit)>>unitShift))
	if kept.units == sp.units {
		return sp
	}
	g := s.find(sp.seg)
	s.idle += g.chunks.leave(sp)
	s.idle -= g.chunks.use(kept)
	s.used -= sp.bytes() - kept.bytes()
	return kept
}

// fail takes back a block whose cold range could not be backed: what was counted as backed is not.
func (s *space) fail(b block) {
	if b.coldTo > 0 {
		c := &b.seg.chunks
		gone := int64(c.backed.clear(int(b.coldFrom/c.size), int(b.coldTo/c.size))) * c.size
		s.backed -= gone
		s.idle -= gone // give counts the chunks as idle
		// Where holes cannot be punched the file keeps what was written, and the next to back the range finds it there.
		_ = punch(b.seg.file, b.coldFrom, b.coldTo-b.coldFrom)
	}
	s.give(b.span)
}

// trim returns at least want bytes of idle memory to the system if there are as many, sparing those of one span, and
// removes segments without objects, all but one.
func (s *space) trim(want int64, spare span) {
	s.heap.trim(func(span) {})
	for i := range *s.segments.Load() {
		g := s.find(uint32(i))
		if g == nil || want <= 0 {
			continue
		}
		if g.spans == 0 && s.count > 1 && (spare.units == 0 || spare.seg != g.index) {
			want -= s.removeSegment(g)
			continue
		}
		for first, end := g.chunks.idle(0); first < end && want > 0; first, end = g.chunks.idle(end) {
			want -= s.release(g, first, end)
		}
	}
}

// release punches a range of chunks in which there is no object.
func (s *space) release(g *segment, first, end int) (freed int64) {
	size := g.chunks.size
	if s.noPunch || first >= end {
		return 0
	}
	if err := punch(g.file, int64(first)*size, int64(end-first)*size); err != nil {
		s.noPunch = errors.Is(err, errNoPunch) // the memory stays backed and idle, to be used again
		return 0
	}
	freed = int64(g.chunks.backed.clear(first, end)) * size
	s.backed -= freed
	s.idle -= freed
	return freed
}

func (s *space) addSegment(units uint32) error {
	size := s.size
	chunk := int64(chunkSize)
	if need := int64(units) * unit; need > size/2 { // a large object gets a segment of its own
		chunk = chunkFor(need)
		size = roundUp(need, chunk)
	}
	g, err := createSegment(s.dir, s.store, s.nextNum, size, chunk)
	if err != nil {
		return err
	}
	s.nextNum++
	g.node = s.heap.addSegment(s.index(g), uint32(size>>unitShift))
	s.count++
	s.mapped(g)
	return nil
}

// index puts a segment into the list. Readers see the list without a lock, so it is copied to grow.
func (s *space) index(g *segment) uint32 {
	if n := len(s.spare); n > 0 {
		g.index, s.spare = s.spare[n-1], s.spare[:n-1]
		(*s.segments.Load())[g.index].Store(g)
		return g.index
	}
	old := *s.segments.Load()
	list := make([]atomic.Pointer[segment], max(8, 2*len(old)))
	for i := range old {
		list[i].Store(old[i].Load())
	}
	g.index = uint32(len(old))
	list[g.index].Store(g)
	for i := len(list) - 1; i > len(old); i-- {
		s.spare = append(s.spare, uint32(i))
	}
	s.segments.Store(&list)
	return g.index
}

// removeSegment returns a segment without objects to the system. Punching first frees its memory even where a reader
// still has the file mapped.
func (s *space) removeSegment(g *segment) (freed int64) {
	freed = s.release(g, 0, g.chunks.n)
	left := int64(g.chunks.backed.clear(0, g.chunks.n)) * g.chunks.size // it could not be punched
	s.backed -= left
	s.idle -= left
	freed += left
	s.heap.dropSegment(g.node)
	s.unmapped(g)
	(*s.segments.Load())[g.index].Store(nil)
	s.spare = append(s.spare, g.index)
	s.count--
	// Nothing refers to the segment any more; a file that could not be removed goes when the store is swept.
	_ = errors.Join(s.dir.remove(segmentName(s.store, g.num)), g.close())
	s.retired()
	return freed
}

// removeFiles unlinks all segments; mappings stay.
func (s *space) removeFiles() error {
	var errs []error
	for g := range s.all() {
		errs = append(errs, s.dir.remove(segmentName(s.store, g.num)))
	}
	return errors.Join(errs...)
}

func (s *space) close() error {
	var errs []error
	for g := range s.all() {
		s.unmapped(g)
		errs = append(errs, g.close())
	}
	return errors.Join(errs...)
}

func (s *space) all() iter.Seq[*segment] {
	list := *s.segments.Load()
	return func(yield func(*segment) bool) {
		for i := range list {
			if g := list[i].Load(); g != nil && !yield(g) {
				return
			}
		}
	}
}
