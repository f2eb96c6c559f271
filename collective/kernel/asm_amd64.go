// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !noasm

package kernel

import "golang.org/x/sys/cpu"

// sets are the sets of instructions, in the order of the table in assembly. Each has a table for stores as usual, and one for those
// around the caches.
func sets() []instructions {
	avx2 := cpu.X86.HasAVX2 && cpu.X86.HasF16C
	avx512 := avx2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL
	return available(
		instructions{name: "AVX2", vector: 32, around: true, pairs: true, usable: avx2},
		instructions{name: "AVX-512", vector: 64, around: true, pairs: true, usable: avx512},
	)
}
