// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// The reductions in Go. What assembly does must be the same to the last bit.

type integer interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

type float interface{ float32 | float64 }

// tile is how many bytes are reduced over all sources before the next ones, so that they stay in the first cache.
const tile = 4 << 10

// foldGo is Fold for the bytes of dst from one place to another, which must be whole elements.
func (k Kernel) foldGo(dst []byte, srcs [][]byte, from, to int) {
	for from < to {
		end := min(from+tile, to)
		if d := dst[from:end]; k.typ.isHalf() {
			k.foldHalf(d, srcs, from)
		} else {
			if s := srcs[0][from:end]; &s[0] != &d[0] {
				copy(d, s)
			}
			for _, s := range srcs[1:] {
				k.combineGo(d, s[from:end])
			}
		}
		from = end
	}
}

func (k Kernel) foldHalf(dst []byte, srcs [][]byte, from int) {
	var sums, next [tile / 2]float32
	n := len(dst) / 2
	widen(k.typ, sums[:n], srcs[0][from:])
	for _, s := range srcs[1:] {
		widen(k.typ, next[:n], s[from:])
		combineFloats(k.op, sums[:n], next[:n])
	}
	narrow(k.typ, dst, sums[:n])
}

func (k Kernel) combineGo(dst, src []byte) {
	switch k.typ {
	case I8:
		onIntegers[int8](k.op, dst, src)
	case I16:
		onIntegers[int16](k.op, dst, src)
	case I32:
		onIntegers[int32](k.op, dst, src)
	case I64:
		onIntegers[int64](k.op, dst, src)
	case U8:
		onIntegers[uint8](k.op, dst, src)
	case U16:
		onIntegers[uint16](k.op, dst, src)
	case U32:
		onIntegers[uint32](k.op, dst, src)
	case U64:
		onIntegers[uint64](k.op, dst, src)
	case F32:
		floatsIn[float32](k.op, dst, src)
	case F64:
		floatsIn[float64](k.op, dst, src)
	case C64:
		onComplex64(k.op, dst, src)
	case C128:
		onComplex128(k.op, dst, src)
	default:
		panic("kernel: the zero Kernel was used")
	}
}

// elements makes elements of memory that is aligned for them.
func elements[T any](b []byte) []T {
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(zero)))
}

// aligned returns the first elements in src: all where it is aligned for them, else as many as a copy has room for.
func aligned[T any](src []byte, room *[64]T) (part []T, rest []byte) {
	if uintptr(unsafe.Pointer(unsafe.SliceData(src)))%unsafe.Alignof(room[0]) == 0 {
		return elements[T](src), nil
	}
	size := int(unsafe.Sizeof(room[0]))
	n := copy(unsafe.Slice((*byte)(unsafe.Pointer(room)), size*len(room)), src)
	return room[:n/size], src[n:]
}

func onIntegers[T integer](op Op, dst, src []byte) {
	var room [64]T
	for d := elements[T](dst); len(d) > 0; {
		var part []T
		part, src = aligned(src, &room)
		combineIntegers(op, d, part)
		d = d[len(part):]
	}
}

func combineIntegers[T integer](op Op, dst, src []T) {
	dst = dst[:len(src)] // no checks of bounds below
	switch op {
	case Sum:
		for i, v := range src {
			dst[i] += v
		}
	case Prod:
		for i, v := range src {
			dst[i] *= v
		}
	case Min:
		for i, v := range src {
			dst[i] = min(dst[i], v)
		}
	case Max:
		for i, v := range src {
			dst[i] = max(dst[i], v)
		}
	case And:
		for i, v := range src {
			dst[i] &= v
		}
	case Or:
		for i, v := range src {
			dst[i] |= v
		}
	default:
		for i, v := range src {
			dst[i] ^= v
		}
	}
}

// theNaN returns the one that every reduction makes.
func theNaN[T float]() T { return T(math.Float64frombits(nan64)) }

func floatsIn[T float](op Op, dst, src []byte) {
	var room [64]T
	for d := elements[T](dst); len(d) > 0; {
		var part []T
		part, src = aligned(src, &room)
		combineFloats(op, d, part)
		d = d[len(part):]
	}
}

func combineFloats[T float](op Op, dst, src []T) {
	dst = dst[:len(src)]
	nan := theNaN[T]()
	switch op {
	case Sum:
		sumFloats(dst, src)
	case Prod:
		for i, v := range src {
			if v *= dst[i]; v != v {
				v = nan
			}
			dst[i] = v
		}
	case Min:
		for i, v := range src {
			if v = min(dst[i], v); v != v {
				v = nan
			}
			dst[i] = v
		}
	default:
		for i, v := range src {
			if v = max(dst[i], v); v != v {
				v = nan
			}
			dst[i] = v
		}
	}
}

func sumFloats[T float](dst, src []T) {
	dst = dst[:len(src)]
	nan := theNaN[T]()
	for i, v := range src {
		if v += dst[i]; v != v {
			v = nan
		}
		dst[i] = v
	}
}

// or returns v, or nan if v is one.
func or[T float](v, nan T) T {
	if v != v {
		return nan
	}
	return v
}

func onComplex64(op Op, dst, src []byte) {
	if op == Sum { // of the parts
		floatsIn[float32](op, dst, src)
		return
	}
	var room [64]complex64
	for d := elements[complex64](dst); len(d) > 0; {
		var part []complex64
		part, src = aligned(src, &room)
		prodComplex64(d, part)
		d = d[len(part):]
	}
}

func onComplex128(op Op, dst, src []byte) {
	if op == Sum { // of the parts
		floatsIn[float64](op, dst, src)
		return
	}
	var room [64]complex128
	for d := elements[complex128](dst); len(d) > 0; {
		var part []complex128
		part, src = aligned(src, &room)
		prodComplex128(d, part)
		d = d[len(part):]
	}
}

// prodComplex64 multiplies by the schoolbook formula, each product and sum rounded to float32.
func prodComplex64(dst, src []complex64) {
	dst = dst[:len(src)]
	nan := theNaN[float32]()
	for i, v := range src {
		a, b, c, d := real(dst[i]), imag(dst[i]), real(v), imag(v)
		dst[i] = complex(or(float32(a*c)-float32(b*d), nan), or(float32(a*d)+float32(b*c), nan)) // a conversion forbids to fuse
	}
}

// prodComplex128 multiplies by the schoolbook formula, each product and sum rounded to float64.
func prodComplex128(dst, src []complex128) {
	dst = dst[:len(src)]
	nan := theNaN[float64]()
	for i, v := range src {
		a, b, c, d := real(dst[i]), imag(dst[i]), real(v), imag(v)
		dst[i] = complex(or(float64(a*c)-float64(b*d), nan), or(float64(a*d)+float64(b*c), nan)) // a conversion forbids to fuse
	}
}

// widen makes float32 of the 16-bit floats in src, which may have any alignment.
func widen(t Type, dst []float32, src []byte) {
	src = src[:2*len(dst)]
	if t == F16 {
		for i := range dst {
			dst[i] = Float16(binary.NativeEndian.Uint16(src[2*i:])).Float32()
		}
		return
	}
	for i := range dst {
		dst[i] = BFloat16(binary.NativeEndian.Uint16(src[2*i:])).Float32()
	}
}

// narrow rounds float32 to 16-bit floats.
func narrow(t Type, dst []byte, src []float32) {
	if t == F16 {
		d := elements[Float16](dst)[:len(src)]
		for i, v := range src {
			d[i] = NewFloat16(v)
		}
		return
	}
	d := elements[BFloat16](dst)[:len(src)]
	for i, v := range src {
		d[i] = NewBFloat16(v)
	}
}
