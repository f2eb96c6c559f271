// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"golang.org/x/sys/unix"
)

// The floors are what the machine itself takes for the least that an operation has to do, measured in the same run. A
// benchmark reports how many times its floor an operation takes, as x-floor, and which part of what it may take, as of-asked:
// above 1 it is too slow.

// reportTimes reports an operation that took a time, may take asked, and has a floor.
func reportTimes(b *testing.B, took, asked, floor time.Duration) {
	b.ReportMetric(float64(took)/float64(asked), "of-asked")
	b.ReportMetric(float64(took)/float64(floor), "x-floor")
}

func perLoop(b *testing.B) time.Duration { return b.Elapsed() / time.Duration(b.N) }

// medianOf runs f many times and returns the median time.
func medianOf(f func()) time.Duration {
	times := make([]time.Duration, 1001)
	for i := range times {
		start := time.Now()
		f()
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// meanOf is for what is too short for the clock.
func meanOf(f func()) time.Duration {
	const n = 1 << 18
	start := time.Now()
	for range n {
		f()
	}
	return max(1, time.Since(start)/n)
}

// mapFloor is what the system takes to reserve memory of a size and give it back, without touching it.
func mapFloor(b *testing.B, size int) time.Duration {
	return medianOf(func() {
		mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		noError(b, err)
		noError(b, unix.Munmap(mem))
	})
}

var keep any

// handleFloor is a handle from the heap and two counts up and down.
func handleFloor() time.Duration {
	var store, object atomic.Int64
	return meanOf(func() {
		store.Add(1)
		object.Add(1)
		keep = new(Object)
		object.Add(-1)
		store.Add(-1)
	})
}

// openFloor is to find a file in a directory, map it and read its first byte, twice: as much as it takes to see a table and
// what it describes.
func openFloor(b *testing.B, dir int, names ...string) time.Duration {
	return medianOf(func() {
		for _, name := range names {
			fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			noError(b, err)
			mem, err := unix.Mmap(fd, 0, 128<<20, unix.PROT_READ, unix.MAP_SHARED)
			noError(b, err)
			sink = mem[0]
			noError(b, unix.Close(fd))
			noError(b, unix.Munmap(mem))
		}
	})
}

// recordFloor is for Arrow to make the same record out of buffers that are there already, checking nothing of them.
func recordFloor(rec arrow.Record) time.Duration {
	return medianOf(func() {
		columns := make([]arrow.Array, rec.NumCols())
		for i, c := range rec.Columns() {
			d := c.Data()
			data := array.NewData(d.DataType(), d.Len(), d.Buffers(), nil, d.NullN(), d.Offset())
			columns[i] = array.MakeFromData(data)
			data.Release()
		}
		made := array.NewRecord(rec.Schema(), columns, rec.NumRows())
		for _, c := range columns {
			c.Release()
		}
		made.Release()
	})
}

// goMapRate is how many objects a Go map takes, finds and gives back in a second, when each is copied into memory of its own.
func goMapRate(src []byte, n int) float64 {
	m := map[ID]*[64]byte{}
	start := time.Now()
	for i := range n {
		v := new([64]byte)
		copy(v[:], src)
		m[ID{slot: uint32(i)}] = v
	}
	for i := range n {
		sink = m[ID{slot: uint32(i)}][0]
	}
	for i := range n {
		delete(m, ID{slot: uint32(i)})
	}
	return 3 * float64(n) / time.Since(start).Seconds()
}

// bookkeeping is what an object costs besides its contents.
const bookkeeping = slotSize + unsafe.Sizeof(record{})
