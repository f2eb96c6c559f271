// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"encoding/binary"
	"fmt"
)

// IDSize is the number of bytes that ID.AppendBinary writes.
const IDSize = 16

// ID names one object among all stores of all hosts. It is comparable, and it locates the object by itself: the number
// of the store that owns it, its slot in that store's table, and the generation of the slot. The zero ID names nothing.
type ID struct {
	store uint64
	slot  uint32
	gen   uint32
}

// IsZero reports whether the id is the zero ID, which names no object.
func (id ID) IsZero() bool { return id == ID{} }

// Store returns the number of the store that owns the object. It is the Number of that Store.
func (id ID) Store() uint64 { return id.store }

// AppendBinary appends the IDSize bytes of the id to b, little-endian. It never fails; the error fits
// encoding.BinaryAppender.
func (id ID) AppendBinary(b []byte) ([]byte, error) {
	b = binary.LittleEndian.AppendUint64(b, id.store)
	b = binary.LittleEndian.AppendUint32(b, id.slot)
	return binary.LittleEndian.AppendUint32(b, id.gen), nil
}

// ParseID reads an id from exactly IDSize bytes. It returns ErrCorrupt for another length or for bytes that no id has.
// That an id parses does not say that its object exists.
func ParseID(b []byte) (ID, error) {
	if len(b) != IDSize {
		return ID{}, fmt.Errorf("parse object id of %d bytes: %w", len(b), ErrCorrupt)
	}
	id := ID{
		store: binary.LittleEndian.Uint64(b),
		slot:  binary.LittleEndian.Uint32(b[8:]),
		gen:   binary.LittleEndian.Uint32(b[12:]),
	}
	if id.store == 0 || id.gen == 0 || id.slot >= maxSlots {
		return ID{}, fmt.Errorf("parse object id %v: %w", id, ErrCorrupt)
	}
	return id, nil
}

// String returns the id as store, slot and generation in hexadecimal, for logs.
func (id ID) String() string { return fmt.Sprintf("%016x-%x-%x", id.store, id.slot, id.gen) }
