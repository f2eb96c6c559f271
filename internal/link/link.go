// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"

	"github.com/tutti-go/tutti/internal/wire"
)

// MaxQueued is how many bytes may wait in one direction of a connection before Send blocks.
// One frame may exceed it when nothing else waits.
const MaxQueued = 16 << 20

var (
	// ErrClosed says that the connection is closed, by either side or by the death of the peer.
	ErrClosed = errors.New("link: closed")
	// ErrTooLarge says that a body exceeds wire.MaxBody; nothing was sent.
	ErrTooLarge = errors.New("link: frame too large")
)

// Conn is an ordered, reliable stream of frames to one peer.
type Conn interface {
	// Send queues one frame and sets h.Length. It takes the body over. A nil error means that the
	// frame was accepted, not that it arrived.
	Send(ctx context.Context, h *wire.Header, body ...[]byte) error
	// Recv returns the next frame. It blocks until there is one or the connection ends.
	Recv() (wire.Frame, error)
	// Close ends the connection and waits for what it started. What still waits to be sent is dropped.
	Close() error
}

// Listener accepts connections.
type Listener interface {
	Accept() (Conn, error)
	Close() error
}

// Transport opens connections by address.
type Transport interface {
	Listen(addr string) (Listener, error)
	Dial(ctx context.Context, addr string) (Conn, error)
}

func bodyLen(body [][]byte) int {
	n := 0
	for _, b := range body {
		n += len(b)
	}
	return n
}
