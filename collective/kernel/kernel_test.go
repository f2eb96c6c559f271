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

func TestAddEqualsTheNaiveLoopBitForBit(t *testing.T) {
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
			kernel.AddFloat32(d32, bytesOf(t, pad, s32))
			kernel.AddFloat64(d64, bytesOf(t, pad, s64))
			for i := range n {
				require.Equal(t, want32[i], math.Float32bits(d32[i]), "float32 %d of %d, offset %d", i, n, pad)
				require.Equal(t, want64[i], math.Float64bits(d64[i]), "float64 %d of %d, offset %d", i, n, pad)
			}
		}
	}
}

func TestAddLeavesTheRestOfALongerSourceAlone(t *testing.T) {
	dst := []float32{1, 2}
	kernel.AddFloat32(dst, bytesOf(t, 0, []float32{10, 20, 30}))
	assert.Equal(t, []float32{11, 22}, dst)
	assert.Panics(t, func() { kernel.AddFloat32(dst, make([]byte, 7)) })
	assert.Panics(t, func() { kernel.AddFloat64(make([]float64, 1), make([]byte, 7)) })
}

func TestDivRoundsOnce(t *testing.T) {
	d := []float32{1, 2, 7, 0}
	kernel.Div(d, 3)
	assert.Equal(t, []float32{float32(1) / 3, float32(2) / 3, float32(7) / 3, 0}, d)
	f := []float64{1, 7}
	kernel.Div(f, 7)
	assert.Equal(t, []float64{1.0 / 7, 1}, f)
}

func BenchmarkAdd(b *testing.B) {
	for _, n := range []int{1 << 10, 1 << 18} {
		src := make([]byte, 8*n)
		b.Run(fmt.Sprintf("type=float32/elements=%d", n), func(b *testing.B) {
			dst := make([]float32, n)
			b.SetBytes(int64(4 * n))
			b.ReportAllocs()
			for b.Loop() {
				kernel.AddFloat32(dst, src)
			}
		})
		b.Run(fmt.Sprintf("type=float64/elements=%d", n), func(b *testing.B) {
			dst := make([]float64, n)
			b.SetBytes(int64(8 * n))
			b.ReportAllocs()
			for b.Loop() {
				kernel.AddFloat64(dst, src)
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
