// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

const (
	// Version is the version of the frame format. Peers must agree on it exactly.
	Version = 4
	// HeaderSize is the length of every frame's header, in bytes.
	HeaderSize = 64
	// MaxBody is the largest body that a frame may carry, in bytes. Larger data travels
	// as an object of the store, or in several frames.
	MaxBody = 64 << 20

	magic0, magic1 = 'T', 'u'
)

// ErrFrame is matched by every error about bytes that are not a well-formed frame.
var ErrFrame = errors.New("wire: malformed frame")

// VersionError says that a peer speaks another version of the frame format. It matches [ErrFrame].
type VersionError struct {
	Got, Want uint8
}

// Error implements error.
func (e *VersionError) Error() string {
	return fmt.Sprintf("wire: peer speaks frame version %d, this build speaks %d", e.Got, e.Want)
}

// Unwrap makes a VersionError match ErrFrame.
func (e *VersionError) Unwrap() error { return ErrFrame }

// Kind tells what a frame carries.
type Kind uint8

// The kinds of frames.
const (
	KindHello     Kind = 1 + iota // first frame of either side
	KindAccept                    // second frame of either side: a proof, or a refusal with a fault
	KindCall                      // one call to many actors of one node
	KindReply                     // results for slots of a call
	KindCancel                    // the caller gave a call up
	KindBlock                     // a block of a collective operation
	KindAbort                     // a group's epoch has ended
	KindRelease                   // the caller no longer needs objects that hold results
	KindRelay                     // one call to many actors of many nodes, to be handed on
	KindUnreached                 // a relay cannot reach nodes that it was to hand a call on to
	KindMissing                   // a node waits for calls with certain numbers
	KindSkip                      // calls with certain numbers will never be sent
	KindCredit                    // how much has been taken of what is sent in portions
	KindFetch                     // a request for an object of another host
	KindChunk                     // a piece of an object, or why there is none
	KindDrop                      // objects of which the receiver has copies are gone
	KindDeath                     // an actor has died
	kindEnd
)

// String returns the name of the kind.
func (k Kind) String() string {
	if k == 0 || k >= kindEnd {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return [...]string{
		"hello", "accept", "call", "reply", "cancel", "block", "abort", "release",
		"relay", "unreached", "missing", "skip", "credit", "fetch", "chunk", "drop", "death",
	}[k-1]
}

// Header is the fixed part of a frame. Fields that a kind does not use are zero.
type Header struct {
	Kind   Kind
	Flags  uint16 // reserved, zero
	Length uint32 // bytes of the body
	Step   uint32 // collective: step within the operation

	Caller   uint64        // process that issued the call, an incarnation number; collective: place of the frame in all that goes to its receiver
	Seq      uint64        // call: number of the call at its caller; fetch: its number; collective: number of the operation in its group
	Deadline time.Duration // time that remains, never an absolute time; 0 means none, less means that it has passed

	Group uint64 // collective: group number
	Epoch uint32 // collective: membership epoch of the group
	From  uint32 // collective: rank of the sender; call: node that issued it
	To    uint32 // collective: rank of the receiver
	Hash  uint32 // collective: hash of the operation's descriptor
}

// Normalize makes the header what the receiver of its bytes would see, for links that move no bytes: a deadline
// that has passed becomes one nanosecond, since zero would lift it.
func (h *Header) Normalize() {
	if h.Deadline < 0 {
		h.Deadline = 1
	}
}

// Append appends the header's 64 bytes, normalized, to dst and returns it.
func (h *Header) Append(dst []byte) []byte {
	deadline := h.Deadline
	if deadline < 0 {
		deadline = 1
	}
	le := binary.LittleEndian
	dst = append(dst, magic0, magic1, Version, byte(h.Kind))
	dst = le.AppendUint16(dst, h.Flags)
	dst = le.AppendUint16(dst, 0)
	dst = le.AppendUint32(dst, h.Length)
	dst = le.AppendUint32(dst, h.Step)
	dst = le.AppendUint64(dst, h.Caller)
	dst = le.AppendUint64(dst, h.Seq)
	dst = le.AppendUint64(dst, uint64(deadline))
	dst = le.AppendUint64(dst, h.Group)
	dst = le.AppendUint32(dst, h.Epoch)
	dst = le.AppendUint32(dst, h.From)
	dst = le.AppendUint32(dst, h.To)
	return le.AppendUint32(dst, h.Hash)
}

// ParseHeader reads a header from the first 64 bytes of b. A body longer than maxBody
// bytes is refused, so that a reader may allocate Length bytes without further checks. A negative
// bound counts as zero.
func ParseHeader(b []byte, maxBody int) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("%w: header has %d of %d bytes", ErrFrame, len(b), HeaderSize)
	}
	if b[0] != magic0 || b[1] != magic1 {
		return Header{}, fmt.Errorf("%w: starts with % x, not a tutti link", ErrFrame, b[:2])
	}
	if b[2] != Version {
		return Header{}, &VersionError{Got: b[2], Want: Version}
	}
	le := binary.LittleEndian
	h := Header{
		Kind:     Kind(b[3]),
		Flags:    le.Uint16(b[4:]),
		Length:   le.Uint32(b[8:]),
		Step:     le.Uint32(b[12:]),
		Caller:   le.Uint64(b[16:]),
		Seq:      le.Uint64(b[24:]),
		Deadline: time.Duration(le.Uint64(b[32:])),
		Group:    le.Uint64(b[40:]),
		Epoch:    le.Uint32(b[48:]),
		From:     le.Uint32(b[52:]),
		To:       le.Uint32(b[56:]),
		Hash:     le.Uint32(b[60:]),
	}
	switch {
	case h.Kind == 0 || h.Kind >= kindEnd:
		return Header{}, fmt.Errorf("%w: unknown %v", ErrFrame, h.Kind)
	case h.Flags != 0 || le.Uint16(b[6:]) != 0:
		return Header{}, fmt.Errorf("%w: reserved bits are set in a %v frame", ErrFrame, h.Kind)
	case uint64(h.Length) > uint64(max(maxBody, 0)):
		return Header{}, fmt.Errorf("%w: %v frame has a body of %d bytes, the bound is %d", ErrFrame, h.Kind, h.Length, maxBody)
	case h.Deadline < 0:
		return Header{}, fmt.Errorf("%w: negative deadline in a %v frame", ErrFrame, h.Kind)
	}
	return h, nil
}

// Frame is a received frame. Body belongs to whoever the frame was handed to.
type Frame struct {
	Header
	Body []byte
}
