// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"math"
)

const (
	// NonceSize is the length of the random part of a hello, in bytes.
	NonceSize = 32
	// ProofSize is the length of a proof, in bytes: that of an HMAC with SHA-256.
	ProofSize = 32
	// NoNode stands for the number of a node that has not got one yet.
	NoNode = math.MaxUint32
)

// Purpose says what a connection is for.
type Purpose uint32

// The purposes.
const (
	PurposeLink    Purpose = 1 + iota // frames between two nodes
	PurposeControl                    // behind the handshake, the control plane of a node that joins
	PurposeLane                       // behind the handshake, long blocks from the node that dialled
	purposeEnd
)

// Hello is the body of the first frame of either side: who it is, and a challenge to the other.
type Hello struct {
	Node        uint32  // its number, or NoNode
	Incarnation uint64  // drawn anew by every process
	Table       uint64  // hash of its method table
	Purpose     Purpose // both sides say the same
	Nonce       [NonceSize]byte
}

// helloSize is the length of the body of a hello.
const helloSize = 8 + 8 + 4 + 4 + NonceSize

// Append appends the body to dst and returns it.
func (h *Hello) Append(dst []byte) []byte {
	dst = appendUint64(appendUint64(dst, h.Incarnation), h.Table)
	dst = binary.LittleEndian.AppendUint32(dst, h.Node)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.Purpose))
	return append(dst, h.Nonce[:]...)
}

// ParseHello reads the body of a hello frame.
func ParseHello(b []byte) (Hello, error) {
	cur := cursor{b: b, what: "hello"}
	if len(b) < helloSize {
		cur.fail("field: it is too short")
		return Hello{}, cur.err
	}
	h := Hello{Incarnation: cur.uint64("incarnation"), Table: cur.uint64("table")}
	h.Node = binary.LittleEndian.Uint32(cur.b)
	h.Purpose = Purpose(binary.LittleEndian.Uint32(cur.b[4:]))
	copy(h.Nonce[:], cur.b[8:])
	cur.b = cur.b[8+NonceSize:]
	if h.Purpose == 0 || h.Purpose >= purposeEnd {
		cur.fail("purpose")
	}
	return h, cur.end()
}

// Accept is the body of the second frame of either side: the proof that it knows the secret, or why it turns the
// other away.
type Accept struct {
	Proof [ProofSize]byte
	Fault *Fault // if not nil, there is no proof
}

// Append appends the body to dst and returns it.
func (a *Accept) Append(dst []byte) []byte {
	if a.Fault != nil {
		return a.Fault.Append(append(dst, 1))
	}
	return append(append(dst, 0), a.Proof[:]...)
}

// ParseAccept reads the body of an accept frame.
func ParseAccept(b []byte) (Accept, error) {
	cur := cursor{b: b, what: "accept"}
	var a Accept
	switch cur.byte("outcome") {
	case 0:
		if len(cur.b) != ProofSize {
			cur.fail("proof")
		}
		copy(a.Proof[:], cur.b)
		return a, cur.err
	case 1:
		if cur.err != nil {
			return a, cur.err
		}
		f, err := ParseFault(cur.b)
		if err != nil {
			return Accept{}, err
		}
		return Accept{Fault: &f}, nil
	}
	cur.fail("outcome")
	return a, cur.err
}
