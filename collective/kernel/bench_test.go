// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// Sizes of one operand in bytes. In a cache level two of them fit, beyond the last level none.
const (
	inL1   = 16 << 10
	inL2   = 256 << 10
	beyond = 128 << 20
)

// fastest returns the shortest time that a function took, in seconds, of some tries of at least a hundredth of a second each.
func fastest(run func()) float64 {
	best := 1e9
	for range 5 {
		n, begin := 0, time.Now()
		for n == 0 || time.Since(begin) < 10*time.Millisecond {
			run()
			n++
		}
		best = min(best, time.Since(begin).Seconds()/float64(n))
	}
	return best
}

// filled returns memory that is in use, not the page of zeros.
func filled(n int) []byte { return bytes.Repeat([]byte{0x3c}, n) }

func plainSum[T integer | float](dst, src []T) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] += src[i]
	}
}

// plain is the loop that one writes without this package.
func plain(t Type, dst, src []byte) {
	switch t {
	case F32:
		plainSum(elements[float32](dst), elements[float32](src))
	case F64:
		plainSum(elements[float64](dst), elements[float64](src))
	case I8:
		plainSum(elements[int8](dst), elements[int8](src))
	case I32:
		plainSum(elements[int32](dst), elements[int32](src))
	default:
		panic("no loop for this type")
	}
}

// report adds how many bytes of dst are made in a second, and a ratio.
func report(b *testing.B, run func(), bytes int, ratio float64, unit string) {
	b.Helper()
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	b.ReportMetric(ratio, unit)
}

// BenchmarkSumAgainstThePlainLoop: a += b where it stays in a cache, against a loop without the rule for NaNs, and the code in Go with it. How
// fast the same instructions load two operands and store one, whatever they do with them, is measured with the bitwise and: of-load-store-limit
// is near 1 where the arithmetic costs nothing and the cache is what there is to wait for.
func BenchmarkSumAgainstThePlainLoop(b *testing.B) {
	for _, typ := range []Type{F32, F64, I8, I32} {
		for _, size := range []int{inL1, inL2} {
			for _, set := range sets() {
				b.Run(fmt.Sprintf("type=%v/KiB=%d/code=%s", typ, size>>10, set.name), func(b *testing.B) {
					k, _ := of(Sum, typ, set)
					dst, src := filled(size), filled(size)
					run := func() { k.Combine(dst, src) }
					took := fastest(run)
					report(b, run, size, fastest(func() { plain(typ, dst, src) })/took, "x-plain-loop")
					if set.vector > 0 {
						bare, _ := of(And, U64, set)
						b.ReportMetric(fastest(func() { bare.Combine(dst, src) })/took, "of-load-store-limit")
					}
					b.ReportMetric(fastest(func() { k.foldGo(dst, [][]byte{dst, src}, 0, size) })/took, "x-in-Go")
				})
			}
		}
	}
}

// BenchmarkHalfRate: how many 16-bit floats are summed in the time of a float32, with as many elements in a cache.
func BenchmarkHalfRate(b *testing.B) {
	for _, typ := range []Type{F16, BF16} {
		for _, set := range sets() {
			b.Run(fmt.Sprintf("type=%v/code=%s", typ, set.name), func(b *testing.B) {
				const n = inL2 / 4
				dst, src, wide, other := filled(2*n), filled(2*n), filled(4*n), filled(4*n)
				half, _ := of(Sum, typ, set)
				single, _ := of(Sum, F32, set)
				run := func() { half.Combine(dst, src) }
				report(b, run, 2*n, fastest(func() { single.Combine(wide, other) })/fastest(run), "of-float32-rate")
			})
		}
	}
}

// limits are the shortest times, in seconds, in which this machine was seen to read some memory and to copy it on one core, both by
// code of the Go library: comparing two halves that are the same, and copy, which stores around the caches.
type limits struct{ read, copied float64 }

func (l *limits) measure(from, to []byte) {
	l.read = min(l.read, fastest(func() {
		if !bytes.Equal(from[:len(from)/2], from[len(from)/2:]) {
			panic("halves differ")
		}
	}))
	l.copied = min(l.copied, fastest(func() { copy(to, from) }))
}

// BenchmarkBeyondTheCaches: what memory allows is the time to read all sources but one, and to copy that one, measured beside it. What it allows for
// the same reads and writes in the same order is measured with the bitwise and, beside it too: of-same-mix is near 1 where the arithmetic, and the
// conversion of 16-bit floats, cost nothing.
func BenchmarkBeyondTheCaches(b *testing.B) {
	dst := filled(beyond)
	var srcs [][]byte
	for range 8 {
		srcs = append(srcs, filled(beyond))
	}
	best := limits{1e9, 1e9}
	beside := func(b *testing.B, k Kernel, srcs [][]byte, stream bool) {
		bare, _ := Of(And, U64)
		run, took, same := func() { k.Fold(dst, srcs, stream) }, 1e9, 1e9
		for range 3 {
			best.measure(srcs[1], dst)
			took = min(took, fastest(run))
			same = min(same, fastest(func() { bare.Fold(dst, srcs, stream) }))
		}
		report(b, run, beyond, (float64(len(srcs)-1)*best.read+best.copied)/took, "of-memory-limit")
		b.ReportMetric(same/took, "of-same-mix")
	}
	for _, typ := range []Type{F32, F64, F16, BF16} {
		k, _ := Of(Sum, typ)
		b.Run(fmt.Sprintf("type=%v/into=first/sources=2", typ), func(b *testing.B) {
			beside(b, k, [][]byte{dst, srcs[0]}, false)
		})
		for _, sources := range []int{2, 4, 8} {
			b.Run(fmt.Sprintf("type=%v/into=another/sources=%d", typ, sources), func(b *testing.B) {
				beside(b, k, srcs[:sources], true)
			})
		}
	}
	b.Run("limit=read", func(b *testing.B) { limit(b, best.read) })
	b.Run("limit=copy", func(b *testing.B) { limit(b, best.copied) })
}

func limit(b *testing.B, seconds float64) {
	b.Helper()
	for b.Loop() { // measured before
	}
	b.ReportMetric(beyond/seconds/1e9, "GB/s")
}

// BenchmarkFoldInCache: all sources in one pass against one after the other.
func BenchmarkFoldInCache(b *testing.B) {
	for _, sources := range []int{2, 8, 64} {
		b.Run(fmt.Sprintf("type=f32/sources=%d", sources), func(b *testing.B) {
			k, _ := Of(Sum, F32)
			dst := filled(inL1)
			var srcs [][]byte
			for range sources {
				srcs = append(srcs, filled(inL1))
			}
			run := func() { k.Fold(dst, srcs, false) }
			inTurn := func() {
				copy(dst, srcs[0])
				for _, s := range srcs[1:] {
					k.Combine(dst, s)
				}
			}
			report(b, run, inL1*sources, fastest(inTurn)/fastest(run), "x-one-by-one")
		})
	}
}
