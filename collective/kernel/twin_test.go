// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func memory[T any](s []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(*new(T))))
}

// typeOf returns the name of a Go type.
func typeOf[T any]() Type {
	switch any(*new(T)).(type) {
	case int8:
		return I8
	case int16:
		return I16
	case int32:
		return I32
	case int64:
		return I64
	case uint8:
		return U8
	case uint16:
		return U16
	case uint32:
		return U32
	case uint64:
		return U64
	case Float16:
		return F16
	case BFloat16:
		return BF16
	case float32:
		return F32
	case float64:
		return F64
	case complex64:
		return C64
	default:
		return C128
	}
}

// check compares a reduction, in Go and in assembly, with what it should do to one element.
func check[T comparable](t *testing.T, op Op, values []T, want func(a, b T) T) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	for _, set := range sets() {
		k, ok := of(op, typeOf[T](), set)
		require.True(t, ok)
		for _, n := range []int{0, 1, 2, 3, 31, 257, 700} {
			for pad := range 9 {
				dst, src, wanted := make([]T, n), make([]T, n), make([]T, n)
				for i := range n {
					dst[i], src[i] = values[rng.IntN(len(values))], values[rng.IntN(len(values))]
					wanted[i] = want(dst[i], src[i])
				}
				k.Combine(memory(dst), shifted(memory(src), pad))
				for i := range n {
					if !bytes.Equal(memory(dst[i:i+1]), memory(wanted[i:i+1])) {
						require.Failf(t, "wrong element", "%s: %v %T %d of %d, offset %d: %v, want %v", set.name, op, dst[i], i, n, pad, dst[i], wanted[i])
					}
				}
			}
		}
	}
}

func checkIntegers[T integer](t *testing.T) {
	t.Helper()
	top := ^T(0)
	if top < 0 {
		top = T(1)<<(unsafe.Sizeof(top)*8-1) - 1
	}
	values := []T{0, 1, 2, 3, 7, top, top - 1, ^top, ^T(0), ^T(1), 85}
	check(t, Sum, values, func(a, b T) T { return a + b })
	check(t, Prod, values, func(a, b T) T { return a * b })
	check(t, Min, values, func(a, b T) T { return min(a, b) })
	check(t, Max, values, func(a, b T) T { return max(a, b) })
	check(t, And, values, func(a, b T) T { return a & b })
	check(t, Or, values, func(a, b T) T { return a | b })
	check(t, Xor, values, func(a, b T) T { return a ^ b })
}

func TestIntegersWrapAround(t *testing.T) {
	checkIntegers[int8](t)
	checkIntegers[int16](t)
	checkIntegers[int32](t)
	checkIntegers[int64](t)
	checkIntegers[uint8](t)
	checkIntegers[uint16](t)
	checkIntegers[uint32](t)
	checkIntegers[uint64](t)
	d := []int8{127}
	k, _ := Of(Sum, I8)
	k.Combine(memory(d), []byte{1})
	assert.Equal(t, []int8{-128}, d)
}

// special are values in which a wrong order of operations or a lost bit shows.
func special() []float64 {
	return []float64{
		0, math.Copysign(0, -1), 1, -1, math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, math.Inf(1), math.Inf(-1),
		math.NaN(), 1e-3, 16777217, 0.1, -7.3, 1e-40,
	}
}

// byNumber calculates in float64, as which the operands are exact.
func byNumber(op Op, a, b float64) float64 {
	switch {
	case op == Sum:
		return a + b
	case op == Prod:
		return a * b
	case math.IsNaN(a) || math.IsNaN(b):
		return math.NaN()
	case op == Min:
		return math.Min(a, b)
	default:
		return math.Max(a, b)
	}
}

func TestFloatsRoundOnceAndNaNWins(t *testing.T) {
	var values32 []float32
	var values16 []Float16
	var valuesB16 []BFloat16
	for _, v := range special() {
		values32, values16, valuesB16 = append(values32, float32(v)), append(values16, NewFloat16(float32(v))), append(valuesB16, NewBFloat16(float32(v)))
	}
	for _, op := range []Op{Sum, Prod, Min, Max} {
		check(t, op, special(), func(a, b float64) float64 {
			return or(byNumber(op, a, b), theNaN[float64]())
		})
		check(t, op, values32, func(a, b float32) float32 { // the result in float64 is exact, or rounds to the same
			return or(float32(byNumber(op, float64(a), float64(b))), theNaN[float32]())
		})
		check(t, op, values16, func(a, b Float16) Float16 {
			return NewFloat16(float32(byNumber(op, float64(a.Float32()), float64(b.Float32()))))
		})
		check(t, op, valuesB16, func(a, b BFloat16) BFloat16 {
			return NewBFloat16(float32(byNumber(op, float64(a.Float32()), float64(b.Float32()))))
		})
	}
}

// 2048 and 1 are 2048 in float16, where the next number is 2050; in float32 all ones count.
func TestHalvesAreSummedInFloat32(t *testing.T) {
	for _, set := range sets() {
		k, _ := of(Sum, F16, set)
		for _, n := range []int{1, 40, 200} {
			var srcs [][]byte
			for i := range 9 {
				s := make([]Float16, n)
				for j := range s {
					s[j] = NewFloat16([]float32{2048, 1}[min(i, 1)])
				}
				srcs = append(srcs, memory(s))
			}
			dst := make([]Float16, n)
			k.Fold(memory(dst), srcs, false)
			for _, v := range dst {
				require.Equal(t, NewFloat16(2056), v, set.name)
			}
		}
	}
}

func TestComplexProductsRoundEachStep(t *testing.T) {
	check(t, Prod, []complex64{0, 1, 1i, 3 + 4i, -0.1 + 7.3i, 1e-20 - 1e19i}, func(a, b complex64) complex64 {
		return complex(float32(real(a)*real(b))-float32(imag(a)*imag(b)), float32(real(a)*imag(b))+float32(imag(a)*real(b))) // a conversion forbids to fuse
	})
	check(t, Prod, []complex128{0, 1, 1i, 3 + 4i, -0.1 + 7.3i, 1e-20 - 1e190i}, func(a, b complex128) complex128 {
		return complex(float64(real(a)*real(b))-float64(imag(a)*imag(b)), float64(real(a)*imag(b))+float64(imag(a)*real(b))) // a conversion forbids to fuse
	})
	check(t, Sum, []complex64{0, 1, -2i, 0.5 + 0.25i}, func(a, b complex64) complex64 { return a + b })
	check(t, Sum, []complex128{0, 1, -2i, 0.1 + 0.25i}, func(a, b complex128) complex128 { return a + b })
}

func checkScale[T comparable](t *testing.T, values []T, factor float64, by int, times, over func(v T) T) {
	t.Helper()
	for _, set := range sets() {
		for _, n := range []int{1, 15, 16, 700} {
			scaled, divided := make([]T, n), make([]T, n)
			for i := range n {
				scaled[i], divided[i] = values[i%len(values)], values[i%len(values)]
			}
			scaleWith(typeOf[T](), memory(scaled), factor, set)
			if over != nil {
				divWith(typeOf[T](), memory(divided), by, set)
			}
			for i := range n {
				v := values[i%len(values)]
				require.Equal(t, fmt.Sprint(times(v)), fmt.Sprint(scaled[i]), "%s: %v times %v", set.name, v, factor)
				if over != nil {
					require.Equal(t, fmt.Sprint(over(v)), fmt.Sprint(divided[i]), "%s: %v over %d", set.name, v, by)
				}
			}
		}
	}
}

func TestFactorsAndQuotientsRoundOnce(t *testing.T) {
	const x, by = 0.3, 7
	checkScale(t, special(), x, by, func(v float64) float64 { return v * x }, func(v float64) float64 { return v / by })
	var values32 []float32
	var values16 []Float16
	var valuesB16 []BFloat16
	for _, v := range special() {
		values32, values16, valuesB16 = append(values32, float32(v)), append(values16, NewFloat16(float32(v))), append(valuesB16, NewBFloat16(float32(v)))
	}
	checkScale(t, values32, x, by, func(v float32) float32 { return v * float32(x) }, func(v float32) float32 { return v / by })
	checkScale(t, values16, x, by,
		func(v Float16) Float16 { return NewFloat16(v.Float32() * float32(x)) },
		func(v Float16) Float16 { return NewFloat16(v.Float32() / by) })
	checkScale(t, valuesB16, x, by,
		func(v BFloat16) BFloat16 { return NewBFloat16(v.Float32() * float32(x)) },
		func(v BFloat16) BFloat16 { return NewBFloat16(v.Float32() / by) })
	checkScale(t, []complex64{1 + 2i, -3i}, 2, 0, func(v complex64) complex64 { return 2 * v }, nil)
	checkScale(t, []complex128{1 + 2i, -3i}, 2, 0, func(v complex128) complex128 { return 2 * v }, nil)
}

func TestIntegersAreScaledAndDivided(t *testing.T) {
	checkScale(t, []int8{-128, -7, -6, -1, 0, 1, 7, 127}, -3, 3, func(v int8) int8 { return -3 * v }, func(v int8) int8 { return v / 3 })
	checkScale(t, []int8{-128, 127}, 0, 1000, func(int8) int8 { return 0 }, func(int8) int8 { return 0 }) // more than the type holds
	checkScale(t, []int16{-32768, 9, -9}, 5, 2, func(v int16) int16 { return 5 * v }, func(v int16) int16 { return v / 2 })
	checkScale(t, []int32{math.MinInt32, 9}, 5, 2, func(v int32) int32 { return 5 * v }, func(v int32) int32 { return v / 2 })
	checkScale(t, []int64{math.MinInt64, 9}, -1, 2, func(v int64) int64 { return -v }, func(v int64) int64 { return v / 2 })
	checkScale(t, []uint8{255, 200}, 2, 250, func(v uint8) uint8 { return 2 * v }, func(v uint8) uint8 { return v / 250 })
	checkScale(t, []uint16{65535, 200}, 2, 250, func(v uint16) uint16 { return 2 * v }, func(v uint16) uint16 { return v / 250 })
	checkScale(t, []uint32{math.MaxUint32}, 3, 250, func(v uint32) uint32 { return 3 * v }, func(v uint32) uint32 { return v / 250 })
	checkScale(t, []uint64{math.MaxUint64, 9}, 3, 2, func(v uint64) uint64 { return 3 * v }, func(v uint64) uint64 { return v / 2 })
}
