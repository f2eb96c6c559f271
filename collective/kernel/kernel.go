// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"encoding/binary"
	"math"
)

// The loops take four elements at a time through pointers to arrays, whose constant indices need no bounds checks.

// AddFloat32 adds to each element of dst the float32 at its place in src, which must hold at least 4*len(dst) bytes.
func AddFloat32(dst []float32, src []byte) {
	src = src[:4*len(dst)]
	for len(dst) >= 4 && len(src) >= 16 {
		d, s := (*[4]float32)(dst), (*[16]byte)(src)
		d[0] += math.Float32frombits(binary.NativeEndian.Uint32(s[0:4]))
		d[1] += math.Float32frombits(binary.NativeEndian.Uint32(s[4:8]))
		d[2] += math.Float32frombits(binary.NativeEndian.Uint32(s[8:12]))
		d[3] += math.Float32frombits(binary.NativeEndian.Uint32(s[12:16]))
		dst, src = dst[4:], src[16:]
	}
	for i := range dst {
		dst[i] += math.Float32frombits(binary.NativeEndian.Uint32(src[4*i:]))
	}
}

// AddFloat64 adds to each element of dst the float64 at its place in src, which must hold at least 8*len(dst) bytes.
func AddFloat64(dst []float64, src []byte) {
	src = src[:8*len(dst)]
	for len(dst) >= 4 && len(src) >= 32 {
		d, s := (*[4]float64)(dst), (*[32]byte)(src)
		d[0] += math.Float64frombits(binary.NativeEndian.Uint64(s[0:8]))
		d[1] += math.Float64frombits(binary.NativeEndian.Uint64(s[8:16]))
		d[2] += math.Float64frombits(binary.NativeEndian.Uint64(s[16:24]))
		d[3] += math.Float64frombits(binary.NativeEndian.Uint64(s[24:32]))
		dst, src = dst[4:], src[32:]
	}
	for i := range dst {
		dst[i] += math.Float64frombits(binary.NativeEndian.Uint64(src[8*i:]))
	}
}

// Div divides each element of dst by by.
func Div[T float32 | float64](dst []T, by T) {
	for i := range dst {
		dst[i] /= by
	}
}
