// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"fmt"
	"net"
	"sync/atomic"

	"github.com/tutti-go/tutti/internal/wire"
)

// ringSize is how many bytes wait in a ring at most. It is a power of two.
const ringSize = 128 << 10

// ring is a pipe of bytes in memory that two processes share: one writes, the other reads. Head and tail count all bytes
// ever read and written, so that they are equal when it is empty. What is written into an empty ring begins where its data begin:
// one small message after another uses the same few cache lines and the same page, which counts where there are hundreds of rings.
// Each side has one cache line, of what it sets and the other looks at on the same occasion.
//
// Neither side trusts the other: each keeps its own count to itself, checks what the other says against it, and copies
// bytes out before it looks at them.
type ring struct {
	tail atomic.Uint64 // set by the writer
	base atomic.Uint64 // the count at data[0]; set by the writer, when the ring is empty
	full atomic.Uint32 // the writer waits for room, and wants notice
	_    [44]byte

	head   atomic.Uint64 // set by the reader
	hungry atomic.Uint32 // the reader waits, and wants its bell rung
	_      [52]byte

	data [ringSize]byte
}

// ringWriter is the writing side of a ring. It is for one goroutine at a time.
type ringWriter struct {
	r    *ring
	tail uint64
	base uint64
}

// write copies as much of q as there is room for, and returns how much that was.
func (w *ringWriter) write(q net.Buffers) (int, error) {
	room, err := w.room()
	if err != nil {
		return 0, err
	}
	if room == ringSize && w.base != w.tail { // the reader has read all, and looks at the base only when there is more
		w.base = w.tail
		w.r.base.Store(w.base)
	}
	n := 0
	for _, b := range q {
		part := b[:min(len(b), room-n)]
		at := int((w.tail + uint64(n) - w.base) % ringSize)
		copy(w.r.data[:], part[copy(w.r.data[at:], part):])
		n += len(part)
		if n == room {
			break
		}
	}
	w.tail += uint64(n)
	w.r.tail.Store(w.tail)
	return n, nil
}

func (w *ringWriter) room() (int, error) {
	used := w.tail - w.r.head.Load()
	if used > ringSize {
		return 0, fmt.Errorf("%w: the peer read %d bytes more than were written", wire.ErrFrame, -used)
	}
	return ringSize - int(used), nil
}

// rouse reports whether the reader waits for what was written. It does so once for every time that the reader waits.
func (w *ringWriter) rouse() bool {
	return w.r.hungry.Load() != 0 && w.r.hungry.CompareAndSwap(1, 0)
}

// wantsRoom reports whether the writer is to wait for notice. Half the ring is free when the notice comes, so that one
// does not follow the other for a few bytes each.
func (w *ringWriter) wantsRoom() bool {
	w.r.full.Store(1)
	room, err := w.room()
	if err == nil && room < ringSize/2 {
		return true
	}
	w.r.full.Store(0)
	return false
}

// ringReader is the reading side of a ring. It is for one goroutine at a time.
type ringReader struct {
	r    *ring
	head uint64
}

// read copies out what is there, as far as it fits into b.
func (r *ringReader) read(b []byte) (int, error) {
	there := r.r.tail.Load() - r.head
	if there > ringSize {
		return 0, fmt.Errorf("%w: the peer says that %d bytes wait in a ring of %d", wire.ErrFrame, there, ringSize)
	}
	n := min(len(b), int(there))
	if n == 0 {
		return 0, nil
	}
	at := int((r.head - r.r.base.Load()) % ringSize)
	first := copy(b[:n], r.r.data[at:])
	copy(b[first:n], r.r.data[:])
	r.head += uint64(n)
	r.r.head.Store(r.head)
	return n, nil
}

// relieve reports whether the writer waits for room that is there now. It does so once for every time that the writer waits.
func (r *ringReader) relieve() bool {
	return r.r.full.Load() != 0 && r.r.tail.Load()-r.head <= ringSize/2 && r.r.full.CompareAndSwap(1, 0)
}

// wait reports whether the reader is to wait for its bell.
func (r *ringReader) wait() bool {
	if r.r.tail.Load() != r.head {
		return false
	}
	r.r.hungry.Store(1)
	if r.r.tail.Load() == r.head {
		return true
	}
	r.r.hungry.Store(0)
	return false
}
