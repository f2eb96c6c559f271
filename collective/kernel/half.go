// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import "math"

// Float16 is a number of IEEE 754 binary16, as its bits: 1 of sign, 5 of exponent, 10 of fraction. It has no arithmetic of
// its own: + on it adds the bits.
type Float16 uint16

// BFloat16 is the upper half of a float32, as its bits: 1 of sign, 8 of exponent, 7 of fraction. It has no arithmetic of its
// own: + on it adds the bits.
type BFloat16 uint16

// The bits of the NaN that every reduction makes, whatever NaNs went in: quiet, positive, without a payload.
const (
	nan16  = 0x7e00
	nanB16 = 0x7fc0
	nan32  = 0x7fc00000
	nan64  = 0x7ff8000000000000
)

// NewFloat16 returns the nearest Float16, of two that are as near the even one. What is nearer to 65536 than to 65504, the largest
// finite one, becomes an infinity; a NaN becomes the quiet, positive NaN without a payload.
func NewFloat16(f float32) Float16 {
	bits := math.Float32bits(f)
	sign := Float16(bits >> 16 & 0x8000)
	bits &= 0x7fffffff
	switch {
	case bits > 0x7f800000:
		return nan16
	case bits >= 0x47800000: // 65536
		return sign | 0x7c00
	case bits < 0x38800000: // 2^-14, the smallest normal one: let the addition round at the place of the last bit, 2^-24
		return sign | Float16(math.Float32bits(math.Float32frombits(bits)+0.5)-0x3f000000)
	default:
		bits += 0xfff + bits>>13&1 - (127-15)<<23 // may carry into the exponent, and up to infinity
		return sign | Float16(bits>>13)
	}
}

// Float32 returns the same number, exactly. A NaN stays one.
func (h Float16) Float32() float32 {
	sign, bits := uint32(h&0x8000)<<16, uint32(h&0x7fff)<<13
	if bits >= 0x1f<<23 { // infinity or NaN
		return math.Float32frombits(sign | bits | 0x7f800000)
	}
	const scale = 1 << (127 - 15) // the product is exact, also where the float16 is subnormal
	return math.Float32frombits(sign | math.Float32bits(math.Float32frombits(bits)*scale))
}

// NewBFloat16 returns the nearest BFloat16, of two that are as near the even one. What is beyond the largest finite one by half
// a step or more becomes an infinity; a NaN becomes the quiet, positive NaN without a payload.
func NewBFloat16(f float32) BFloat16 {
	bits := math.Float32bits(f)
	if f != f {
		return nanB16
	}
	return BFloat16((bits + 0x7fff + bits>>16&1) >> 16)
}

// Float32 returns the same number, exactly. A NaN stays one.
func (b BFloat16) Float32() float32 { return math.Float32frombits(uint32(b) << 16) }
