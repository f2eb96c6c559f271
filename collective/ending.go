// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/tutti-go/tutti/internal/wire"
)

// code classifies the reason for the end of an epoch, so that it matches the same sentinel on every node.
type code uint8

// The codes. A new one is added at the end; the numbers are part of the format of abort frames.
const (
	codeOther code = iota
	codeLost
	codeMismatch
	codeReplaced
	codeClosed
	codeCanceled
	codeDeadline
	codeStalled
	codeRevoked
	codePanicked
	codeEnd
)

// maxReason bounds the text of a reason in an abort frame, in bytes.
const maxReason = 4 << 10

func (c code) sentinel() error {
	switch c {
	case codeLost:
		return ErrMemberLost
	case codeMismatch:
		return ErrMismatch
	case codeReplaced:
		return ErrReplaced
	case codeClosed:
		return ErrClosed
	case codeCanceled:
		return context.Canceled
	case codeDeadline:
		return context.DeadlineExceeded
	case codeStalled:
		return ErrStalled
	case codeRevoked:
		return ErrRevoked
	case codePanicked:
		return ErrPanicked
	default:
		return nil
	}
}

// ending is why an epoch is over. It is an error: what Error.Reason holds, on every node.
type ending struct {
	code   code
	failed []int // rising
	text   string
	cause  error // on the node where it happened; does not travel
}

// Error implements error.
func (e *ending) Error() string { return e.text }

// Unwrap makes an ending match its sentinel and, where it happened, its cause.
func (e *ending) Unwrap() []error {
	var errs []error
	if s := e.code.sentinel(); s != nil {
		errs = append(errs, s)
	}
	if e.code == codeStalled {
		errs = append(errs, context.DeadlineExceeded)
	}
	if e.cause != nil {
		errs = append(errs, e.cause)
	}
	return errs
}

// encode returns the body of an abort frame.
func (e *ending) encode() []byte {
	dst := appendRanks([]byte{byte(e.code)}, e.failed)
	return append(dst, e.text[:min(len(e.text), maxReason)]...)
}

// appendRanks appends a list of rising ranks.
func appendRanks(dst []byte, ranks []int) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ranks)))
	for _, r := range ranks {
		dst = binary.AppendUvarint(dst, uint64(r))
	}
	return dst
}

// parseRanks reads a list of rising ranks of a group of the given size, and returns what is behind it.
func parseRanks(b []byte, size int) (ranks []int, rest []byte, err error) {
	n, used := binary.Uvarint(b)
	b = b[max(used, 0):]
	if used <= 0 || n > uint64(min(size, len(b))) { // each rank takes at least one byte
		return nil, nil, fmt.Errorf("%w: bad number of failed ranks", wire.ErrFrame)
	}
	for range n {
		r, used := binary.Uvarint(b)
		if used <= 0 || r >= uint64(size) || len(ranks) > 0 && int(r) <= ranks[len(ranks)-1] {
			return nil, nil, fmt.Errorf("%w: bad failed rank", wire.ErrFrame)
		}
		ranks = append(ranks, int(r))
		b = b[used:]
	}
	return ranks, b, nil
}

// parseEnding reads the body of an abort frame for a group of the given size.
func parseEnding(b []byte, ranks int) (*ending, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: abort: empty", wire.ErrFrame)
	}
	e := &ending{code: code(b[0])}
	if e.code >= codeEnd {
		e.code = codeOther // a code of a newer build
	}
	var err error
	if e.failed, b, err = parseRanks(b[1:], ranks); err != nil {
		return nil, fmt.Errorf("abort: %w", err)
	}
	if len(b) > maxReason {
		return nil, fmt.Errorf("%w: abort: a reason of %d bytes, the bound is %d", wire.ErrFrame, len(b), maxReason)
	}
	e.text = string(b)
	return e, nil
}
