// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"fmt"
	"slices"
	"testing"
	"time"

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
					b.ReportMetric(float64(copying)/float64(putting), "of-copy") // asked of 64 MiB: 0.85
				}
			})
		}
	}
}

func BenchmarkCreateSeal(b *testing.B) {
	for _, size := range []int{64, 64 << 10, 64 << 20, 1 << 30} {
		b.Run(sizeName(size), func(b *testing.B) {
			s := openStore(b, storeDir(b), Limit(8<<30))
			first, err := s.Create(size) // so that the store has the memory: the system has to clear it, which takes longer the larger it is
			noError(b, err)
			first.Abort()
			b.ReportAllocs()
			for b.Loop() {
				w, err := s.Create(size)
				noError(b, err)
				o, err := w.Seal()
				noError(b, err)
				o.Release()
				noError(b, s.Delete(o.ID()))
			}
			reportTimes(b, perLoop(b), 2*time.Microsecond, mapFloor(b, size))
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
				reportTimes(b, perLoop(b), time.Microsecond, handleFloor())
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
	rate := float64(b.N) * 3 * n / b.Elapsed().Seconds()
	b.ReportMetric(rate, "calls/s")
	b.ReportMetric(500_000/rate, "of-asked")
	b.ReportMetric(goMapRate(src, n)/rate, "x-floor")
	b.ReportMetric(float64(bookkeeping), "overhead-B/object")
	b.ReportMetric(float64(bookkeeping)/128, "overhead-of-asked")
}

// BenchmarkFirstGet is the first read from another store, its first byte included: of anything of that owner, or, with
// attached=true, of another segment of it. The figure is the median by the clock around the read, for stopping the
// benchmark's own timer stops the world and leaves cold caches.
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
			var times []time.Duration
			for b.Loop() {
				from, err := Open(dir)
				noError(b, err)
				if attached {
					got, err := from.Get(other.ID())
					noError(b, err)
					got.Release()
				}
				start := time.Now()
				got, err := from.Get(o.ID())
				noError(b, err)
				sink = got.Buffer(0)[0]
				times = append(times, time.Since(start))
				got.Release()
				noError(b, from.Close())
			}
			slices.Sort(times)
			median := times[len(times)/2]
			b.ReportMetric(float64(median), "median-ns")
			b.ReportMetric(0, "ns/op") // it would include opening and closing
			names := []string{metaName(s.number), segmentName(s.number, s.space.find(s.records.find(o.id.slot).span.seg).num)}
			if attached {
				names = names[1:]
			}
			reportTimes(b, median, 30*time.Microsecond, openFloor(b, s.dir.fd, names...))
		})
	}
}

var sink byte
