// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"net"

	"github.com/tutti-go/tutti/internal/wire"
)

// MaxQueued is how many bytes may wait in one direction of a connection before Send blocks.
// One frame may exceed it when nothing else waits.
const MaxQueued = 16 << 20

// MaxStranger is the largest body, in bytes, that is received on a connection before Trust. What a connection allocates
// for its peer until then is less than twice that.
const MaxStranger = 1 << 10

var (
	// ErrClosed says that the connection is closed, by either side or by the death of the peer.
	ErrClosed = errors.New("link: closed")
	// ErrNoRoom says that a frame would have to wait for room.
	ErrNoRoom = errors.New("link: no room")
	// ErrTooLarge says that a body exceeds wire.MaxBody; nothing was sent.
	ErrTooLarge = errors.New("link: frame too large")
)

// Conn is an ordered, reliable stream of frames to one peer.
type Conn interface {
	// Send queues one frame and sets h.Length. It takes over what the parts of the body hold, and keeps neither h nor their list. A nil error means
	// that the frame was accepted, not that it arrived. The context bounds the wait for room only.
	Send(ctx context.Context, h *wire.Header, body ...[]byte) error
	// Recv returns the next frame. It blocks until there is one or the connection ends. A frame without a
	// body has a nil Body. Bytes that are no frame give an error that matches wire.ErrFrame, now and at every
	// further call; the connection is of no use then, but still sends, so that the peer can be told.
	Recv() (wire.Frame, error)
	// Trust lifts the bound of MaxStranger from what is received. It is called when the peer has proved itself, by whoever calls Recv.
	Trust()
	// Binding returns bytes that only the two ends of this connection know, if its bytes are encrypted, and nil otherwise. On
	// the side that accepted they are there from the first frame on.
	Binding() ([]byte, error)
	// Close ends the connection and waits for what it started. What still waits to be sent or received is
	// dropped. It may be called often.
	Close() error
}

// Holder is a connection that can take frames without waking the peer, so that who sends to many need not wait for the system to
// wake one after the other.
type Holder interface {
	// Hold is Send, except that a peer that waits for frames need not notice before Ring or another Send. It does not wait for
	// room: if there is none, it returns ErrNoRoom and has taken nothing.
	Hold(h *wire.Header, body ...[]byte) error
	// Ring wakes the peer if it waits and frames were held. It does not block.
	Ring()
}

// Listener accepts connections.
type Listener interface {
	// Accept waits for the next connection. An error that does not match ErrClosed concerns that connection
	// only, or a lack of descriptors that may pass: the listener stays open.
	Accept() (Conn, error)
	// Addr returns the address that is listened on, with the port that was chosen where it was asked for as 0.
	Addr() string
	// Close ends the listener and a waiting Accept. Connections already accepted stay. It may be called often.
	Close() error
}

// Detacher is a connection over a stream of bytes that can go on as such.
type Detacher interface {
	// Detach gives the stream of bytes away, which begins behind the last frame received. Nothing may be queued for
	// sending, and the connection must not be used afterwards, but Close ends the stream still.
	Detach() (net.Conn, error)
}

// Transport opens connections by address.
type Transport interface {
	// Listen opens addr, at which no other listener may stand.
	Listen(addr string) (Listener, error)
	// Dial connects to the listener at addr. The context bounds the attempt, not the connection.
	Dial(ctx context.Context, addr string) (Conn, error)
}

func bodyLen(body [][]byte) int {
	n := 0
	for _, b := range body {
		n += len(b)
	}
	return n
}
