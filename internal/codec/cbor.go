// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The CBOR major types and simple values that plans write themselves (RFC 8949, section 3).
const (
	majorUint  = 0
	majorInt   = 1
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5

	byteFalse   = 0xf4
	byteTrue    = 0xf5
	byteNull    = 0xf6
	byteFloat32 = 0xfa
	byteFloat64 = 0xfb
)

// maxScalar is the longest encoding of a number.
const maxScalar = 9

var errTruncated = errors.New("the structured part ends too early")

// appendHead writes the shortest head for a major type and its argument.
func appendHead(dst []byte, major byte, arg uint64) []byte {
	major <<= 5
	switch {
	case arg < 24:
		return append(dst, major|byte(arg))
	case arg <= math.MaxUint8:
		return append(dst, major|24, byte(arg))
	case arg <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(arg))
	case arg <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(arg))
	default:
		return binary.BigEndian.AppendUint64(append(dst, major|27), arg)
	}
}

func appendInt(dst []byte, i int64) []byte {
	if i < 0 {
		return appendHead(dst, majorInt, uint64(^i))
	}
	return appendHead(dst, majorUint, uint64(i))
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, byteTrue)
	}
	return append(dst, byteFalse)
}

// Floats keep their width, so that the bits of every NaN survive.
func appendFloat32(dst []byte, f float32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, byteFloat32), math.Float32bits(f))
}

func appendFloat64(dst []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, byteFloat64), math.Float64bits(f))
}

func appendString(dst []byte, s string) []byte {
	return append(appendHead(dst, majorText, uint64(len(s))), s...)
}

func appendBytes(dst, b []byte) []byte {
	return append(appendHead(dst, majorBytes, uint64(len(b))), b...)
}

// reader takes CBOR items off the front of meta.
type reader struct{ meta []byte }

func (r *reader) head() (major byte, arg uint64, err error) {
	if len(r.meta) == 0 {
		return 0, 0, errTruncated
	}
	first := r.meta[0]
	major, arg = first>>5, uint64(first&31)
	if arg < 24 {
		r.meta = r.meta[1:]
		return major, arg, nil
	}
	if arg > 27 {
		return 0, 0, fmt.Errorf("byte %#x is not the start of an item", first)
	}
	n := 1 << (arg - 24)
	if len(r.meta) < 1+n {
		return 0, 0, errTruncated
	}
	b := r.meta[1 : 1+n]
	switch n {
	case 1:
		arg = uint64(b[0])
	case 2:
		arg = uint64(binary.BigEndian.Uint16(b))
	case 4:
		arg = uint64(binary.BigEndian.Uint32(b))
	default:
		arg = binary.BigEndian.Uint64(b)
	}
	r.meta = r.meta[1+n:]
	return major, arg, nil
}

// null takes a null off the front, if one is there.
func (r *reader) null() bool {
	if len(r.meta) == 0 || r.meta[0] != byteNull {
		return false
	}
	r.meta = r.meta[1:]
	return true
}

func (r *reader) bool() (bool, error) {
	if len(r.meta) == 0 {
		return false, errTruncated
	}
	b := r.meta[0]
	if b != byteFalse && b != byteTrue {
		return false, fmt.Errorf("byte %#x is not a boolean", b)
	}
	r.meta = r.meta[1:]
	return b == byteTrue, nil
}

func (r *reader) int(bits int) (int64, error) {
	major, arg, err := r.head()
	if err != nil {
		return 0, err
	}
	if major > majorInt {
		return 0, fmt.Errorf("major type %d is not an integer", major)
	}
	if arg>>(bits-1) != 0 {
		return 0, fmt.Errorf("integer does not fit into %d bits", bits)
	}
	if major == majorInt {
		return ^int64(arg), nil
	}
	return int64(arg), nil
}

func (r *reader) uint(bits int) (uint64, error) {
	arg, err := r.arg(majorUint)
	if err != nil {
		return 0, err
	}
	if bits < 64 && arg>>bits != 0 {
		return 0, fmt.Errorf("integer does not fit into %d bits", bits)
	}
	return arg, nil
}

func (r *reader) float32() (float32, error) {
	b, err := r.fixed(byteFloat32, 4)
	if err != nil {
		return 0, err
	}
	return math.Float32frombits(binary.BigEndian.Uint32(b)), nil
}

func (r *reader) float64() (float64, error) {
	b, err := r.fixed(byteFloat64, 8)
	if err != nil {
		return 0, err
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
}

func (r *reader) fixed(first byte, n int) ([]byte, error) {
	if len(r.meta) < 1+n {
		return nil, errTruncated
	}
	if r.meta[0] != first {
		return nil, fmt.Errorf("byte %#x, want %#x", r.meta[0], first)
	}
	b := r.meta[1 : 1+n]
	r.meta = r.meta[1+n:]
	return b, nil
}

// arg takes a head that must be of the given major type.
func (r *reader) arg(want byte) (uint64, error) {
	major, arg, err := r.head()
	if err != nil {
		return 0, err
	}
	if major != want {
		return 0, fmt.Errorf("major type %d, want %d", major, want)
	}
	return arg, nil
}

// span takes a byte or text string; the result aliases meta.
func (r *reader) span(major byte) ([]byte, error) {
	n, err := r.arg(major)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(r.meta)) {
		return nil, errTruncated
	}
	b := r.meta[:n:n]
	r.meta = r.meta[n:]
	return b, nil
}

// count takes the head of an array or map. Every element takes at least one byte, so a count that passes is bounded by
// the bytes that are there.
func (r *reader) count(major byte) (int, error) {
	n, err := r.arg(major)
	if err != nil {
		return 0, err
	}
	if n > maxElements {
		return 0, fmt.Errorf("%d elements are more than the limit of %d", n, maxElements)
	}
	least := n
	if major == majorMap {
		least = 2 * n
	}
	if least > uint64(len(r.meta)) {
		return 0, errTruncated
	}
	return int(n), nil
}
