// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package kernel holds the inner loops of reductions. They read operands as they came off a link or lie in shared memory, so that
// nothing is copied or decoded before it is summed, and reduce any number of them in one pass.
//
//	sum, ok := kernel.Of(kernel.Sum, kernel.F32)
//	sum.Combine(acc, frame.Body)             // acc[i] += the i-th float32 of the body
//	sum.Fold(out, [][]byte{a, b, c}, false)  // out[i] = a[i] + b[i] + c[i]
//
// Everything is computed element by element, from the first source to the last, with one rounding per operation and no fused
// multiply-add; 16-bit floats in float32, rounded once at the end of a call. Integers wrap around. In Min and Max a NaN wins, and -0 is
// smaller than 0. Every NaN in a result of more than one source is the quiet one without sign and payload. So a result depends neither
// on the processor nor on where memory lies; nor, but for 16-bit floats of more than two sources, on how sources are cut into calls.
//
// There is code in assembly for AVX-512 and AVX2 on amd64, of which the best that the processor has is chosen at the start, and for NEON
// on arm64, but for products of 64-bit integers and of complex numbers; and the same in Go for all others and for the last elements. The build tag noasm leaves the assembly out. Tests compare all of them bit for bit.
// A call of assembly, which cannot be preempted, reads at most 256 KiB. The generator is in internal/asmgen.
//
// Concurrency: pure functions; two calls may run at once on destinations that do not overlap. Memory: nothing is kept, nothing is
// allocated. Sources may have any alignment, though one that suits the element type is faster, and are in the order of this
// machine; all nodes of a system run the same binary. Failure: a source that is shorter than the destination panics, which is an
// error of the calling code. Test kit: none.
package kernel
