// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"golang.org/x/sys/unix"
)

// noError is require.NoError without the 200 ns that it takes to name a failing line.
func noError(b *testing.B, err error) {
	if err != nil {
		b.Fatal(err)
	}
}

func sizeName(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("size=%dMiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("size=%dKiB", n>>10)
	}
	return fmt.Sprintf("size=%dB", n)
}

// copyFresh copies src into memory that was never touched, and returns how long that took.
func copyFresh(b *testing.B, src []byte) time.Duration {
	b.Helper()
	dst, err := unix.Mmap(-1, 0, len(src), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	noError(b, err)
	start := time.Now()
	copy(dst, src)
	took := time.Since(start)
	noError(b, unix.Munmap(dst))
	return took
}

func filled(size int) []byte {
	src := make([]byte, size)
	for i := range src {
		src[i] = byte(i)
	}
	return src
}

// BenchmarkPut puts and deletes, so that memory is used again; with memory=fresh it is given back in between and got
// anew from the system. of-copy compares with copying into fresh memory in the same run: 1 is the same speed.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{64, 4 << 10, 64 << 10, 1 << 20, 64 << 20} {
		for _, from := range []string{"reused", "fresh"} {
			if from == "fresh" && size < 1<<20 {
				continue
			}
			b.Run(fmt.Sprintf("%s/memory=%s", sizeName(size), from), func(b *testing.B) {
				s := openStore(b, storeDir(b), Limit(4<<30))
				src := filled(size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				var copying, putting time.Duration
				for b.Loop() {
					start := time.Now()
					o, err := s.Put(src)
					putting += time.Since(start)
					noError(b, err)
					if size < 1<<20 {
						o.Release()
						noError(b, s.Delete(o.ID()))
						continue
					}
					b.StopTimer()
					o.Release()
					noError(b, s.Delete(o.ID()))
					if from == "fresh" {
						s.mu.Lock()
						s.space.trim(1<<40, span{})
						s.mu.Unlock()
					}
					copying += copyFresh(b, src)
					b.StartTimer()
				}
				if copying > 0 {
					b.ReportMetric(float64(copying)/float64(putting), "of-copy")
				}
			})
		}
	}
}

func BenchmarkCreateSeal(b *testing.B) {
	for _, size := range []int{64, 64 << 10, 64 << 20, 1 << 30} {
		b.Run(sizeName(size), func(b *testing.B) {
			s := openStore(b, storeDir(b), Limit(8<<30))
			b.ReportAllocs()
			for b.Loop() {
				w, err := s.Create(size)
				noError(b, err)
				o, err := w.Seal()
				noError(b, err)
				o.Release()
				noError(b, s.Delete(o.ID()))
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, size := range []int{64, 64 << 20} {
		for _, own := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/own=%t", sizeName(size), own), func(b *testing.B) {
				dir := storeDir(b)
				s := openStore(b, dir, Limit(4<<30))
				from := s
				if !own {
					from = openStore(b, dir)
				}
				o, err := s.Put(make([]byte, size))
				noError(b, err)
				defer o.Release()
				b.ReportAllocs()
				for b.Loop() {
					got, err := from.Get(o.ID())
					noError(b, err)
					got.Release()
				}
			})
		}
	}
}

// BenchmarkSmallObjects puts, gets and deletes a million live objects of 64 bytes; one operation is one of these calls.
func BenchmarkSmallObjects(b *testing.B) {
	const n = 1 << 20
	s := openStore(b, storeDir(b), Limit(4<<30))
	src := filled(64)
	ids := make([]ID, n)
	b.ReportAllocs()
	for b.Loop() {
		for i := range ids {
			o, err := s.Put(src)
			noError(b, err)
			ids[i] = o.ID()
			o.Release()
		}
		for _, id := range ids {
			o, err := s.Get(id)
			noError(b, err)
			o.Release()
		}
		for _, id := range ids {
			noError(b, s.Delete(id))
		}
	}
	b.ReportMetric(float64(b.N)*3*n/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64(slotSize)+float64(unsafe.Sizeof(record{})), "overhead-B/object")
}

// BenchmarkFirstGet is the first read from another store: of anything of that owner, or, with attached=true, of another
// segment of it. The first byte is read, too.
func BenchmarkFirstGet(b *testing.B) {
	for _, attached := range []bool{false, true} {
		b.Run(fmt.Sprintf("attached=%t", attached), func(b *testing.B) {
			dir := storeDir(b)
			s := openStore(b, dir, Limit(4<<30))
			other, err := s.Put([]byte("x"))
			noError(b, err)
			defer other.Release()
			o, err := s.Put(filled(200 << 20)) // in a segment of its own
			noError(b, err)
			defer o.Release()
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				from, err := Open(dir)
				noError(b, err)
				if attached {
					got, err := from.Get(other.ID())
					noError(b, err)
					got.Release()
				}
				b.StartTimer()
				got, err := from.Get(o.ID())
				noError(b, err)
				sink = got.Buffer(0)[0]
				b.StopTimer()
				got.Release()
				noError(b, from.Close())
				b.StartTimer()
			}
		})
	}
}

// BenchmarkPutRecord puts a record that was built in the store: nothing but the description is copied.
func BenchmarkPutRecord(b *testing.B) {
	for _, rows := range []int{100, 1_000_000} {
		for _, built := range []string{"store", "heap"} {
			b.Run(fmt.Sprintf("columns=10/rows=%d/built=%s", rows, built), func(b *testing.B) {
				s := openStore(b, storeDir(b), Limit(8<<30))
				mem := memory.DefaultAllocator
				if built == "store" {
					mem = s.Allocator()
				}
				rec := numbersRecord(mem, 10, rows)
				defer rec.Release()
				b.ReportAllocs()
				for b.Loop() {
					o, err := s.PutRecord(rec)
					noError(b, err)
					o.Release()
					noError(b, s.Delete(o.ID()))
				}
			})
		}
	}
}

func numbersRecord(mem memory.Allocator, columns, rows int) arrow.Record {
	var fields []arrow.Field
	for i := range columns {
		fields = append(fields, arrow.Field{Name: fmt.Sprint("column", i), Type: arrow.PrimitiveTypes.Float64, Nullable: true})
	}
	b := array.NewRecordBuilder(mem, arrow.NewSchema(fields, nil))
	defer b.Release()
	values := make([]float64, rows)
	for _, f := range b.Fields() {
		f.(*array.Float64Builder).AppendValues(values, nil) //nolint:errcheck // they are all of this type
	}
	return b.NewRecord()
}

// BenchmarkSealParts is what the allocator's users pay for a put, whatever the size: one buffer and a description.
func BenchmarkSealParts(b *testing.B) {
	for _, size := range []int{4 << 10, 256 << 20} {
		b.Run(sizeName(size), func(b *testing.B) {
			s := openStore(b, storeDir(b), Limit(4<<30))
			buf := s.Allocator().Allocate(size)
			defer s.Allocator().Free(buf)
			meta := []byte("description")
			b.ReportAllocs()
			for b.Loop() {
				o, err := s.Seal(meta, buf)
				noError(b, err)
				o.Release()
				noError(b, s.Delete(o.ID()))
			}
		})
	}
}

// BenchmarkRecord reopens a record of 100 columns in another store; first=true with its memory not mapped yet.
func BenchmarkRecord(b *testing.B) {
	for _, first := range []bool{false, true} {
		b.Run(fmt.Sprintf("columns=100/first=%t", first), func(b *testing.B) {
			dir := storeDir(b)
			s := openStore(b, dir, Limit(4<<30))
			rec := wideRecord(b, memory.DefaultAllocator, 100, 1000)
			defer rec.Release()
			o, err := s.PutRecord(rec)
			noError(b, err)
			defer o.Release()
			from := openStore(b, dir)
			b.ReportAllocs()
			for b.Loop() {
				if first {
					b.StopTimer()
					from, err = Open(dir)
					noError(b, err)
					b.StartTimer()
				}
				got, err := from.Get(o.ID())
				noError(b, err)
				r, err := from.Record(got)
				noError(b, err)
				got.Release()
				r.Release()
				if first {
					b.StopTimer()
					noError(b, from.Close())
					b.StartTimer()
				}
			}
		})
	}
}

var sink byte
