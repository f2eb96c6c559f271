// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"math"
)

// MaxDepth is how many relays may lie behind each other.
const MaxDepth = 64

// Relay is the body of a relay frame: one method, the argument, and the part of the plan that its receiver is to carry out.
type Relay struct {
	Method  uint32
	Flags   CallFlags
	Payload Payload // of all targets; of kind PayloadEach, those of their slots in the order in which the branch names them, see [EachShare]
	Branch  []byte  // see [ParseBranch]
}

// AppendHead appends the body without the payload's data, of which there are so many bytes, and without the branch. Both follow as parts of
// their own.
func (r *Relay) AppendHead(dst []byte, size int) []byte {
	dst = binary.AppendUvarint(dst, uint64(r.Method))
	dst = append(dst, byte(r.Flags), byte(r.Payload.Kind))
	return binary.AppendUvarint(dst, uint64(size))
}

// Append appends the body to dst and returns it.
func (r *Relay) Append(dst []byte) []byte {
	return append(append(r.AppendHead(dst, len(r.Payload.Data)), r.Payload.Data...), r.Branch...)
}

// ParseRelay reads the body of a relay frame but for its branch. The result aliases b.
func ParseRelay(b []byte) (Relay, error) {
	cur := cursor{b: b, what: "relay"}
	r := Relay{Method: uint32(cur.uint("method", math.MaxUint32))}
	if r.Flags = CallFlags(cur.byte("flags")); r.Flags >= callFlagsEnd {
		cur.fail("flags")
	}
	r.Payload.Kind = PayloadKind(cur.byte("payload kind"))
	if r.Payload.Kind >= payloadEnd {
		cur.fail("payload kind")
	}
	r.Payload.Data = cur.bytes("payload")
	r.Branch, cur.b = cur.b, nil
	return r, cur.end()
}

// Share is the part of a call that is for one node.
type Share struct {
	Node  uint32
	Order uint64 // as in [Call]; 0 if there are no runs
	Runs  []Run
}

// Child is the gateway of another host, and what it is to carry out.
type Child struct {
	Node   uint32
	Branch []byte
}

// Branch is the part of a plan that one relay carries out.
type Branch struct {
	Own      Share   // of the relay itself, which may have nothing to do but relay
	Local    []Share // of other nodes of its host
	Children []Child
}

// Append appends the branch to dst and returns it.
func (b *Branch) Append(dst []byte) []byte {
	dst = appendShare(dst, b.Own)
	dst = binary.AppendUvarint(dst, uint64(len(b.Local)))
	for _, s := range b.Local {
		dst = appendShare(dst, s)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Children)))
	for _, c := range b.Children {
		dst = binary.AppendUvarint(dst, uint64(c.Node))
		dst = appendBytes(dst, c.Branch)
	}
	return dst
}

func appendShare(dst []byte, s Share) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.Node))
	dst = binary.AppendUvarint(dst, s.Order)
	return appendRuns(dst, s.Runs)
}

// ParseBranch reads a relay's own level of a branch. The children's branches alias b and are not looked into.
func ParseBranch(b []byte) (Branch, error) {
	cur := cursor{b: b, what: "branch"}
	var total uint64
	out := Branch{Own: cur.share(&total)}
	if len(out.Own.Runs) == 0 && out.Own.Order != 0 {
		cur.fail("order of a share without runs")
	}
	n := cur.uint("number of shares", uint64(len(cur.b)/6)) // a share with a run takes six bytes at least
	for range n {
		s := cur.share(&total)
		if cur.err == nil && len(s.Runs) == 0 {
			cur.fail("number of runs")
		}
		if cur.err != nil {
			break
		}
		out.Local = append(out.Local, s)
	}
	n = cur.uint("number of children", uint64(len(cur.b)/2))
	for range n {
		c := Child{Node: uint32(cur.uint("node", math.MaxUint32)), Branch: cur.bytes("branch")}
		if cur.err != nil {
			break
		}
		out.Children = append(out.Children, c)
	}
	return out, cur.end()
}

func (c *cursor) share(total *uint64) Share {
	s := Share{Node: uint32(c.uint("node", math.MaxUint32)), Order: c.uint("order", math.MaxUint64)}
	s.Runs = c.runs(total, nil)
	if c.err == nil && len(s.Runs) > 0 && s.Order == 0 {
		c.fail("order")
	}
	return s
}

// EachShare calls yield for every share with runs in a branch and in those below it: the relay's own, those of its host, and then those of each
// child. They are not more than MaxDepth below each other.
func EachShare(b []byte, yield func(Share)) error { return eachShare(b, yield, 1) }

func eachShare(b []byte, yield func(Share), depth int) error {
	branch, err := ParseBranch(b)
	if err != nil {
		return err
	}
	if depth > MaxDepth {
		cur := cursor{what: "branch"}
		cur.fail("end: too many relays behind each other")
		return cur.err
	}
	if len(branch.Own.Runs) > 0 {
		yield(branch.Own)
	}
	for _, s := range branch.Local {
		yield(s)
	}
	for _, c := range branch.Children {
		if err := eachShare(c.Branch, yield, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// AppendUnreached appends a node to the body of an unreached frame and returns it.
func AppendUnreached(dst []byte, node uint32) []byte { return binary.AppendUvarint(dst, uint64(node)) }

// ParseUnreached reads the nodes in an unreached frame's body.
func ParseUnreached(b []byte) ([]uint32, error) {
	cur := cursor{b: b, what: "unreached"}
	var nodes []uint32
	for len(cur.b) > 0 {
		n := uint32(cur.uint("node", math.MaxUint32))
		if cur.err != nil {
			break
		}
		nodes = append(nodes, n)
	}
	return nodes, cur.err
}

// Orders is the body of a missing or a skip frame: the numbers First to Last of one caller's messages to one node.
type Orders struct {
	First, Last uint64
	Asked       uint64 // missing: how often the node has asked before
}

// Append appends the body to dst and returns it.
func (o *Orders) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, o.First)
	dst = binary.AppendUvarint(dst, o.Last)
	return binary.AppendUvarint(dst, o.Asked)
}

// ParseOrders reads the body of a missing or a skip frame.
func ParseOrders(b []byte) (Orders, error) {
	cur := cursor{b: b, what: "orders"}
	o := Orders{First: cur.order("first"), Last: cur.order("last"), Asked: cur.uint("asked", math.MaxUint64)}
	if cur.err == nil && o.Last < o.First {
		cur.fail("last")
	}
	return o, cur.end()
}
