// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

// invocation is an operation with its arguments, as one member called it.
type invocation struct {
	descriptor

	math arithmetic // of a reduction
	size int        // bytes per element
	// What the member gives and what it gets. They are the same memory in operations with one buffer. Either is nil where the
	// operation does not use it: in of others than the root in a scatter, out of others than the root in a gather.
	in, out []byte
	// inCounts and outCounts are how many elements the blocks of in and out have, by rank, where that is not the same for all.
	inCounts, outCounts []int
	inEnds, outEnds     []int // in bytes, behind a 0; where members of one process make them
}

// Messages makes the members of a group exchange messages also where they share memory. It is for comparison. Default: members that
// all live in one process use its memory, and those of several processes of one machine that of a file.
func Messages() Option { return optionFunc(func(b *bounds) { b.Select.Messages = true }) }
