// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
)

// heapState is what a member has for operations in the memory of its process. Only the operation that runs changes it.
type heapState struct {
	now   invocation // the operation that runs; others read it while their rounds last
	ends  [2][]int   // room for those of now
	round uint64     // number of the last
}

// operateInProcess runs an operation through the memory of the process, whose heap bounds its time.
func (m *member) operateInProcess(ctx context.Context, c invocation) error {
	d := c.descriptor
	l := m.lineFor(ctx)
	var seq uint64
	err := m.queue(ctx, l)
	if err == nil {
		defer l.leave()
		if seq, err = m.begin(d); err == nil {
			m.heap.now = c
			defer func() { m.heap.now = invocation{} }() // it holds on to nobody's memory
			err = m.s.heap.run(ctx, m, m.s.stallOf(ctx))
		}
	}
	if err == nil {
		err = m.finish()
	}
	return m.outcome(ctx, seq, d, err)
}

// queue waits for the member's turn in a line, as long as the group allows. The error is an *ending.
func (m *member) queue(ctx context.Context, l *line) error {
	if ctx.Err() != nil {
		return m.endingOf(ctx, fmt.Errorf("was done before: %w", stopped(ctx)))
	}
	turn := l.join()
	if turn == nil {
		return nil
	}
	ctx, cancel := m.s.bound(ctx)
	defer cancel()
	if l.await(ctx, turn) {
		return nil
	}
	return m.endingOf(ctx, fmt.Errorf("waited for the operation before it: %w", stopped(ctx)))
}
