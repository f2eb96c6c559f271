// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowipc

import (
	"encoding/binary"
	"fmt"

	"github.com/tutti-go/tutti/arrowstore"
)

// maxNesting bounds how deep fields may be nested.
const maxNesting = 64

// flatBuffer verifies what Arrow's IPC reader believes without looking: it makes slices of the lengths that vectors claim,
// which ends the process when memory runs out, and recurses as deep as fields are nested. Fields are numbered as in
// Arrow's Message.fbs and Schema.fbs.
type flatBuffer struct {
	b      []byte
	budget int // tables that may still be visited: tables can be shared, so that a few bytes make very many
	bad    bool
}

// verifyMessage checks the metadata of an IPC message and returns the length of its body.
func verifyMessage(b []byte) (int64, error) {
	f := &flatBuffer{b: b, budget: len(b)}
	msg := f.table(f.follow(0))
	body := int64(0)
	if at, ok := f.field(msg, 3); ok {
		body = int64(f.u64(at))
	}
	kind := uint8(0)
	if at, ok := f.field(msg, 1); ok {
		kind = f.u8(at)
	}
	if at, ok := f.field(msg, 2); ok {
		header := f.table(f.follow(at))
		switch kind {
		case 1: // Schema
			f.tables(header, 1, func(t flatTable) { f.schemaField(t, 0) })
			f.tables(header, 2, f.keyValue)
		case 2: // DictionaryBatch
			if at, ok := f.field(header, 1); ok {
				f.recordBatch(f.table(f.follow(at)))
			}
		case 3: // RecordBatch
			f.recordBatch(header)
		default:
		}
	}
	if f.bad || body < 0 {
		return 0, fmt.Errorf("message metadata: %w", arrowstore.ErrCorrupt)
	}
	return body, nil
}

func (f *flatBuffer) schemaField(t flatTable, depth int) {
	if depth > maxNesting {
		f.bad = true
		return
	}
	f.vector(t, 0, 1)
	const union = 14
	if at, ok := f.field(t, 3); ok {
		params := f.table(f.follow(at))
		if at, ok := f.field(t, 2); ok && f.u8(at) == union {
			f.vector(params, 1, 4)
		}
	}
	if at, ok := f.field(t, 4); ok {
		f.table(f.follow(at))
	}
	f.tables(t, 5, func(child flatTable) { f.schemaField(child, depth+1) })
	f.tables(t, 6, f.keyValue)
}

func (f *flatBuffer) keyValue(t flatTable) {
	f.vector(t, 0, 1)
	f.vector(t, 1, 1)
}

func (f *flatBuffer) recordBatch(t flatTable) {
	f.vector(t, 1, 16)
	f.vector(t, 2, 16)
	if at, ok := f.field(t, 3); ok {
		f.table(f.follow(at))
	}
}

// flatTable is a table: where it and its vtable are. The zero table has no fields.
type flatTable struct{ pos, vtable, size uint64 }

func (f *flatBuffer) in(at, n uint64) bool {
	if at > uint64(len(f.b)) || n > uint64(len(f.b))-at {
		f.bad = true
	}
	return !f.bad
}

func (f *flatBuffer) u8(at uint64) uint8 {
	if !f.in(at, 1) {
		return 0
	}
	return f.b[at]
}

func (f *flatBuffer) u16(at uint64) uint64 {
	if !f.in(at, 2) {
		return 0
	}
	return uint64(binary.LittleEndian.Uint16(f.b[at:]))
}

func (f *flatBuffer) u32(at uint64) uint64 {
	if !f.in(at, 4) {
		return 0
	}
	return uint64(binary.LittleEndian.Uint32(f.b[at:]))
}

func (f *flatBuffer) u64(at uint64) uint64 {
	if !f.in(at, 8) {
		return 0
	}
	return binary.LittleEndian.Uint64(f.b[at:])
}

// follow returns where the reference at a position leads.
func (f *flatBuffer) follow(at uint64) uint64 { return at + f.u32(at) }

func (f *flatBuffer) table(pos uint64) flatTable {
	if f.budget--; f.budget < 0 {
		f.bad = true
	}
	t := flatTable{pos: pos, vtable: uint64(int64(pos) - int64(int32(f.u32(pos))))}
	t.size = f.u16(t.vtable)
	if t.size < 4 || !f.in(t.vtable, t.size) || !f.in(pos, f.u16(t.vtable+2)) {
		f.bad = true
		return flatTable{}
	}
	return t
}

// field returns where a field of a table is, if it is there.
func (f *flatBuffer) field(t flatTable, id uint64) (uint64, bool) {
	entry := 4 + 2*id
	if f.bad || entry >= t.size { // as the library compares: a vtable of odd size has half an entry
		return 0, false
	}
	off := f.u16(t.vtable + entry)
	return t.pos + off, off != 0 && !f.bad
}

// vector checks a vector and returns where its elements start and how many there are.
func (f *flatBuffer) vector(t flatTable, id, size uint64) (at, n uint64) {
	ref, ok := f.field(t, id)
	if !ok {
		return 0, 0
	}
	at = f.follow(ref)
	n = f.u32(at)
	if !f.in(at+4, n*size) {
		return 0, 0
	}
	return at + 4, n
}

func (f *flatBuffer) tables(t flatTable, id uint64, visit func(flatTable)) {
	at, n := f.vector(t, id, 4)
	for i := range n {
		if f.bad {
			return
		}
		visit(f.table(f.follow(at + 4*i)))
	}
}
