// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	ledgerMagic  = 0x3230524744454c54 // "TLEDGR02" in memory
	bucketSize   = 192                // three cache lines
	bucketPins   = bucketSize / 24
	firstBuckets = 64                                 // of level 0; each level has four times as many as the one before
	headSize     = pageSize + firstBuckets*bucketSize // 16 KiB
	maxLevels    = 10
	pinsPerEntry = math.MaxUint32 >> 1
	entryBusy    = 1 << 31 // in the low half of an entry's state: it is being given to another object
)

// ledger is the record that one store, the pinner, keeps of its pins on the objects of all others. Only the pinner writes
// it; owners read it before they reuse memory. So a pinner may die at any instruction: the owners then disregard the whole
// ledger, and no count was ever shared that could be left wrong.
//
// It is a hash table. An object has two buckets at each level, and its pins are counted in any entry of any of them, or in
// several. No entry ever moves; when all that an object could have are in use, another level is added.
type ledger struct {
	file   *os.File
	dir    *dir
	pinner uint64
	levels [maxLevels]atomic.Pointer[level]
	head   []byte     // mapping of the header and level 0
	mu     sync.Mutex // to add and map levels
}

type level struct {
	mem  []byte
	mask uint64
}

type ledgerHeader struct {
	magic, pinner atomic.Uint64
	levels        atomic.Uint32 // how many there are, with memory behind all of them
}

// entry counts the pins on one object. While the low half of state, the count, is not 0, the rest does not change; the
// high half changes each time that the entry is given to another object.
type entry struct {
	owner, object atomic.Uint64 // number of the owner; slot and generation
	state         atomic.Uint64
}

// levelPlace returns where in the file a level is, and how long. Level 0 follows the header on the first pages; the others
// start where pages of any system do.
func levelPlace(n int) (off, size int64) {
	size = firstBuckets * bucketSize << (2 * n)
	if n == 0 {
		return pageSize, size
	}
	return headSize << (2 * n), size
}

func (l *ledger) header() *ledgerHeader { return (*ledgerHeader)(unsafe.Pointer(&l.head[0])) }

func createLedger(d *dir, pinner uint64) (*ledger, error) {
	f, err := d.create(ledgerName(pinner))
	if err != nil {
		return nil, fmt.Errorf("create pin ledger: %w", err)
	}
	l := &ledger{file: f, dir: d, pinner: pinner}
	if err := l.setUp(); err != nil {
		return nil, errors.Join(fmt.Errorf("create pin ledger: %w", noSpace(err)), l.close(), d.remove(ledgerName(pinner)))
	}
	return l, nil
}

func (l *ledger) setUp() error {
	if err := allocate(l.file, 0, headSize); err != nil {
		return err
	}
	var err error
	if l.head, err = mapFile(l.file, headSize, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return err
	}
	l.addLevel(0, l.head[pageSize:])
	h := l.header()
	h.pinner.Store(l.pinner)
	h.magic.Store(ledgerMagic)
	return nil
}

// addLevel puts a level to use, having touched its pages, so that the first pins do not wait for them.
func (l *ledger) addLevel(n int, mem []byte) {
	for at := 0; at < len(mem); at += pageSize {
		(*atomic.Uint64)(unsafe.Pointer(&mem[at])).Or(0)
	}
	l.levels[n].Store(newLevel(mem))
	l.header().levels.Store(uint32(n + 1))
}

func newLevel(mem []byte) *level {
	return &level{mem: mem, mask: uint64(len(mem)/bucketSize - 1)}
}

// openLedger maps a pinner's ledger for an owner to read. It returns nil for one that its pinner is still making, which
// therefore has no pins yet.
func openLedger(d *dir, pinner uint64) (*ledger, error) {
	f, err := d.open(ledgerName(pinner), unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	l := &ledger{file: f, dir: d, pinner: pinner}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, errors.Join(err, l.close())
	}
	if st.Size < headSize {
		return nil, l.close()
	}
	if l.head, err = mapFile(f, headSize, unix.PROT_READ); err != nil {
		return nil, errors.Join(err, l.close())
	}
	switch h := l.header(); {
	case h.magic.Load() != ledgerMagic || h.levels.Load() == 0:
		return nil, l.close()
	case h.pinner.Load() != pinner || h.levels.Load() > maxLevels:
		return nil, errors.Join(fmt.Errorf("pin ledger of store %016x: %w", pinner, ErrCorrupt), l.close())
	}
	l.levels[0].Store(newLevel(l.head[pageSize:]))
	return l, nil
}

// level returns a level that the header counts, mapped.
func (l *ledger) level(n int) (*level, error) {
	if v := l.levels[n].Load(); v != nil {
		return v, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var st unix.Stat_t
	if err := unix.Fstat(int(l.file.Fd()), &st); err != nil {
		return nil, err
	}
	off, size := levelPlace(n)
	if st.Size < off+size {
		return nil, fmt.Errorf("pin ledger of %d bytes: %w", st.Size, ErrCorrupt)
	}
	mem, err := mapRange(l.file, off, size, unix.PROT_READ)
	if err != nil {
		return nil, err
	}
	v := newLevel(mem)
	l.levels[n].Store(v)
	return v, nil
}

// hashes returns the two numbers by which an object's buckets are found.
func hashes(owner, object uint64) [2]uint64 {
	hi, lo := bits.Mul64(owner^0x9e3779b97f4a7c15, object^0xd1b54a32d192ed03)
	h := hi ^ lo
	return [2]uint64{h, bits.RotateLeft64(h, 32)}
}

// bucket returns the entries of a bucket.
func (v *level) bucket(hash uint64) *[bucketPins]entry {
	return (*[bucketPins]entry)(unsafe.Pointer(&v.mem[(hash&v.mask)*bucketSize]))
}

func objectKey(slot, gen uint32) uint64 { return uint64(slot)<<32 | uint64(gen) }

// holds reports whether the ledger has a pin on generation gen of a slot of the owner.
func (l *ledger) holds(owner uint64, slot, gen uint32) (bool, error) {
	key := objectKey(slot, gen)
	for n := range int(min(l.header().levels.Load(), maxLevels)) {
		v, err := l.level(n)
		if err != nil {
			return false, err
		}
		for _, hash := range hashes(owner, key) {
			bucket := v.bucket(hash)
			for i := range bucket {
				if bucket[i].holds(owner, key) {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

// holds reports whether an entry has pins on an object. One that is being given to an object has none yet: its pinner will
// look at the object when it has.
func (e *entry) holds(owner, key uint64) bool {
	for {
		st := e.state.Load()
		if n := uint32(st); n == 0 || n&entryBusy != 0 {
			return false
		}
		same := e.owner.Load() == owner && e.object.Load() == key
		if e.state.Load()>>32 == st>>32 { // it was the entry of one object meanwhile
			return same
		}
	}
}

// add counts one more pin on generation gen of a slot of the owner, and returns where. The caller must then see that the
// object is still readable, and drop the pin if not.
func (l *ledger) add(owner uint64, slot, gen uint32) (*entry, error) {
	key := objectKey(slot, gen)
	for {
		levels := int(l.header().levels.Load())
		for n := range levels {
			v := l.levels[n].Load()
			for _, hash := range hashes(owner, key) {
				bucket := v.bucket(hash)
				for i := range bucket {
					if bucket[i].add(owner, key) {
						return &bucket[i], nil
					}
				}
			}
		}
		if err := l.grow(levels); err != nil {
			return nil, fmt.Errorf("grow pin ledger: %w", err)
		}
	}
}

// grow adds a level, unless another goroutine did so since there were as many as the caller saw.
func (l *ledger) grow(levels int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if int(l.header().levels.Load()) > levels {
		return nil
	}
	if levels == maxLevels {
		return fmt.Errorf("pins at %d levels: %w", levels, ErrTooLarge)
	}
	off, size := levelPlace(levels)
	if err := allocate(l.file, off, size); err != nil {
		return noSpace(err)
	}
	mem, err := mapRange(l.file, off, size, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return err
	}
	l.addLevel(levels, mem)
	return nil
}

// add counts a pin in an entry that is the object's or free.
func (e *entry) add(owner, key uint64) bool {
	for {
		st := e.state.Load()
		n := uint32(st)
		switch {
		case n&entryBusy != 0:
			return false
		case n == 0:
			if !e.state.CompareAndSwap(st, st|entryBusy) {
				continue
			}
			e.owner.Store(owner)
			e.object.Store(key)
			e.state.Store((st>>32+1)<<32 | 1)
			return true
		case e.owner.Load() != owner || e.object.Load() != key || n == pinsPerEntry:
			return false
		case e.state.CompareAndSwap(st, st+1): // fails if the entry was given to another object meanwhile
			return true
		}
	}
}

// drop takes one pin back and reports whether it was the last one of the entry.
func (e *entry) drop() (last bool) { return uint32(e.state.Add(^uint64(0))) == 0 }

func (l *ledger) close() error {
	errs := []error{unmap(l.head)}
	for i := range l.levels {
		if v := l.levels[i].Swap(nil); v != nil && i > 0 {
			errs = append(errs, unmap(v.mem))
		}
	}
	l.head = nil
	return errors.Join(append(errs, l.file.Close())...)
}
