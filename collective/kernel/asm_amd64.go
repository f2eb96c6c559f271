// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !noasm

package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

//go:generate go run ./internal/asmgen -arch amd64

// sets are the sets of instructions, in the order of the table in assembly. Each has a table for stores as usual, and one for those
// around the caches.
func sets() []instructions {
	avx2 := cpu.X86.HasAVX2 && cpu.X86.HasF16C
	avx512 := avx2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL
	return available(
		instructions{name: "AVX2", vector: 32, usable: avx2},
		instructions{name: "AVX-512", vector: 64, usable: avx512},
	)
}

// call runs the code in a slot of the table on n bytes of dst, from a place on. It is k sources that begin at the first; n
// must be a multiple of the code's step. What x is depends on the code.
//
//go:noescape
func call(slot int, dst unsafe.Pointer, srcs *[]byte, k, from, n int, x uint64)
