// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"fmt"
	"strings"

	"github.com/tutti-go/tutti/core"
)

// shown is how many failures an Error prints.
const shown = 3

// Failure is the failure of one slot.
type Failure struct {
	Index int // of the slot
	Actor core.ActorID
	Err   error
}

// Error is the failure of some slots of a batch. It prints the first three and the count; errors.Is and errors.As look
// at all of them.
type Error struct {
	Total    int // slots of the batch
	Failures []Failure
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "batch: %d of %d calls failed: ", len(e.Failures), e.Total)
	for i, f := range e.Failures[:min(shown, len(e.Failures))] {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "[%d] %v", f.Index, f.Err)
	}
	if rest := len(e.Failures) - shown; rest > 0 {
		fmt.Fprintf(&b, "; and %d more", rest)
	}
	return b.String()
}

// Unwrap returns the errors of all slots that failed, in order.
func (e *Error) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = f.Err
	}
	return errs
}

// At returns the error of slot i, or nil if it did not fail.
func (e *Error) At(i int) error {
	for _, f := range e.Failures {
		if f.Index == i {
			return f.Err
		}
	}
	return nil
}

// add records a failure, making e if it is nil.
func (e *Error) add(s *core.Slots, i int, err error) *Error {
	if e == nil {
		e = &Error{Total: s.Len()}
	}
	e.Failures = append(e.Failures, Failure{Index: i, Actor: s.Actor(i), Err: err})
	return e
}
