// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"

	"github.com/tutti-go/tutti/internal/wire"
)

// operation names an exported function of this package in a descriptor. A new one is added at the end.
type operation uint8

const (
	opAllReduce operation = 1 + iota
	opBroadcast
	opBarrier
	opReduce
	opReduceScatter
	opAllGather
	opGather
	opScatter
	opAllToAll
	opSend
	opRecv
	opSendRecv
	opAllGatherV
	opGatherV
	opScatterV
	opAllToAllV
	opBroadcastShared
	opAllReduceShared
	opReduceScatterShared
	opAllGatherShared
	opGatherShared
	opScatterShared
	opAllReduceView
	opReduceScatterView
	opNewPlace
	opNewPlaceV
	opAllGatherPlace
	opGatherPlace
	opAllGatherVShared
	opGatherVShared
	opScatterVShared
	opReduceShared
	opReduceView
	opEnd
)

func (o operation) String() string {
	if o == 0 || o >= opEnd {
		return fmt.Sprintf("operation(%d)", uint8(o))
	}
	return [...]string{
		"AllReduce", "Broadcast", "Barrier", "Reduce", "ReduceScatter", "AllGather", "Gather", "Scatter", "AllToAll",
		"Send", "Recv", "SendRecv", "AllGatherV", "GatherV", "ScatterV", "AllToAllV",
		"BroadcastShared", "AllReduceShared", "ReduceScatterShared", "AllGatherShared", "GatherShared", "ScatterShared",
		"AllReduceView", "ReduceScatterView", "NewPlace", "NewPlaceV", "AllGatherPlace", "GatherPlace",
		"AllGatherVShared", "GatherVShared", "ScatterVShared", "ReduceShared", "ReduceView",
	}[o-1]
}

// isPoint says whether two members call the operation, rather than all.
func (o operation) isPoint() bool { return o == opSend || o == opRecv || o == opSendRecv }

// isShared says whether members get views of objects rather than copies.
func (o operation) isShared() bool { return o >= opBroadcastShared && o < opEnd }

// descriptorSize is the length of an encoded descriptor in bytes. It stands in front of the data in every block frame and keeps
// the alignment of what follows.
const descriptorSize = 16

// descriptor is what all members must agree on in one operation.
type descriptor struct {
	op    operation
	how   Op     // of a reduction, else 0
	kind  kind   // of the elements; 0 if there are none
	root  uint32 // of Send and Recv: the tag
	count uint64 // elements of the buffer, or of each block where there is one for every member; a hash of counts that differ

	counts []int // that count is the hash of; known where the call was made only
}

// String describes a call as its caller would.
func (d descriptor) String() string {
	switch d.op {
	case opAllReduce, opReduceScatter, opAllReduceShared, opReduceScatterShared, opAllReduceView, opReduceScatterView:
		return fmt.Sprintf("%v(%v, %v x %d)", d.op, d.how, d.kind, d.count)
	case opReduce, opReduceShared, opReduceView:
		return fmt.Sprintf("%v(%v, %v x %d, root %d)", d.op, d.how, d.kind, d.count, d.root)
	case opBroadcast, opGather, opScatter, opGatherShared, opScatterShared, opGatherPlace:
		return fmt.Sprintf("%v(%v x %d, root %d)", d.op, d.kind, d.count, d.root)
	case opBroadcastShared:
		return fmt.Sprintf("%v(%v, root %d)", d.op, d.kind, d.root)
	case opAllGatherV, opAllGatherVShared, opNewPlaceV:
		return fmt.Sprintf("%v(%v x %s)", d.op, d.kind, d.countsText())
	case opGatherV, opScatterV, opGatherVShared, opScatterVShared:
		return fmt.Sprintf("%v(%v x %s, root %d)", d.op, d.kind, d.countsText(), d.root)
	case opAllToAllV:
		return fmt.Sprintf("%v(%v)", d.op, d.kind)
	case opSend, opRecv, opSendRecv:
		return fmt.Sprintf("%v(%v x %d, tag %d)", d.op, d.kind, d.count, d.root)
	case opAllGather, opAllToAll, opAllGatherShared, opNewPlace, opAllGatherPlace:
		return fmt.Sprintf("%v(%v x %d)", d.op, d.kind, d.count)
	default:
		return d.op.String()
	}
}

// same reports whether two members have called the same. How many elements each pair has in an AllToAllV is found out later.
func (d descriptor) same(e descriptor) bool {
	return d.op == e.op && d.how == e.how && d.kind == e.kind && d.root == e.root && d.count == e.count
}

func (d descriptor) countsText() string {
	hash := fmt.Sprintf("counts of hash %016x", d.count)
	if d.counts == nil {
		return hash
	}
	return ranksText(d.counts) + ", " + hash
}

// append appends the descriptor's 16 bytes to dst and returns it.
func (d descriptor) append(dst []byte) []byte {
	dst = append(dst, byte(d.op), byte(d.how), byte(d.kind), 0)
	dst = binary.LittleEndian.AppendUint32(dst, d.root)
	return binary.LittleEndian.AppendUint64(dst, d.count)
}

// words returns the descriptor as numbers: those that append writes.
func (d descriptor) words() [2]uint64 {
	return [2]uint64{uint64(d.op) | uint64(d.how)<<8 | uint64(d.kind)<<16 | uint64(d.root)<<32, d.count}
}

// parseDescriptor reads the descriptor in front of a block.
func parseDescriptor(b []byte) (descriptor, error) {
	if len(b) < descriptorSize || b[3] != 0 || b[0] == 0 || operation(b[0]) >= opEnd || Op(b[1]) >= howEnd || kind(b[2]) >= kindEnd {
		return descriptor{}, fmt.Errorf("%w: block: bad descriptor", wire.ErrFrame)
	}
	return descriptor{
		op:    operation(b[0]),
		how:   Op(b[1]),
		kind:  kind(b[2]),
		root:  binary.LittleEndian.Uint32(b[4:]),
		count: binary.LittleEndian.Uint64(b[8:]),
	}, nil
}

// countOf returns the count of the descriptor in front of a body.
func countOf(body []byte) uint64 { return binary.LittleEndian.Uint64(body[descriptorSize-8:]) }

// hashOf makes one number of the counts that all members must agree on: FNV-1a of words in place of bytes, for which the upper half of each product, that depends
// on all of it, is mixed into the lower one.
func hashOf(counts []int) uint64 {
	h := uint64(14695981039346656037)
	for _, n := range counts {
		h = (h ^ uint64(n)) * 1099511628211
		h ^= h >> 32
	}
	return h
}

// hash is the descriptor's mark in the headers of its frames.
func (d descriptor) hash() uint32 {
	h := fnv.New32a()
	_, _ = h.Write(d.append(make([]byte, 0, descriptorSize))) // a hash never fails
	return h.Sum32()
}
