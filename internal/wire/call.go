// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"math"
)

// MaxTargets is the largest number of actors that one call frame may name.
const MaxTargets = 1 << 20

// PayloadKind tells how a payload travels.
type PayloadKind uint8

// The kinds of payloads.
const (
	PayloadInline PayloadKind = iota // the value's flat form stands in the message
	PayloadObject                    // the identity of an object of the store stands in the message
	PayloadEach                      // a payload of its own for every slot stands in the message
	PayloadRemote                    // a [Remote] stands in the message: an object that may be on another host
	payloadEnd
)

// Payload is an argument as it travels: a value in flat form, the identity of an object, or one of these for every slot.
type Payload struct {
	Kind PayloadKind
	Data []byte
}

// Run is a set of targets whose slots and actors are both consecutive: slot Slot+i goes to
// actor Actor+i of the receiving node, for 0 <= i < Count, and Actor+Count fits 32 bits. Actors that were spawned together
// and are called together are one run, so that a batch costs the same bytes for any number of them.
type Run struct {
	Slot  uint32
	Actor uint32
	Count uint32
}

// CallFlags change how a call is treated. They may be combined.
type CallFlags uint8

// The flags of a call.
const (
	CallCast       CallFlags = 1 << iota // no answers are wanted
	CallIdempotent                       // may run again if its actor is made anew
	CallAcked                            // a cast of which the caller wants to know when the node has taken it in
	callFlagsEnd
)

// Call is the body of a call frame: one method, one argument, and the actors of one node.
type Call struct {
	Order   uint64 // number of this message among those of its caller to this node, from 1
	Method  uint32 // index in the method table that both sides agreed on
	Flags   CallFlags
	Runs    []Run
	Payload Payload
}

// Append appends the body to dst and returns it.
func (c *Call) Append(dst []byte) []byte {
	return append(c.AppendHead(dst), c.Payload.Data...)
}

// AppendHead appends the body without the payload's data, which is the same for all nodes of a batch and
// follows as a part of its own.
func (c *Call) AppendHead(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, c.Order)
	dst = binary.AppendUvarint(dst, uint64(c.Method))
	dst = append(dst, byte(c.Flags))
	return append(appendRuns(dst, c.Runs), byte(c.Payload.Kind))
}

func appendRuns(dst []byte, runs []Run) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(runs)))
	for _, r := range runs {
		dst = binary.AppendUvarint(dst, uint64(r.Slot))
		dst = binary.AppendUvarint(dst, uint64(r.Actor))
		dst = binary.AppendUvarint(dst, uint64(r.Count))
	}
	return dst
}

// ParseCall reads the body of a call frame. The payload aliases b, and the runs room, which may be nil, if they fit.
func ParseCall(b []byte, room []Run) (Call, error) {
	cur := cursor{b: b, what: "call"}
	c := Call{Order: cur.order("order")}
	c.Method = uint32(cur.uint("method", math.MaxUint32))
	if c.Flags = CallFlags(cur.byte("flags")); c.Flags >= callFlagsEnd {
		cur.fail("flags")
	}
	var total uint64
	c.Runs = cur.runs(&total, room)
	c.Payload.Kind = PayloadKind(cur.byte("payload kind"))
	if c.Payload.Kind >= payloadEnd {
		cur.fail("payload kind")
	}
	c.Payload.Data, cur.b = cur.b, nil
	return c, cur.end()
}

// runs reads a list of runs, into room if they fit, and adds their targets to total, which a message bounds.
func (c *cursor) runs(total *uint64, room []Run) []Run {
	// A run takes at least three bytes, so the bytes at hand bound the number of runs.
	n := c.uint("number of runs", uint64(len(c.b)/3))
	runs := room[:0]
	if room == nil || uint64(cap(room)) < n {
		runs = make([]Run, 0, n)
	}
	for range n {
		r := Run{
			Slot:  uint32(c.uint("slot", MaxTargets-1)),
			Actor: uint32(c.uint("actor", math.MaxUint32)),
			Count: uint32(c.uint("count of a run", MaxTargets)),
		}
		*total += uint64(r.Count)
		if c.err != nil {
			break
		}
		if r.Count == 0 || *total > MaxTargets || uint64(r.Slot)+uint64(r.Count) > MaxTargets || uint64(r.Actor)+uint64(r.Count) > math.MaxUint32 {
			c.fail("run")
		}
		runs = append(runs, r)
	}
	return runs
}

// AppendRuns groups targets into runs and appends them to dst. Slot i of the batch goes to
// actors[i], for the slots given.
func AppendRuns(dst []Run, slots, actors []uint32) []Run {
	for i, slot := range slots {
		if n := len(dst); n > 0 && dst[n-1].Slot+dst[n-1].Count == slot && dst[n-1].Actor+dst[n-1].Count == actors[i] {
			dst[n-1].Count++
			continue
		}
		dst = append(dst, Run{Slot: slot, Actor: actors[i], Count: 1})
	}
	return dst
}

// EachRoom is how much AppendEach appends beside a payload's own bytes, at the most.
const EachRoom = 1 + binary.MaxVarintLen32

// AppendEach appends the payload of the next slot to the data of a payload of kind PayloadEach. Slots come in the order of the
// call's runs.
func AppendEach(dst []byte, p Payload) []byte { return append(AppendEachHead(dst, p), p.Data...) }

// AppendEachHead appends what stands before the payload's data, which follows as a part of its own.
func AppendEachHead(dst []byte, p Payload) []byte {
	return binary.AppendUvarint(append(dst, byte(p.Kind)), uint64(len(p.Data)))
}

// ParseEach reads the payloads of n slots from the data of a payload of kind PayloadEach. They alias b.
func ParseEach(b []byte, n int) ([]Payload, error) {
	cur := cursor{b: b, what: "payloads"}
	if n < 0 || n > len(b)/2 { // each takes two bytes at least
		cur.fail("number of payloads")
		return nil, cur.err
	}
	ps := make([]Payload, n)
	for i := range ps {
		ps[i] = cur.each()
	}
	return ps, cur.end()
}

func (c *cursor) each() Payload {
	p := Payload{Kind: PayloadKind(c.byte("kind of a payload"))}
	if p.Kind == PayloadEach || p.Kind >= payloadEnd {
		c.fail("kind of a payload")
	}
	p.Data = c.bytes("payload")
	return p
}

// CutEach cuts the data of a payload of kind PayloadEach behind the payloads of its first n slots. Both parts alias b.
func CutEach(b []byte, n int) (first, rest []byte, err error) {
	cur := cursor{b: b, what: "payloads"}
	for range n {
		if cur.each(); cur.err != nil {
			return nil, nil, cur.err
		}
	}
	cut := len(b) - len(cur.b)
	return b[:cut:cut], b[cut:], nil
}
