// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package hostshm

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// Where the system lets processes of one user read each other's memory, members read straight from that of a publisher: one copy in place of two. A
// container, a security module or another namespace of processes may forbid it, so all find out together.

// ErrGone is returned by reads of the memory of a process that is there no more.
var ErrGone = errors.New("hostshm: the process is gone")

// origin is where the memory of a member's process can be read. Whoever finds the token there has read that process and no other.
type origin struct {
	process atomic.Uint64
	at      atomic.Uint64 // of the token
	token   [2]atomic.Uint64
}

const (
	tokenBytes   = 16
	exposedBytes = 16 // an address and a length
)

// TryDirect finds out, at all members alike, whether each can read the memory of all others. It takes two rounds. In them each reads the token of its
// neighbour: a member that may read nobody, that nobody may read, or that others do not see breaks the ring. The Mismatch is that of Arrive.
func (p *Port) TryDirect(idle Idle) (bool, *Mismatch, error) {
	if err := p.Enter(idle); err != nil {
		return false, nil, err
	}
	_, _ = rand.Read(p.token[:]) // never fails
	o := &p.line(p.rank).origin
	o.process.Store(processID())
	o.at.Store(uint64(uintptr(unsafe.Pointer(&p.token))))
	for i := range o.token {
		o.token[i].Store(binary.NativeEndian.Uint64(p.token[8*i:]))
	}
	if m := p.Arrive(); m != nil {
		return false, m, nil
	}
	if err := p.Await(idle); err != nil {
		return false, nil, err
	}
	can := []byte{0}
	if p.read((p.rank+1)%p.members, nil, 0) == nil {
		can[0] = 1
	}
	if err := p.Enter(idle); err != nil {
		return false, nil, err
	}
	if m := p.Fold(can, both); m != nil {
		return false, m, nil
	}
	if err := p.Await(idle); err != nil {
		return false, nil, err
	}
	return p.Result(1)[0] == 1, nil, nil
}

// both is 1 where all are.
func both(dst []byte, srcs [][]byte, _ bool) {
	all := byte(1)
	for _, s := range srcs {
		all &= s[0]
	}
	dst[0] = all
}

// Expose says where others may read in this round, if TryDirect said that they can. The memory must stay until AwaitAll has returned, or End.
func (p *Port) Expose(b []byte) {
	p.exposed = p.parity()
	slot := p.Slot(p.rank, exposedBytes)
	binary.NativeEndian.PutUint64(slot, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))))
	binary.NativeEndian.PutUint64(slot[8:], uint64(len(b)))
}

// ReadExposed reads what a rank exposes in this round, from an offset on. After End the data are of no use, which the error says.
func (p *Port) ReadExposed(rank int, dst []byte, offset int) error {
	return p.readExposed(p.parity(), rank, dst, offset)
}

func (p *Port) readExposed(parity, rank int, dst []byte, offset int) error {
	slot := p.slot(parity, rank, exposedBytes)
	at, length := binary.NativeEndian.Uint64(slot), binary.NativeEndian.Uint64(slot[8:])
	if uint64(offset+len(dst)) > length {
		return fmt.Errorf("hostshm: read %d bytes at %d of %d that rank %d has", len(dst), offset, length, rank)
	}
	if len(dst) > 0 {
		if err := p.read(rank, dst, at+uint64(offset)); err != nil {
			return fmt.Errorf("hostshm: read the memory of rank %d: %w", rank, err)
		}
	}
	if p.Ended() {
		return ErrEnded
	}
	return nil
}

// AwaitAll waits until all have arrived at this round, whoever has published it.
func (p *Port) AwaitAll(idle Idle) error {
	h, round := p.head(), p.round
	return p.wait(func() bool { return h.done.Load() >= round }, idle)
}
