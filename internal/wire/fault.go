// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// FaultCode classifies an error that crosses a link, so that it comes out as the same
// sentinel or context error on the other side.
type FaultCode uint8

// The codes. A new one is added at the end; the numbers are part of the format.
const (
	FaultOther        FaultCode = iota // an error with no class of its own
	FaultPanic                         // the actor's method panicked; Stack is set
	FaultCanceled                      // context.Canceled
	FaultDeadline                      // context.DeadlineExceeded
	FaultNoActor                       // the actor is dead or was never there
	FaultNoMethod                      // the method is not in the table
	FaultMailboxFull                   // the actor's mailbox had no room
	FaultReadOnly                      // the method wrote through a read-only view
	FaultTooLarge                      // a size exceeds its bound
	FaultEncode                        // the result cannot be encoded
	FaultDecode                        // the argument cannot be decoded
	FaultObjectLost                    // an object that the message names is gone
	FaultClosed                        // the node is shutting down
	FaultBuild                         // the two sides are different builds
	FaultUnauthorized                  // wrong cluster secret
	FaultNoSpace                       // the object store has no room
	FaultNoKind                        // the kind is not in the table
	FaultNodeLost                      // a node that the call or its answer went through is gone
	faultEnd
)

// Fault is an error as it travels.
type Fault struct {
	Code    FaultCode
	Own     bool // the actor's own method or constructor returned the error
	Message string
	Stack   string   // of the goroutine that panicked, if the code is FaultPanic
	Is      []string // texts of the sentinels that the error matches beside that of its code
}

// Append appends the fault to dst and returns it.
func (f *Fault) Append(dst []byte) []byte {
	own := byte(0)
	if f.Own {
		own = 1
	}
	dst = append(dst, byte(f.Code), own)
	dst = appendBytes(dst, f.Message)
	dst = appendBytes(dst, f.Stack)
	dst = binary.AppendUvarint(dst, uint64(len(f.Is)))
	for _, text := range f.Is {
		dst = appendBytes(dst, text)
	}
	return dst
}

// ParseFault reads a fault.
func ParseFault(b []byte) (Fault, error) {
	cur := cursor{b: b, what: "fault"}
	f := Fault{Code: FaultCode(cur.byte("code"))}
	if f.Code >= faultEnd {
		f.Code = FaultOther // a code of a newer build
	}
	switch cur.byte("own") {
	case 0:
	case 1:
		f.Own = true
	default:
		cur.fail("own")
	}
	f.Message = string(cur.bytes("message"))
	f.Stack = string(cur.bytes("stack"))
	for range cur.uint("number of sentinels", uint64(len(cur.b))) { // each takes a byte at least
		f.Is = append(f.Is, string(cur.bytes("sentinel")))
	}
	return f, cur.end()
}
