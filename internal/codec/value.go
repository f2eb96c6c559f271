// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Value is one encoded value. Bufs alias the memory of the value that was encoded until the caller copies them,
// so neither that value nor the buffers may be written to while the Value is in use. Meta is owned by the caller.
type Value struct {
	Meta []byte   // Meta is the structured part: CBOR, or protobuf for a message at the root. It may be empty.
	Bufs [][]byte // Bufs are the out-of-band buffers in the order Meta refers to them.
}

// Size returns the bytes of Meta and Bufs together.
func (v Value) Size() int {
	n := len(v.Meta)
	for _, b := range v.Bufs {
		n += len(b)
	}
	return n
}

// The flat form, little-endian:
//
//	offset 0   version, one byte, then three zero bytes
//	offset 4   number of buffers, uint32
//	offset 8   length of Meta, uint64
//	offset 16  length of each buffer, uint64; nilBuffer for a nil one
//	           Meta
//	           each buffer, preceded by zero bytes up to a multiple of Alignment
const (
	// Alignment is the alignment of each buffer in the flat form, in bytes from its start.
	Alignment = 64

	flatVersion = 1
	flatHeader  = 16
	nilBuffer   = math.MaxUint64
)

// FlatSize returns the number of bytes AppendValue adds for v.
func FlatSize(v Value) int {
	n := flatHeader + 8*len(v.Bufs) + len(v.Meta)
	for _, b := range v.Bufs {
		if len(b) > 0 {
			n = aligned(n) + len(b)
		}
	}
	return n
}

// AppendValue appends the flat form of v to dst and returns the extended slice. Buffers are copied and aligned to
// Alignment bytes counted from where v begins, which is len(dst).
func AppendValue(dst []byte, v Value) []byte {
	dst = slices.Grow(dst, FlatSize(v))
	start := len(dst)
	dst = append(dst, flatVersion, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(v.Bufs)))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(v.Meta)))
	for _, b := range v.Bufs {
		n := uint64(len(b))
		if b == nil {
			n = nilBuffer
		}
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	dst = append(dst, v.Meta...)
	var zero [Alignment]byte
	for _, b := range v.Bufs {
		if len(b) == 0 {
			continue
		}
		at := len(dst) - start
		dst = append(dst, zero[:aligned(at)-at]...)
		dst = append(dst, b...)
	}
	return dst
}

// ParseValue reads the flat form that is all of src, at most limit bytes. The result aliases src: nothing is copied
// but the table of buffers. No length in src is trusted, and bytes that AppendValue would not have written are a
// *DecodeError.
func ParseValue(src []byte, limit int) (Value, error) {
	if len(src) > limit {
		return Value{}, flatError("%d bytes are more than the limit of %d", len(src), limit)
	}
	if len(src) < flatHeader {
		return Value{}, flatError("%d bytes are too few for a header of %d", len(src), flatHeader)
	}
	if src[0] != flatVersion || src[1] != 0 || src[2] != 0 || src[3] != 0 {
		return Value{}, flatError("version % x, want %d", src[:4], flatVersion)
	}
	count := uint64(binary.LittleEndian.Uint32(src[4:]))
	metaLen := binary.LittleEndian.Uint64(src[8:])
	rest := uint64(len(src) - flatHeader)
	if count > rest/8 {
		return Value{}, flatError("a table of %d buffers does not fit into %d bytes", count, rest)
	}
	if metaLen > rest-8*count {
		return Value{}, flatError("%d bytes of Meta do not fit into %d bytes", metaLen, rest-8*count)
	}
	table := src[flatHeader : flatHeader+8*count]
	at := flatHeader + int(8*count)
	v := Value{Meta: clip(src, at, int(metaLen))}
	at += int(metaLen)
	if count > 0 {
		v.Bufs = make([][]byte, count)
	}
	for i := range v.Bufs {
		n := binary.LittleEndian.Uint64(table[8*i:])
		if n == nilBuffer {
			continue
		}
		if n == 0 {
			v.Bufs[i] = src[at:at:at]
			continue
		}
		pos := aligned(at)
		if pos > len(src) || n > uint64(len(src)-pos) {
			return Value{}, flatError("buffer %d of %d bytes does not fit", i, n)
		}
		for _, c := range src[at:pos] {
			if c != 0 {
				return Value{}, flatError("padding before buffer %d is not zero", i)
			}
		}
		v.Bufs[i] = clip(src, pos, int(n))
		at = pos + int(n)
	}
	if at != len(src) {
		return Value{}, flatError("%d surplus bytes", len(src)-at)
	}
	return v, nil
}

// clip cuts the capacity as well, so that an append by the receiver cannot reach its neighbour.
func clip(src []byte, at, n int) []byte {
	if n == 0 {
		return nil
	}
	return src[at : at+n : at+n]
}

func aligned(n int) int { return (n + Alignment - 1) &^ (Alignment - 1) }

func flatError(format string, args ...any) error {
	return &DecodeError{Reason: "flat form: " + fmt.Sprintf(format, args...)}
}
