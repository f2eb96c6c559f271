// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// Status tells what a result is.
type Status uint8

// The statuses of a result.
const (
	StatusEmpty  Status = iota // Count consecutive slots succeeded with a value of no bytes
	StatusInline               // one slot succeeded; Data is the value's flat form
	StatusObject               // one slot succeeded; Data is the identity of the object that holds the value
	StatusFault                // one slot failed; Data is a [Fault]
	statusEnd
)

// Result is an entry of a reply frame's body: the outcome of one slot, or of a run of slots
// that succeeded with nothing to say.
type Result struct {
	Slot   uint32
	Count  uint32 // slots covered; 1 unless the status is StatusEmpty
	Status Status
	Data   []byte
}

// AppendResult appends one entry of a reply's body to dst and returns it.
func AppendResult(dst []byte, r Result) []byte {
	dst = append(dst, byte(r.Status))
	dst = binary.AppendUvarint(dst, uint64(r.Slot))
	if r.Status == StatusEmpty {
		return binary.AppendUvarint(dst, uint64(r.Count))
	}
	return appendBytes(dst, r.Data)
}

// ParseReply calls yield for every entry of a reply's body, until yield returns false. The
// results alias b. Entries in front of a malformed one have been yielded when the error returns.
func ParseReply(b []byte, yield func(Result) bool) error {
	cur := cursor{b: b, what: "reply"}
	for len(cur.b) > 0 {
		r := Result{Count: 1, Status: Status(cur.byte("status"))}
		r.Slot = uint32(cur.uint("slot", MaxTargets-1))
		switch {
		case r.Status >= statusEnd:
			cur.fail("status")
		case r.Status == StatusEmpty:
			r.Count = uint32(cur.uint("count", MaxTargets-uint64(r.Slot)))
			if r.Count == 0 {
				cur.fail("count")
			}
		default:
			r.Data = cur.bytes("data")
		}
		if cur.err != nil || !yield(r) {
			break
		}
	}
	return cur.err
}

// AppendRelease appends one object's identity to the body of a release frame and returns it.
func AppendRelease(dst, id []byte) []byte { return appendBytes(dst, id) }

// ParseRelease calls yield for every identity in a release frame's body, until yield returns false. The identities
// alias b.
func ParseRelease(b []byte, yield func(id []byte) bool) error {
	cur := cursor{b: b, what: "release"}
	for len(cur.b) > 0 {
		id := cur.bytes("identity")
		if cur.err != nil || !yield(id) {
			break
		}
	}
	return cur.err
}
