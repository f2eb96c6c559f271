// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	ledgerMagic  = 0x3130524744454c54 // "TLEDGR01" in memory
	ledgerBits   = pageSize           // where the bitmap of backed pages starts
	ledgerData   = 2 * pageSize       // where the entries start
	perPage      = pageSize / 8       // entries per page
	ledgerPages  = maxSlots / perPage
	ledgerBytes  = ledgerData + maxSlots*8
	pinsPerEntry = math.MaxUint32 - 1
)

// ledger is the record that one store, the pinner, keeps of its pins on the objects of another, the owner: for each slot
// of the owner a word with the generation and how often this pinner holds it. Only the pinner writes it; the owner
// reads it before it reuses memory. So a pinner may die at any instruction: the owner then disregards the whole ledger,
// and no count was ever shared that could be left wrong.
//
// The file is sparse. A page is backed before its bit in the bitmap is set and never touched before.
type ledger struct {
	mem  []byte
	file *os.File // of the pinner only
	mu   sync.Mutex
}

type ledgerHeader struct {
	magic, owner, pinner atomic.Uint64
}

func (l *ledger) header() *ledgerHeader { return (*ledgerHeader)(unsafe.Pointer(&l.mem[0])) }

func createLedger(d *dir, owner, pinner uint64) (*ledger, error) {
	name := ledgerName(owner, pinner)
	f, err := d.create(name)
	if err != nil {
		return nil, fmt.Errorf("create pin ledger: %w", err)
	}
	l := &ledger{file: f}
	if err := l.setUp(owner, pinner); err != nil {
		return nil, errors.Join(fmt.Errorf("create pin ledger: %w", noSpace(err)), l.close(), d.remove(name))
	}
	return l, nil
}

func (l *ledger) setUp(owner, pinner uint64) error {
	if err := allocate(l.file, 0, ledgerData); err != nil {
		return err
	}
	var err error
	if l.mem, err = mapFile(l.file, ledgerBytes, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return err
	}
	l.header().owner.Store(owner)
	l.header().pinner.Store(pinner)
	l.header().magic.Store(ledgerMagic)
	return l.file.Truncate(ledgerBytes) // last: by its size the owner knows that the ledger is whole
}

// openLedger maps a pinner's ledger for the owner to read. It returns nil for one that its pinner is still making, which
// therefore has no pins yet.
func openLedger(d *dir, owner, pinner uint64) (*ledger, error) {
	f, err := d.open(ledgerName(owner, pinner), unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if st.Size != ledgerBytes {
		return nil, f.Close()
	}
	mem, err := mapFile(f, ledgerBytes, unix.PROT_READ)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return &ledger{mem: mem}, nil
}

func (l *ledger) backed(page uint32) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&l.mem[ledgerBits+page/32*4]))
}

func (l *ledger) word(slot uint32) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&l.mem[ledgerData+int(slot)*8]))
}

// entry returns the pinner's word for a slot, with memory behind it.
func (l *ledger) entry(slot uint32) (*atomic.Uint64, error) {
	page := slot / perPage
	bit := uint32(1) << (page % 32)
	if l.backed(page).Load()&bit == 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.backed(page).Load()&bit == 0 {
			if err := allocate(l.file, ledgerData+int64(page)*pageSize, pageSize); err != nil {
				return nil, fmt.Errorf("grow pin ledger: %w", noSpace(err))
			}
			l.backed(page).Or(bit)
		}
	}
	return l.word(slot), nil
}

// holds reports whether the ledger has a pin on generation gen of a slot.
func (l *ledger) holds(slot, gen uint32) bool {
	page := slot / perPage
	if l.backed(page).Load()&(1<<(page%32)) == 0 {
		return false
	}
	e := l.word(slot).Load()
	return uint32(e>>32) == gen && uint32(e) != 0
}

// add counts one more pin on generation gen of a slot. The caller must then see that the object is still readable, and
// take the pin back if not. Another goroutine's pin on an earlier generation can stand in the entry for the moment
// until it does just that.
func (l *ledger) add(slot, gen uint32) error {
	entry, err := l.entry(slot)
	if err != nil {
		return err
	}
	const tries = 1 << 16
	for range tries {
		e := entry.Load()
		n := uint32(e)
		if n == pinsPerEntry {
			return fmt.Errorf("%d pins on one object: %w", n, ErrTooLarge)
		}
		if n != 0 && uint32(e>>32) != gen {
			runtime.Gosched()
			continue
		}
		if entry.CompareAndSwap(e, uint64(gen)<<32|uint64(n+1)) {
			return nil
		}
	}
	return fmt.Errorf("pin ledger entry of slot %d does not settle: %w", slot, ErrCorrupt)
}

// drop takes one pin back and reports whether it was the last one.
func (l *ledger) drop(slot uint32) (last bool) {
	return uint32(l.word(slot).Add(^uint64(0))) == 0
}

func (l *ledger) close() error {
	err := unmap(l.mem)
	l.mem = nil
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
	}
	return err
}
