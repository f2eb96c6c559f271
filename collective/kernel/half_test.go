// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// valueOf16 is the definition: a fraction of 10 bits times a power of two.
func valueOf16(h Float16) float64 {
	sign, exponent, fraction := 1-2*float64(h>>15), int(h>>10&31), float64(h&1023)
	switch {
	case exponent == 31 && fraction != 0:
		return math.NaN()
	case exponent == 31:
		return math.Inf(int(sign))
	case exponent == 0:
		return math.Copysign(math.Ldexp(fraction, -24), sign)
	default:
		return sign * math.Ldexp(1024+fraction, exponent-25)
	}
}

func TestEveryFloat16ThereAndBack(t *testing.T) {
	for i := range 1 << 16 {
		h := Float16(i)
		want, got := valueOf16(h), float64(h.Float32())
		if math.IsNaN(want) {
			require.True(t, math.IsNaN(got), "%#x", i)
			require.Equal(t, Float16(nan16), NewFloat16(h.Float32()), "%#x", i)
			continue
		}
		require.Equal(t, math.Float64bits(want), math.Float64bits(got), "%#x", i)
		require.Equal(t, h, NewFloat16(h.Float32()), "%#x", i)
	}
}

func TestEveryBFloat16ThereAndBack(t *testing.T) {
	for i := range 1 << 16 {
		b := BFloat16(i)
		require.Equal(t, uint32(i)<<16, math.Float32bits(b.Float32()))
		want := b
		if f := b.Float32(); f != f {
			want = nanB16
		}
		require.Equal(t, want, NewBFloat16(b.Float32()), "%#x", i)
	}
}

// What lies halfway between two neighbours becomes the even one, and what is a little off it the nearer one.
func TestHalvesRoundToTheNearestAndEven(t *testing.T) {
	for i := range 0x7bff { // all finite ones that have a next finite one
		low, high := Float16(i).Float32(), Float16(i+1).Float32()
		middle := low + (high-low)/2
		require.Equal(t, Float16(i+i&1), NewFloat16(middle), "%#x", i)
		require.Equal(t, Float16(i), NewFloat16(math.Nextafter32(middle, 0)), "%#x", i)
		require.Equal(t, Float16(i+1), NewFloat16(math.Nextafter32(middle, 1e9)), "%#x", i)
		require.Equal(t, Float16(i+1)|0x8000, NewFloat16(-math.Nextafter32(middle, 1e9)), "%#x", i)
	}
	for i := range 0x7f7f {
		middle := math.Float32frombits(uint32(i)<<16 | 0x8000)
		require.Equal(t, BFloat16(i+i&1), NewBFloat16(middle), "%#x", i)
		require.Equal(t, BFloat16(i), NewBFloat16(math.Nextafter32(middle, 0)), "%#x", i)
		require.Equal(t, BFloat16(i+1)|0x8000, NewBFloat16(-math.Nextafter32(middle, math.MaxFloat32)), "%#x", i)
	}
	assert.Equal(t, Float16(0x7bff), NewFloat16(math.Nextafter32(65520, 0)))
	assert.Equal(t, Float16(0x7c00), NewFloat16(65520))
	assert.Equal(t, Float16(0xfc00), NewFloat16(float32(math.Inf(-1))))
	assert.Equal(t, Float16(0x7c00), NewFloat16(1e30))
	assert.Equal(t, Float16(0), NewFloat16(0x1p-25))
	assert.Equal(t, Float16(1), NewFloat16(math.Nextafter32(0x1p-25, 1)))
	assert.Equal(t, BFloat16(0x7f80), NewBFloat16(math.MaxFloat32))
	assert.Equal(t, Float16(nan16), NewFloat16(float32(math.NaN())))
}
