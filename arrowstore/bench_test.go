// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func sizeName(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("size=%dMiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("size=%dKiB", n>>10)
	}
	return fmt.Sprintf("size=%dB", n)
}

// BenchmarkCopyFresh is the machine's own limit for Put: copy into memory that was never touched.
func BenchmarkCopyFresh(b *testing.B) {
	for _, size := range []int{1 << 20, 64 << 20} {
		b.Run(sizeName(size), func(b *testing.B) {
			src := filled(size)
			b.SetBytes(int64(size))
			for b.Loop() {
				dst, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
				require.NoError(b, err)
				copy(dst, src)
				b.StopTimer()
				require.NoError(b, unix.Munmap(dst))
				b.StartTimer()
			}
		})
	}
}

func filled(size int) []byte {
	src := make([]byte, size)
	for i := range src {
		src[i] = byte(i)
	}
	return src
}

// BenchmarkPut puts and deletes, so that memory is used again; first=true puts into memory that was never used.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{64, 4 << 10, 64 << 10, 1 << 20, 64 << 20} {
		for _, first := range []bool{false, true} {
			if first && size < 1<<20 {
				continue
			}
			b.Run(fmt.Sprintf("%s/first=%t", sizeName(size), first), func(b *testing.B) {
				s := openStore(b, storeDir(b), Limit(4<<30))
				src := filled(size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					o, err := s.Put(src)
					require.NoError(b, err)
					b.StopTimer()
					o.Release()
					require.NoError(b, s.Delete(o.ID()))
					if first {
						s.mu.Lock()
						s.space.trim(1<<40, span{})
						s.mu.Unlock()
					}
					b.StartTimer()
				}
			})
		}
	}
}

func BenchmarkCreateSeal(b *testing.B) {
	for _, size := range []int{64, 64 << 10, 64 << 20} {
		b.Run(sizeName(size), func(b *testing.B) {
			s := openStore(b, storeDir(b), Limit(4<<30))
			b.ReportAllocs()
			for b.Loop() {
				w, err := s.Create(size)
				require.NoError(b, err)
				o, err := w.Seal()
				require.NoError(b, err)
				o.Release()
				require.NoError(b, s.Delete(o.ID()))
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
				require.NoError(b, err)
				defer o.Release()
				b.ReportAllocs()
				for b.Loop() {
					got, err := from.Get(o.ID())
					require.NoError(b, err)
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
			require.NoError(b, err)
			ids[i] = o.ID()
			o.Release()
		}
		for _, id := range ids {
			o, err := s.Get(id)
			require.NoError(b, err)
			o.Release()
		}
		for _, id := range ids {
			require.NoError(b, s.Delete(id))
		}
	}
	b.ReportMetric(float64(b.N)*3*n/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64(slotSize)+float64(unsafe.Sizeof(record{})), "overhead-B/object")
}

// BenchmarkFirstGet is the first read of an object from another store: known owner, segment not mapped yet.
func BenchmarkFirstGet(b *testing.B) {
	dir := storeDir(b)
	s := openStore(b, dir, Limit(4<<30))
	o, err := s.Put(filled(1 << 20))
	require.NoError(b, err)
	defer o.Release()
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		from, err := Open(dir)
		require.NoError(b, err)
		b.StartTimer()
		got, err := from.Get(o.ID())
		require.NoError(b, err)
		sink = got.Buffer(0)[0]
		b.StopTimer()
		got.Release()
		require.NoError(b, from.Close())
		b.StartTimer()
	}
}

var sink byte
