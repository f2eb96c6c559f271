// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"math"
)

// MaxBuffers is the largest number of buffers of an object that travels between hosts.
const MaxBuffers = 1 << 20

// Remote says where an object is that may be on another host: the data of a payload of kind PayloadRemote.
type Remote struct {
	ID     []byte // identity, at its origin
	Origin uint32 // node whose host has the object
	Source uint32 // node that has it or is getting it, to be asked first
}

// Append appends the data to dst and returns it.
func (r *Remote) Append(dst []byte) []byte {
	dst = appendBytes(dst, r.ID)
	dst = binary.AppendUvarint(dst, uint64(r.Origin))
	return binary.AppendUvarint(dst, uint64(r.Source))
}

// ParseRemote reads the data of a payload of kind PayloadRemote. The identity aliases b.
func ParseRemote(b []byte) (Remote, error) {
	cur := cursor{b: b, what: "remote object"}
	r := Remote{ID: cur.bytes("identity")}
	r.Origin = uint32(cur.uint("origin", math.MaxUint32))
	r.Source = uint32(cur.uint("source", math.MaxUint32))
	return r, cur.end()
}

// Fetch is the body of a fetch frame: a request for an object. Header.Seq is the number by which its chunks are known.
type Fetch struct {
	ID     []byte // identity at the object's origin
	Offset uint64 // bytes of the object that the asking side has already
	Host   string // of the asking side: on the same host an identity is enough of an answer
}

// Append appends the body to dst and returns it.
func (f *Fetch) Append(dst []byte) []byte {
	dst = appendBytes(dst, f.ID)
	dst = binary.AppendUvarint(dst, f.Offset)
	return appendBytes(dst, f.Host)
}

// ParseFetch reads the body of a fetch frame. The identity aliases b.
func ParseFetch(b []byte) (Fetch, error) {
	cur := cursor{b: b, what: "fetch"}
	f := Fetch{ID: cur.bytes("identity"), Offset: cur.uint("offset", math.MaxInt64)}
	f.Host = string(cur.bytes("host"))
	return f, cur.end()
}

// ChunkKind tells what a chunk frame holds.
type ChunkKind uint8

// The kinds of chunks.
const (
	ChunkLayout ChunkKind = iota // the sizes of the object's buffers; before any data
	ChunkData                    // bytes of the buffers, which count as one behind the other
	ChunkLocal                   // the identity of an object on the host of both sides, in place of all others
	ChunkFault                   // why the object cannot be had, in place of what has not come
)

// Chunk is the body of a chunk frame.
type Chunk struct {
	Kind   ChunkKind
	Sizes  []int64 // ChunkLayout
	Offset uint64  // ChunkData: of the first byte of Data in the object
	Data   []byte  // of ChunkData; identity of ChunkLocal; a [Fault] of ChunkFault
}

// AppendHead appends the body without Data, which follows as a part of its own.
func (c *Chunk) AppendHead(dst []byte) []byte {
	dst = append(dst, byte(c.Kind))
	switch c.Kind {
	case ChunkLayout:
		dst = binary.AppendUvarint(dst, uint64(len(c.Sizes)))
		for _, n := range c.Sizes {
			dst = binary.AppendUvarint(dst, uint64(n))
		}
	case ChunkData:
		dst = binary.AppendUvarint(dst, c.Offset)
	default: // the others have nothing in front of Data
	}
	return dst
}

// Append appends the body to dst and returns it.
func (c *Chunk) Append(dst []byte) []byte { return append(c.AppendHead(dst), c.Data...) }

// ParseChunk reads the body of a chunk frame. Data aliases b.
func ParseChunk(b []byte) (Chunk, error) {
	cur := cursor{b: b, what: "chunk"}
	c := Chunk{Kind: ChunkKind(cur.byte("kind"))}
	switch c.Kind {
	case ChunkLayout:
		n := cur.uint("number of buffers", uint64(min(len(cur.b), MaxBuffers))) // each takes a byte at least
		var total uint64
		for range n {
			size := cur.uint("size of a buffer", math.MaxInt64)
			if total += size; cur.err == nil && total > math.MaxInt64 {
				cur.fail("size of a buffer")
			}
			if cur.err != nil {
				break
			}
			c.Sizes = append(c.Sizes, int64(size))
		}
		return c, cur.end()
	case ChunkData:
		c.Offset = cur.uint("offset", math.MaxInt64)
	case ChunkLocal, ChunkFault:
	default:
		cur.fail("kind")
	}
	c.Data, cur.b = cur.b, nil
	return c, cur.end()
}

// Credit is the body of a credit frame: how many bytes of a stream have been taken in all.
type Credit struct {
	Stream uint64 // number of the fetch at the side that takes; 0 stands for the answers to relayed calls
	Taken  uint64
}

// Append appends the body to dst and returns it.
func (c *Credit) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, c.Stream)
	return binary.AppendUvarint(dst, c.Taken)
}

// ParseCredit reads the body of a credit frame.
func ParseCredit(b []byte) (Credit, error) {
	cur := cursor{b: b, what: "credit"}
	c := Credit{Stream: cur.uint("stream", math.MaxUint64), Taken: cur.uint("taken", math.MaxUint64)}
	return c, cur.end()
}
