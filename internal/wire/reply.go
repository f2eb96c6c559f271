// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// Status tells what a result is.
type Status uint8

// The statuses of a result.
const (
	StatusEmpty  Status = iota // the slots succeeded with a value of no bytes
	StatusInline               // the slots succeeded; Data is the value's flat form
	StatusObject               // one slot succeeded; Data is the identity of the object that holds the value
	StatusFault                // the slots failed; Data is a [Fault]
	statusEnd

	// manySlots in the byte of a status says that a set of slots follows instead of one.
	manySlots = 0x80
)

// Result is an entry of a reply frame's body: an outcome, and the slots that have it.
type Result struct {
	Slots  SlotSet // never empty; one slot if the status is StatusObject
	Status Status
	Data   []byte
}

// AppendResult appends an entry to the body of a reply and returns it: the outcome that all the slots have in common, which are put in
// order. Results in the object store have no outcome in common: each takes an entry of its own.
func AppendResult(dst []byte, status Status, data []byte, slots ...uint32) []byte {
	if len(slots) == 1 {
		dst = append(dst, byte(status))
		dst = binary.AppendUvarint(dst, uint64(slots[0]))
	} else {
		dst = append(dst, byte(status)|manySlots)
		dst = AppendSlots(dst, slots)
	}
	if status == StatusEmpty {
		return dst
	}
	return appendBytes(dst, data)
}

// ParseReply calls yield for every entry of a reply's body, until yield returns false. The
// results alias b. Entries in front of a malformed one have been yielded when the error returns.
func ParseReply(b []byte, yield func(Result) bool) error {
	cur := cursor{b: b, what: "reply"}
	for len(cur.b) > 0 {
		head := cur.byte("status")
		r := Result{Status: Status(head &^ manySlots)}
		many := head&manySlots != 0
		if r.Status >= statusEnd || many && r.Status == StatusObject {
			cur.fail("status")
		}
		if many {
			r.Slots = cur.slots(2)
		} else {
			r.Slots.one = uint32(cur.uint("slot", MaxTargets-1))
		}
		if r.Status != StatusEmpty {
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
