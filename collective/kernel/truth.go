// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

// Truth puts 1 in the place of each element in buf that is not zero, and 0 in that of each that is, which -0 is, and a NaN is not. buf must be
// aligned for the type. Of elements that are 0 or 1, Min is the logical and, Max the logical or. It is not for complex numbers.
func Truth(t Type, buf []byte) {
	switch t {
	case I8, U8:
		truths(elements[uint8](buf), 1)
	case I16, U16:
		truths(elements[uint16](buf), 1)
	case I32, U32:
		truths(elements[uint32](buf), 1)
	case I64, U64:
		truths(elements[uint64](buf), 1)
	case F32:
		truths(elements[float32](buf), 1)
	case F64:
		truths(elements[float64](buf), 1)
	case F16:
		truthsOfHalves(elements[uint16](buf), uint16(NewFloat16(1)))
	case BF16:
		truthsOfHalves(elements[uint16](buf), uint16(NewBFloat16(1)))
	default:
	}
}

func truths[T uint8 | uint16 | uint32 | uint64 | float32 | float64](buf []T, one T) {
	for i, v := range buf {
		if v != 0 {
			v = one
		} else {
			v = 0 // not -0
		}
		buf[i] = v
	}
}

// truthsOfHalves works on the bits of 16-bit floats, the highest of which is the sign.
func truthsOfHalves(buf []uint16, one uint16) {
	for i, v := range buf {
		if v<<1 != 0 {
			v = one
		} else {
			v = 0
		}
		buf[i] = v
	}
}
