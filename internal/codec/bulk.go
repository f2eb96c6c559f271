// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"unsafe"
)

// sliceHeader is a slice of any element type as it lies in memory.
type sliceHeader struct {
	data unsafe.Pointer
	len  int
	cap  int
}

// rawBytes is the memory of n bytes at p, never nil.
func rawBytes(p unsafe.Pointer, n int) []byte {
	if n == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(p), n)
}

// encodeBulk is the whole encoding of a numeric slice at the root: no buffer for nil, else one.
func encodeBulk[E any](s []E) Value {
	if s == nil {
		return Value{}
	}
	var e E
	return Value{Bufs: [][]byte{rawBytes(unsafe.Pointer(unsafe.SliceData(s)), len(s)*int(unsafe.Sizeof(e)))}}
}

func (n *node) rootBulk(h *sliceHeader) Value {
	if h.data == nil {
		return Value{}
	}
	return Value{Bufs: [][]byte{rawBytes(h.data, h.len*int(n.size))}}
}

// decodeBulk is the inverse of encodeBulk for elements of which every bit pattern is valid.
func decodeBulk[E any](v Value, mode Mode) ([]E, error) {
	b, err := rootBuffer(v)
	if b == nil || err != nil {
		return nil, err
	}
	var e E
	size := int(unsafe.Sizeof(e))
	if len(b)%size != 0 {
		return nil, sizeError(len(b), size)
	}
	if len(b) == 0 {
		return []E{}, nil
	}
	n := len(b) / size
	p := unsafe.Pointer(unsafe.SliceData(b))
	if mode == View && uintptr(p)%unsafe.Alignof(e) == 0 {
		return unsafe.Slice((*E)(p), n), nil
	}
	s := make([]E, n)
	copy(rawBytes(unsafe.Pointer(unsafe.SliceData(s)), len(b)), b)
	return s, nil
}

// rootBuffer returns the one buffer of a bulk slice at the root, or nil for a nil slice.
func rootBuffer(v Value) ([]byte, error) {
	if len(v.Meta) > 0 {
		return nil, fmt.Errorf("%d bytes of structured part, want none", len(v.Meta))
	}
	switch len(v.Bufs) {
	case 0:
		return nil, nil
	case 1:
		if v.Bufs[0] == nil {
			return []byte{}, nil
		}
		return v.Bufs[0], nil
	default:
		return nil, fmt.Errorf("%d buffers, want one", len(v.Bufs))
	}
}

// setBulk makes the slice at p hold the elements in b, aliasing b if the mode and the alignment allow.
func (n *node) setBulk(p unsafe.Pointer, b []byte, mode Mode) error {
	if len(b)%int(n.size) != 0 {
		return sizeError(len(b), int(n.size))
	}
	if n.bools {
		if err := checkBools(b); err != nil {
			return err
		}
	}
	count := len(b) / int(n.size)
	data := unsafe.Pointer(unsafe.SliceData(b))
	if count == 0 || mode != View || uintptr(data)%n.align != 0 {
		fresh := reflect.MakeSlice(n.typ, count, count)
		data = fresh.UnsafePointer()
		copy(rawBytes(data, len(b)), b)
	}
	*(*sliceHeader)(p) = sliceHeader{data: data, len: count, cap: count}
	return nil
}

// setArray fills the array at p from b.
func (n *node) setArray(p unsafe.Pointer, b []byte) error {
	if want := n.count * int(n.size); len(b) != want {
		return fmt.Errorf("%d bytes, want %d", len(b), want)
	}
	if n.bools {
		if err := checkBools(b); err != nil {
			return err
		}
	}
	copy(rawBytes(p, len(b)), b)
	return nil
}

// bytesOf returns the size of a buffer of count elements, or -1 if no buffer can be that large.
func (n *node) bytesOf(count uint64) int {
	if count > math.MaxInt/uint64(n.size) {
		return -1
	}
	return int(count) * int(n.size)
}

// checkBools guards against a bool that is neither true nor false, which Go code is free to misread.
func checkBools(b []byte) error {
	var all uint64
	for ; len(b) >= 8; b = b[8:] {
		all |= binary.LittleEndian.Uint64(b)
	}
	for _, x := range b {
		all |= uint64(x)
	}
	if all&^0x0101010101010101 != 0 {
		return errors.New("a byte other than 0 and 1 among booleans")
	}
	return nil
}

func sizeError(n, size int) error {
	return fmt.Errorf("%d bytes are not a multiple of the element size %d", n, size)
}
