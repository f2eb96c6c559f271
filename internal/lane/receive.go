// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package lane

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/tutti-go/tutti/internal/wire"
)

// Receiver takes the frames of one connection, one after the other.
type Receiver interface {
	// Begin says that a frame has begun. head is what stands in front of its body, and is the receiver's until it returns. An error ends the
	// connection.
	Begin(h *wire.Header, head []byte) error
	// Fill calls read, once, with memory for the next bytes of the body, at least one and up to left of them, and returns what it does. read does not
	// block, so that the memory is taken back soon when it must be. It may put some bytes more elsewhere: n may be more than there was memory for.
	Fill(left int, read func(dst [][]byte) (n int, err error)) (n int, err error)
	// End says that all of the body has come.
	End() error
}

// plainBuffer is how many bytes are read at once where they are copied.
const plainBuffer = 32 << 10

// Receive reads frames until the connection ends, and returns why: io.EOF if it ended between two frames. headSize is the length of what stands
// in front of every body, bound that of the longest body with it.
func Receive(nc net.Conn, headSize, bound int, to Receiver) error {
	r := &reader{nc: nc, raw: rawOf(nc), head: make([]byte, wire.HeaderSize+headSize), to: to}
	if r.raw == nil {
		r.copy = make([]byte, plainBuffer)
	}
	r.step, r.placed = r.try, r.place
	for {
		for r.have < len(r.head) {
			if err := r.more(); err != nil {
				if errors.Is(err, io.EOF) && r.have > 0 {
					err = fmt.Errorf("%w: %w", wire.ErrFrame, io.ErrUnexpectedEOF)
				}
				return err
			}
		}
		h, err := wire.ParseHeader(r.head, bound)
		if err == nil && int(h.Length) < headSize {
			err = fmt.Errorf("%w: %v frame has a body of %d bytes, want at least %d", wire.ErrFrame, h.Kind, h.Length, headSize)
		}
		if err != nil {
			return err
		}
		if err := to.Begin(&h, r.head[wire.HeaderSize:]); err != nil {
			return err
		}
		r.have, r.left = 0, int(h.Length)-headSize
		for r.left > 0 {
			if err := r.more(); err != nil {
				if errors.Is(err, io.EOF) {
					err = fmt.Errorf("%w: %v frame cut off: %w", wire.ErrFrame, h.Kind, io.ErrUnexpectedEOF)
				}
				return err
			}
		}
		if err := to.End(); err != nil {
			return err
		}
	}
}

// reader is the state of Receive.
type reader struct {
	nc   net.Conn
	raw  syscall.RawConn // nil: everything is copied
	to   Receiver
	head []byte // of a frame: the header and what follows it
	have int    // bytes of head that have come
	left int    // bytes of the body that have not

	copy []byte // without raw: memory to read into
	came []byte // and what of it is not placed

	step   func(fd uintptr) bool
	placed func(dst [][]byte) (int, error)
	fd     uintptr
	vector [][]byte
	err    error // of step
}

// more waits until something has come and takes it: of the body if there is some left, and of the head of the next frame.
func (r *reader) more() error {
	if r.raw != nil {
		r.err = nil
		if err := r.raw.Read(r.step); err != nil {
			return err
		}
		return r.err
	}
	if len(r.came) == 0 {
		n, err := r.nc.Read(r.copy)
		if n == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			return err
		}
		r.came = r.copy[:n]
	}
	r.try(0)
	return r.err
}

// try takes what is there, and reports whether it was anything or there is an error.
func (r *reader) try(fd uintptr) bool {
	r.fd = fd
	if r.left == 0 {
		n, err := r.place(nil)
		return r.took(n, err)
	}
	n, err := r.to.Fill(r.left, r.placed)
	return r.took(n, err)
}

func (r *reader) took(n int, err error) bool {
	switch {
	case again(err):
		return false
	case err != nil:
		r.err = err
	case n == 0:
		r.err = io.EOF
	default:
		body := min(n, r.left)
		r.left -= body
		r.have += n - body
	}
	return true
}

// place puts bytes into dst and, if that is all that is left of the body, into the head of the next frame.
func (r *reader) place(dst [][]byte) (int, error) {
	length := 0
	for _, b := range dst {
		length += len(b)
	}
	if length > r.left {
		return 0, fmt.Errorf("lane: memory for %d bytes, want at most %d", length, r.left)
	}
	r.vector = append(r.vector[:0], dst...)
	if length == r.left {
		r.vector = append(r.vector, r.head[r.have:])
	}
	if r.raw != nil {
		return readv(r.fd, r.vector)
	}
	total := 0
	for _, b := range r.vector {
		n := copy(b, r.came)
		r.came = r.came[n:]
		total += n
	}
	return total, nil
}
