// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package kernel_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/kernel"
)

// bytesOf encodes values behind pad bytes, so that the result has any alignment.
func bytesOf[T any](t testing.TB, pad int, values []T) []byte {
	t.Helper()
	b, err := binary.Append(make([]byte, pad), binary.NativeEndian, values)
	require.NoError(t, err)
	return b[pad:]
}

// special are values whose sums show a wrong order of operations or a lost bit.
func special() []float64 {
	return []float64{0, math.Copysign(0, -1), 1, -1, math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, math.Inf(1), math.Inf(-1), math.NaN(), 1e-3, 16777217}
}

func TestSumEqualsTheNaiveLoopBitForBit(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func() float64 {
		if s := special(); rng.IntN(4) == 0 {
			return s[rng.IntN(len(s))]
		}
		return rng.NormFloat64()
	}
	for n := range 70 {
		for pad := range 9 {
			d32, s32 := make([]float32, n), make([]float32, n)
			d64, s64 := make([]float64, n), make([]float64, n)
			want32, want64 := make([]uint32, n), make([]uint64, n)
			for i := range n {
				d64[i], s64[i] = draw(), draw()
				d32[i], s32[i] = float32(d64[i]), float32(s64[i])
				want32[i] = math.Float32bits(d32[i] + s32[i])
				want64[i] = math.Float64bits(d64[i] + s64[i])
			}
			kernel.Sum(d32, bytesOf(t, pad, s32))
			kernel.Sum(d64, bytesOf(t, pad, s64))
			for i := range n {
				require.Equal(t, want32[i], math.Float32bits(d32[i]), "float32 %d of %d, offset %d", i, n, pad)
				require.Equal(t, want64[i], math.Float64bits(d64[i]), "float64 %d of %d, offset %d", i, n, pad)
			}
		}
	}
}

func TestSumLeavesTheRestOfALongerSourceAlone(t *testing.T) {
	dst := []float32{1, 2}
	kernel.Sum(dst, bytesOf(t, 0, []float32{10, 20, 30}))
	assert.Equal(t, []float32{11, 22}, dst)
	assert.Panics(t, func() { kernel.Sum(dst, make([]byte, 7)) })
	assert.Panics(t, func() { kernel.Sum(make([]float64, 1), make([]byte, 7)) })
}

func TestDivRoundsOnce(t *testing.T) {
	d := []float32{1, 2, 7, 0}
	kernel.Div(d, 3)
	assert.Equal(t, []float32{float32(1) / 3, float32(2) / 3, float32(7) / 3, 0}, d)
	f := []float64{1, 7}
	kernel.Div(f, 7)
	assert.Equal(t, []float64{1.0 / 7, 1}, f)
}

// check compares a kernel with what it should do to one element, at all lengths and alignments. Values are equal if they are the
// same bits, or both NaN.
func check[T comparable](t *testing.T, values []T, run func(dst []T, src []byte), want func(a, b T) T) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 1, 2, 3, 4, 5, 7, 8, 31, 255, 256, 257, 700} {
		for pad := range 17 {
			dst, src, wanted := make([]T, n), make([]T, n), make([]T, n)
			for i := range n {
				dst[i], src[i] = values[rng.IntN(len(values))], values[rng.IntN(len(values))]
				wanted[i] = want(dst[i], src[i])
			}
			run(dst, bytesOf(t, pad, src))
			for i := range n {
				nan := dst[i] != dst[i] && wanted[i] != wanted[i]
				if !nan && fmt.Sprint(dst[i]) != fmt.Sprint(wanted[i]) { // Sprint tells 0 from -0
					require.Failf(t, "wrong element", "%T %d of %d, offset %d: %v, want %v", dst[i], i, n, pad, dst[i], wanted[i])
				}
			}
		}
	}
}

func checkIntegers[T int8 | int32 | int64 | uint16 | uint64](t *testing.T) {
	t.Helper()
	top := ^T(0)
	if top < 0 {
		top = T(1)<<(binary.Size(top)*8-1) - 1
	}
	values := []T{0, 1, 2, 3, 7, top, top - 1, ^top, ^T(0), ^T(1), 85}
	check(t, values, kernel.Sum[T], func(a, b T) T { return a + b })
	check(t, values, kernel.Prod[T], func(a, b T) T { return a * b })
	check(t, values, kernel.Min[T], func(a, b T) T { return min(a, b) })
	check(t, values, kernel.Max[T], func(a, b T) T { return max(a, b) })
	check(t, values, kernel.And[T], func(a, b T) T { return a & b })
	check(t, values, kernel.Or[T], func(a, b T) T { return a | b })
	check(t, values, kernel.Xor[T], func(a, b T) T { return a ^ b })
}

func TestIntegersWrapAround(t *testing.T) {
	checkIntegers[int8](t)
	checkIntegers[int32](t)
	checkIntegers[int64](t)
	checkIntegers[uint16](t)
	checkIntegers[uint64](t)
	d := []int8{127}
	kernel.Sum(d, []byte{1})
	assert.Equal(t, []int8{-128}, d)
}

func checkFloats[T float32 | float64](t *testing.T) {
	t.Helper()
	values := make([]T, len(special()))
	for i, v := range special() {
		values[i] = T(v)
	}
	check(t, values, kernel.Prod[T], func(a, b T) T { return a * b })
	nanWins := func(choose func(a, b float64) float64) func(a, b T) T {
		return func(a, b T) T {
			if math.IsNaN(float64(a)) || math.IsNaN(float64(b)) {
				return T(math.NaN())
			}
			return T(choose(float64(a), float64(b)))
		}
	}
	check(t, values, kernel.Min[T], nanWins(math.Min))
	check(t, values, kernel.Max[T], nanWins(math.Max))
}

// math.Min and math.Max let an infinity win over a NaN; the values here must not.
func TestNaNWinsAgainstEverything(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, pair := range [][2]float64{{nan, 1}, {1, nan}, {nan, inf}, {inf, nan}, {nan, -inf}, {-inf, nan}, {nan, nan}} {
		for _, run := range []func([]float64, []byte){kernel.Min[float64], kernel.Max[float64]} {
			d := []float64{pair[0]}
			run(d, bytesOf(t, 0, pair[1:]))
			assert.True(t, math.IsNaN(d[0]), "%v: %v", pair, d)
		}
	}
}

func TestFloatsAreMultipliedAndCompared(t *testing.T) {
	checkFloats[float32](t)
	checkFloats[float64](t)
}

func TestComplexProductsRoundEachStep(t *testing.T) {
	check(t, []complex64{0, 1, 1i, 3 + 4i, -0.1 + 7.3i, 1e-20 - 1e19i}, kernel.ProdComplex64, func(a, b complex64) complex64 {
		ac, bd, ad, bc := real(a)*real(b), imag(a)*imag(b), real(a)*imag(b), imag(a)*real(b)
		return complex(ac-bd, ad+bc)
	})
	check(t, []complex128{0, 1, 1i, 3 + 4i, -0.1 + 7.3i, 1e-20 - 1e190i}, kernel.ProdComplex128, func(a, b complex128) complex128 {
		ac, bd, ad, bc := real(a)*real(b), imag(a)*imag(b), real(a)*imag(b), imag(a)*real(b)
		return complex(ac-bd, ad+bc)
	})
	check(t, []complex64{0, 1, -2i, 0.5 + 0.25i}, kernel.Sum[complex64], func(a, b complex64) complex64 { return a + b })
}

func TestIntegerQuotientsAreTruncatedTowardZero(t *testing.T) {
	d := []int8{-128, -7, -6, -1, 0, 1, 7, 127}
	kernel.DivInteger(d, 3)
	assert.Equal(t, []int8{-42, -2, -2, 0, 0, 0, 2, 42}, d)
	d = []int8{-128, 127}
	kernel.DivInteger(d, 1000) // more than the type holds
	assert.Equal(t, []int8{0, 0}, d)
	u := []uint64{math.MaxUint64, 9}
	kernel.DivInteger(u, 2)
	assert.Equal(t, []uint64{math.MaxInt64, 4}, u)
	w := []uint8{255, 200}
	kernel.DivInteger(w, 250)
	assert.Equal(t, []uint8{1, 0}, w)
}

func BenchmarkMax(b *testing.B) {
	const n = 1 << 18
	src := make([]byte, 8*n)
	b.Run("type=float32", func(b *testing.B) { measure(b, make([]float32, n), src, kernel.Max[float32]) })
	b.Run("type=int64", func(b *testing.B) { measure(b, make([]int64, n), src, kernel.Max[int64]) })
	b.Run("type=int64/unaligned", func(b *testing.B) { measure(b, make([]int64, n-1), src[1:], kernel.Max[int64]) })
}

func measure[T any](b *testing.B, dst []T, src []byte, run func([]T, []byte)) {
	b.Helper()
	b.SetBytes(int64(len(dst) * binary.Size(dst[0])))
	b.ReportAllocs()
	for b.Loop() {
		run(dst, src)
	}
}

func BenchmarkSum(b *testing.B) {
	for _, n := range []int{1 << 10, 1 << 18} {
		src := make([]byte, 8*n)
		b.Run(fmt.Sprintf("type=float32/elements=%d", n), func(b *testing.B) {
			dst := make([]float32, n)
			b.SetBytes(int64(4 * n))
			b.ReportAllocs()
			for b.Loop() {
				kernel.Sum(dst, src)
			}
		})
		b.Run(fmt.Sprintf("type=float64/elements=%d", n), func(b *testing.B) {
			dst := make([]float64, n)
			b.SetBytes(int64(8 * n))
			b.ReportAllocs()
			for b.Loop() {
				kernel.Sum(dst, src)
			}
		})
	}
}

func BenchmarkDiv(b *testing.B) {
	dst := make([]float32, 1<<18)
	b.SetBytes(int64(4 * len(dst)))
	b.ReportAllocs()
	for b.Loop() {
		kernel.Div(dst, 1)
	}
}
