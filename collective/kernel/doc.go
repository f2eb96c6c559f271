// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package kernel holds the inner loops of reductions. They read one operand as it came off a link, so that nothing is copied
// or decoded before it is summed.
//
//	kernel.Sum(acc, frame.Body) // acc[i] += the i-th float32 of the body
//
// Every element is computed by itself, with one rounding per operation and no fused multiply-add: the result does not
// depend on the machine or on how a buffer is cut into calls.
//
// Concurrency: pure functions; two calls may run at once on buffers that do not overlap. Memory: nothing is kept. The bytes
// may have any alignment, though one that suits the element type is faster, and are in the order of this machine; all nodes
// of a system run the same binary. Failure: a source that is shorter than the destination panics, which is an error of the
// calling code. Test kit: none.
package kernel
