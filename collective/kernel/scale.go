// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import "math"

// Scale multiplies each element in buf, which must be aligned for the type, by x, rounded to the type first, to float32 for 16-bit floats
// and to that of the parts for complex numbers. For integers x must be a whole number between -2^53 and 2^53; they wrap around.
func Scale(t Type, buf []byte, x float64) { scaleWith(t, buf, x, best) }

func scaleWith(t Type, buf []byte, x float64, set instructions) {
	switch t {
	case I8, U8:
		scaleIntegers(elements[uint8](buf), x)
	case I16, U16:
		scaleIntegers(elements[uint16](buf), x)
	case I32, U32:
		scaleIntegers(elements[uint32](buf), x)
	case I64, U64:
		scaleIntegers(elements[uint64](buf), x)
	default:
		perFloat(scale, t, buf, x, set)
	}
}

// scaleIntegers does the same to signed and unsigned ones, for they wrap around.
func scaleIntegers[T uint8 | uint16 | uint32 | uint64](buf []T, x float64) {
	by := T(int64(x))
	for i := range buf {
		buf[i] *= by
	}
}

// Div divides each element in buf, which must be aligned for the type, by by, which must be positive and may be more than the type
// holds. Integers are truncated toward zero, floats rounded, 16-bit ones from a quotient in float32. It is not for complex numbers.
func Div(t Type, buf []byte, by int) { divWith(t, buf, by, best) }

func divWith(t Type, buf []byte, by int, set instructions) {
	switch t {
	case I8:
		divSigned(elements[int8](buf), by)
	case I16:
		divSigned(elements[int16](buf), by)
	case I32:
		divSigned(elements[int32](buf), by)
	case I64:
		divSigned(elements[int64](buf), by)
	case U8:
		divUnsigned(elements[uint8](buf), by)
	case U16:
		divUnsigned(elements[uint16](buf), by)
	case U32:
		divUnsigned(elements[uint32](buf), by)
	case U64:
		divUnsigned(elements[uint64](buf), by)
	default:
		perFloat(quotient, t, buf, float64(by), set)
	}
}

func divSigned[T int8 | int16 | int32 | int64](buf []T, by int) {
	for i, v := range buf {
		buf[i] = T(int64(v) / int64(by))
	}
}

func divUnsigned[T uint8 | uint16 | uint32 | uint64](buf []T, by int) {
	for i, v := range buf {
		buf[i] = T(uint64(v) / uint64(by))
	}
}

// perFloat does the same to all floats in buf, with the second operand x.
func perFloat(op Op, t Type, buf []byte, x float64, set instructions) {
	switch t { // the parts of complex numbers are floats
	case C64:
		t = F32
	case C128:
		t = F64
	default:
	}
	bits := uint64(math.Float32bits(float32(x)))
	if t == F64 {
		bits = math.Float64bits(x)
	}
	srcs := [1][]byte{buf}
	rest := buf[set.unit(op, t).run(buf, srcs[:], 0, bits):]
	if t == F64 {
		scaleFloats(op, elements[float64](rest), x)
		return
	}
	if t == F32 {
		scaleFloats(op, elements[float32](rest), float32(x))
		return
	}
	var wide [tile / 2]float32
	for len(rest) > 0 {
		n := min(len(rest)/2, len(wide))
		widen(t, wide[:n], rest)
		scaleFloats(op, wide[:n], float32(x))
		narrow(t, rest, wide[:n])
		rest = rest[2*n:]
	}
}

func scaleFloats[T float](op Op, buf []T, x T) {
	nan := theNaN[T]()
	if op == scale {
		for i, v := range buf {
			buf[i] = or(v*x, nan)
		}
		return
	}
	for i, v := range buf {
		buf[i] = or(v/x, nan)
	}
}
