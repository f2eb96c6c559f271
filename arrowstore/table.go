// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	tableMagic   = 0x31304c4254545554 // "TUTTBL01" in memory
	tableVersion = 1
	pageSize     = 4096
	slotSize     = 32
	slotGrain    = 64 << 10 / slotSize // slots backed with memory at a time
	wordBits     = 6 * (^uint(0) >> 63)
	maxSlots     = 1 << (18 + wordBits) // 16 Mi objects per store, 256 Ki on 32-bit systems

	maxPath = 3072 // bytes of the name of a spill directory

	maxBuffers = 1 << 20
	maxObject  = 1 << 37
)

// tableHeader is the first page of a table file. Fields that different sides write are 64 bytes apart.
type tableHeader struct {
	magic    atomic.Uint64
	store    atomic.Uint64
	version  atomic.Uint32
	capacity atomic.Uint32 // slots that the file has room for
	_        [40]byte

	slots   atomic.Uint32 // slots backed with memory; the owner adds
	closed  atomic.Uint32 // 1 when the owner closed its store
	retired atomic.Uint32 // counts the segments that the owner removed
	_       [52]byte

	attached atomic.Uint32 // counts the stores that began to read from this one, so that the owner looks for their ledgers
	_        [60]byte

	released atomic.Uint32 // counts last pins of deleted objects that went, so that the owner looks for memory to reuse
	_        [60]byte

	spillLen  atomic.Uint32 // length of spillPath, 0 without a spill directory
	spillPath [maxPath]byte
}

// State of an object, the low half of a slot's word; the high half is the generation.
const (
	flagSealed  = 1 << 0 // readable
	flagDeleted = 1 << 1 // the owner dropped its reference; no new pins
	flagShared  = 1 << 2 // another process pinned it at some time: ledgers must be searched before memory is reused
	flagMoving  = 1 << 3 // the owner is changing where it is: try again
	flagOpen    = 1 << 4 // being written, by the owner and those who join it
	flagHeld    = 1 << 5 // pinned by somebody who was told of it by a holder: see Reused

	firstMark = 8 // the bits from here on say which stores pinned it: see mark
	markBits  = 24
)

// mark returns the bits that a store adds to the word of what it pins: shared, and one bit that it has in common with few
// others, so that the owner need not search all ledgers.
func mark(pinner uint64) uint64 { return flagShared | 1<<(firstMark+pinner%markBits) }

// slot is the shared description of one object. Only word is ever written by others than the owner, and they only add
// their marks. The rest is written before word says sealed or open, and stays until the generation ends.
type slot struct {
	word    atomic.Uint64
	segment atomic.Uint32
	buffers atomic.Uint32
	offset  atomic.Uint64 // in bytes within the segment
	size    atomic.Uint64 // in bytes: of the buffer if there is one, else of the buffer table
}

// table is a mapped table file: the owner's or a view of another store's.
type table struct {
	mem  []byte
	file *os.File // of the owner only
}

func tableSize() int64 { return pageSize + maxSlots*slotSize }

func createTable(d *dir, store uint64) (*table, error) {
	f, err := d.create(metaName(store))
	if err != nil {
		return nil, fmt.Errorf("create object table: %w", err)
	}
	t := &table{file: f}
	if err := t.setUp(store); err != nil {
		return nil, errors.Join(fmt.Errorf("create object table: %w", noSpace(err)), t.close(), d.remove(metaName(store)))
	}
	return t, nil
}

func (t *table) setUp(store uint64) error {
	if err := t.file.Truncate(tableSize()); err != nil {
		return err
	}
	if err := allocate(t.file, 0, pageSize); err != nil {
		return err
	}
	var err error
	if t.mem, err = mapFile(t.file, tableSize(), unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return err
	}
	h := t.header()
	h.store.Store(store)
	h.version.Store(tableVersion)
	h.capacity.Store(maxSlots)
	h.magic.Store(tableMagic)
	return nil
}

// openTable maps the table of another store.
func openTable(d *dir, store uint64) (*table, error) {
	mem, err := d.mapExisting(metaName(store), unix.O_RDWR, unix.PROT_READ|unix.PROT_WRITE, func(size int64) bool {
		return size == tableSize()
	})
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, ErrNotFound
	case err != nil:
		return nil, fmt.Errorf("object table of store %016x: %w", store, err)
	}
	t := &table{mem: mem}
	h := t.header()
	// The swap changes nothing, and makes the page one that can be written in the same fault.
	same := h.magic.CompareAndSwap(tableMagic, tableMagic)
	if !same || h.version.Load() != tableVersion || h.store.Load() != store || h.capacity.Load() != maxSlots {
		return nil, errors.Join(fmt.Errorf("object table of store %016x: header of another kind: %w", store, ErrCorrupt), t.close())
	}
	return t, nil
}

func (t *table) header() *tableHeader { return (*tableHeader)(unsafe.Pointer(&t.mem[0])) }

func (t *table) setSpillPath(path string) error {
	h := t.header()
	if len(path) > len(h.spillPath) {
		return fmt.Errorf("spill directory with a name of %d bytes: %w", len(path), ErrTooLarge)
	}
	copy(h.spillPath[:], path)
	h.spillLen.Store(uint32(len(path)))
	return nil
}

func (t *table) getSpillPath() (string, error) {
	h := t.header()
	n := h.spillLen.Load()
	if n == 0 || n > uint32(len(h.spillPath)) {
		return "", fmt.Errorf("spill directory with a name of %d bytes: %w", n, ErrCorrupt)
	}
	return string(h.spillPath[:n]), nil
}

// slot returns slot i, which must be below maxSlots and backed.
func (t *table) slot(i uint32) *slot {
	return (*slot)(unsafe.Pointer(&t.mem[pageSize+int(i)*slotSize]))
}

// find returns slot i if the store has it.
func (t *table) find(i uint32) (*slot, bool) {
	if i >= min(t.header().slots.Load(), maxSlots) {
		return nil, false
	}
	return t.slot(i), true
}

// grow backs another grain of slots and returns the first of them.
func (t *table) grow() (uint32, error) {
	n := t.header().slots.Load()
	if n >= maxSlots {
		return 0, fmt.Errorf("more than %d objects in one store: %w", maxSlots, ErrNoSpace)
	}
	if err := allocate(t.file, pageSize+int64(n)*slotSize, slotGrain*slotSize); err != nil {
		return 0, fmt.Errorf("grow object table: %w", noSpace(err))
	}
	t.header().slots.Store(n + slotGrain)
	return n, nil
}

func (t *table) close() error {
	err := unmap(t.mem)
	t.mem = nil
	if t.file != nil {
		err = errors.Join(err, t.file.Close())
	}
	return err
}

// readable reports whether a slot's word says that generation gen can be pinned.
func readable(word uint64, gen uint32) bool { return sealed.allows(word, gen) }
