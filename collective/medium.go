// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
)

// medium is what the members of an epoch have in common to carry out operations with, other than messages: memory. It is chosen by
// where the members live, when a node makes its session of the epoch, so that all members have the same one or none. All of an
// epoch's collective operations but those with shared results go through it; Send and Recv, Shrink and Agree are messages always.
type medium interface {
	// run carries out the operation m.now, number m.mu.seq of the member, on the member's goroutine, which has its turn. It returns when
	// nobody uses the memory of m.now any more, with nil or the reason why the epoch must end, which may be an *ending. It must not block
	// once ctx or the epoch has ended, for longer than others take to let go of the memory of m.now.
	run(ctx context.Context, m *member) error
	// awaits returns the rank that the operation of a rank waits for, as far as that is known, or -1.
	awaits(rank int) int
	// end wakes all members that wait in run: the epoch is over at this node. It is called once for each session and does not block.
	end(*ending)
	// String says what it is, for Explain.
	fmt.Stringer
}

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
}

// Messages makes the members of a group exchange messages also where they share memory. It is for comparison. Default: members that
// all live in one process use its memory, and those of several processes of one machine that of a file.
func Messages() Option { return optionFunc(func(b *bounds) { b.Select.Messages = true }) }

// mediumFor returns what the members of a session that is made on this node have in common: nothing yet.
func (*hub) mediumFor(s *session) (m medium) {
	if s.bounds.Select.byMessages() {
		return nil
	}
	return m
}
