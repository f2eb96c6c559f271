// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import "unsafe"

// Integer is every integer type, without named ones.
type Integer interface {
	int | int8 | int16 | int32 | int64 | uint | uint8 | uint16 | uint32 | uint64 | uintptr
}

// Real is what has an order.
type Real interface{ Integer | float32 | float64 }

// Number is what can be added.
type Number interface{ Real | complex64 | complex128 }

// on calls combine for dst and the elements in src, which must hold at least as many. Where src is not aligned for T, they go
// through a small copy.
func on[T any](dst []T, src []byte, combine func(dst, src []T)) {
	var zero T
	size := int(unsafe.Sizeof(zero))
	src = src[:size*len(dst)]
	if len(dst) == 0 {
		return
	}
	if p := unsafe.Pointer(unsafe.SliceData(src)); uintptr(p)%unsafe.Alignof(zero) == 0 {
		combine(dst, unsafe.Slice((*T)(p), len(dst))) // src is as long and aligned
		return
	}
	copied := make([]T, min(len(dst), 256))
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(copied))), size*len(copied))
	for len(dst) > 0 {
		n := copy(bytes, src) / size
		combine(dst[:n], copied[:n])
		dst, src = dst[n:], src[n*size:]
	}
}

// Sum adds to each element of dst the one at its place in src. Integers wrap around.
func Sum[T Number](dst []T, src []byte) {
	on(dst, src, func(dst, src []T) {
		for len(dst) >= 4 && len(src) >= 4 { // constant indices need no checks of bounds
			d, s := (*[4]T)(dst), (*[4]T)(src)
			d[0] += s[0]
			d[1] += s[1]
			d[2] += s[2]
			d[3] += s[3]
			dst, src = dst[4:], src[4:]
		}
		for i, v := range src[:len(dst)] {
			dst[i] += v
		}
	})
}

// Prod multiplies each element of dst by the one at its place in src. Integers wrap around.
func Prod[T Real](dst []T, src []byte) {
	on(dst, src, func(dst, src []T) {
		for i, v := range src[:len(dst)] {
			dst[i] *= v
		}
	})
}

// ProdComplex64 is Prod for complex64: by the schoolbook formula, each product and sum rounded to float32.
func ProdComplex64(dst []complex64, src []byte) {
	on(dst, src, func(dst, src []complex64) {
		for i, v := range src[:len(dst)] {
			a, b, c, d := real(dst[i]), imag(dst[i]), real(v), imag(v)
			dst[i] = complex(float32(a*c)-float32(b*d), float32(a*d)+float32(b*c)) // a conversion forbids to fuse
		}
	})
}

// ProdComplex128 is Prod for complex128: by the schoolbook formula, each product and sum rounded to float64.
func ProdComplex128(dst []complex128, src []byte) {
	on(dst, src, func(dst, src []complex128) {
		for i, v := range src[:len(dst)] {
			a, b, c, d := real(dst[i]), imag(dst[i]), real(v), imag(v)
			dst[i] = complex(float64(a*c)-float64(b*d), float64(a*d)+float64(b*c)) // a conversion forbids to fuse
		}
	})
}

// Min keeps the smaller of each element of dst and the one at its place in src. A NaN wins, and -0 is smaller than 0.
func Min[T Real](dst []T, src []byte) {
	on(dst, src, func(dst, src []T) {
		for i, v := range src[:len(dst)] {
			dst[i] = min(dst[i], v)
		}
	})
}

// Max keeps the larger of each element of dst and the one at its place in src. A NaN wins, and 0 is larger than -0.
func Max[T Real](dst []T, src []byte) {
	on(dst, src, func(dst, src []T) {
		for i, v := range src[:len(dst)] {
			dst[i] = max(dst[i], v)
		}
	})
}

// And keeps the bits that are set both in an element of dst and in the one at its place in src.
func And[T Integer](dst []T, src []byte) {
	on(dst, src, func(dst, src []T) {
		for i, v := range src[:len(dst)] {
			dst[i] &= v
		}
	})
}

// Or sets the bits in each element of dst that are set in the one at its place in src.
func Or[T Integer](dst []T, src []byte) {
	on(dst, src, func(dst, src []T) {
		for i, v := range src[:len(dst)] {
			dst[i] |= v
		}
	})
}

// Xor turns the bits over in each element of dst that are set in the one at its place in src.
func Xor[T Integer](dst []T, src []byte) {
	on(dst, src, func(dst, src []T) {
		for i, v := range src[:len(dst)] {
			dst[i] ^= v
		}
	})
}

// Div divides each element of dst by by.
func Div[T float32 | float64](dst []T, by T) {
	for i := range dst {
		dst[i] /= by
	}
}

// DivInteger divides each element of dst by by, which must be positive and may be more than T holds. The quotient is truncated
// toward zero.
func DivInteger[T Integer](dst []T, by int) {
	if ^T(0) > 0 { // T has no sign
		for i, v := range dst {
			dst[i] = T(uint64(v) / uint64(by))
		}
		return
	}
	for i, v := range dst {
		dst[i] = T(int64(v) / int64(by))
	}
}
