// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// cut is the part of an array's memory that is flattened: the elements from, a multiple of 8 so that bitmaps can be cut
// there, up to to, counted from the start of the buffers. A cut of everything leaves all as it is.
type cut struct {
	from, to int
	all      bool
}

// data appends one node of the tree of arrays, of elements [first, first+n) of data: length, offset, null count, buffers,
// dictionary, children.
func (f *flattener) data(dt arrow.DataType, data arrow.ArrayData, first, n int) error {
	if data.DataType().ID() != dt.ID() {
		return fmt.Errorf("array of %v where %v is declared: %w", data.DataType(), dt, ErrType)
	}
	if first < 0 || n < 0 || first+n > data.Len() {
		return fmt.Errorf("elements %d to +%d of an array of %d: %w", first, n, data.Len(), ErrType)
	}
	s := storageOf(dt)
	start := data.Offset() + first
	c := cut{from: start &^ 7, to: start + n}
	offset := start - c.from
	switch {
	case s.ID() == arrow.RUN_END_ENCODED: // its offset counts elements that are not there
		c.all, offset = true, start
	case n == 0:
		c, offset = cut{}, 0
	}
	if width := plainWidth(s); width > 0 && len(data.Buffers()) == 2 {
		validity, values, err := c.plain(width, data.Buffers())
		if err != nil {
			return fmt.Errorf("%v: %w", dt, err)
		}
		f.node(n, offset, nulls(data, n), 2)
		f.meta = binary.AppendUvarint(f.meta, uint64(f.buffer(validity)))
		f.meta = binary.AppendUvarint(f.meta, uint64(f.buffer(values)))
		return nil
	}
	var scratch [3][]byte
	buffers, children, err := c.buffers(s, data, scratch[:])
	if err != nil {
		return fmt.Errorf("%v: %w", dt, err)
	}
	f.node(n, offset, nulls(data, n), len(buffers))
	for _, b := range buffers {
		f.meta = binary.AppendUvarint(f.meta, uint64(f.buffer(b)))
	}
	if dict, ok := s.(*arrow.DictionaryType); ok {
		d, _ := data.Dictionary().(*array.Data) // nil when the array has none
		f.meta = appendBool(f.meta, d != nil)
		if d != nil {
			return f.data(dict.ValueType, d, 0, d.Len())
		}
		return nil
	}
	types := childTypes(s)
	if len(types) != len(data.Children()) {
		return fmt.Errorf("array of %v with %d children: %w", dt, len(data.Children()), ErrType)
	}
	for i, child := range data.Children() {
		part := children
		if part.all {
			part = cut{to: child.Len()}
		}
		if err := f.data(types[i], child, part.from, part.to-part.from); err != nil {
			return err
		}
	}
	return nil
}

// node appends what every node starts with.
func (f *flattener) node(length, offset, nulls, buffers int) {
	f.meta = binary.AppendUvarint(f.meta, uint64(length))
	f.meta = binary.AppendUvarint(f.meta, uint64(offset))
	f.meta = binary.AppendUvarint(f.meta, uint64(nulls+1))
	f.meta = binary.AppendUvarint(f.meta, uint64(buffers))
}

// plainWidth returns the bytes of a value of a type whose arrays are a bitmap and values of one width, and 0 for others.
func plainWidth(dt arrow.DataType) int {
	switch dt.ID() {
	case arrow.BOOL, arrow.DICTIONARY:
		return 0
	default:
		if t, ok := dt.(arrow.FixedWidthDataType); ok {
			return t.Bytes()
		}
		return 0
	}
}

// plain returns what is needed of the bitmap and the values.
func (c cut) plain(width int, buffers []*memory.Buffer) (validity, values []byte, err error) {
	if validity, err = slice(bytesOf(buffers[0]), c.from/8, (c.to+7)/8); err == nil {
		values, err = slice(bytesOf(buffers[1]), c.from*width, c.to*width)
	}
	return validity, values, err
}

// bytesOf returns the memory of a buffer; it is nil only when there is no buffer.
func bytesOf(b *memory.Buffer) []byte {
	if b == nil {
		return nil
	}
	if p := b.Bytes(); p != nil {
		return p
	}
	return []byte{}
}

// nulls returns the null count of n elements of an array, or -1 if it is not known.
func nulls(data arrow.ArrayData, n int) int {
	switch {
	case data.NullN() == 0 || n == 0:
		return 0
	case n == data.Len():
		return max(data.NullN(), -1)
	}
	return -1
}

// buffer returns the number of a buffer among those of the value, or 0 for no buffer.
func (f *flattener) buffer(b []byte) int {
	if b == nil {
		return 0
	}
	n, ok := f.seen.add(b, len(f.buffers))
	if !ok {
		f.buffers = append(f.buffers, b)
	}
	return n
}

// buffers returns what is needed of an array's buffers, in scratch if they fit, and which elements of the children are.
func (c cut) buffers(dt arrow.DataType, data arrow.ArrayData, scratch [][]byte) ([][]byte, cut, error) {
	all := scratch[:0]
	for _, b := range data.Buffers() {
		all = append(all, bytesOf(b))
	}
	whole := cut{all: true}
	if c.all {
		return all, whole, nil
	}
	if hasEndOffset(dt.ID()) {
		if len(all) < 2 {
			return nil, whole, fmt.Errorf("%d buffers: %w", len(all), ErrType)
		}
		return c.offsets(dt, all)
	}
	specs, _ := layoutOf(dt)
	if len(all) < len(specs) {
		return nil, whole, fmt.Errorf("%d buffers: %w", len(all), ErrType)
	}
	for i, spec := range specs {
		var err error
		switch spec.Kind {
		case arrow.KindBitmap:
			all[i], err = slice(all[i], c.from/8, (c.to+7)/8)
		case arrow.KindFixedWidth:
			all[i], err = slice(all[i], c.from*spec.ByteWidth, c.to*spec.ByteWidth)
		case arrow.KindVarWidth, arrow.KindAlwaysNull:
		}
		if err != nil {
			return nil, whole, err
		}
	}
	switch t := dt.(type) {
	case *arrow.StructType, *arrow.SparseUnionType:
		return all, c, nil
	case *arrow.FixedSizeListType:
		return all, cut{from: c.from * int(t.Len()), to: c.to * int(t.Len())}, nil
	}
	return all, whole, nil // dense unions and list views refer to any element
}

// offsets cuts an array of strings or lists. Where the values before the cut are left out, the offsets are copied.
func (c cut) offsets(dt arrow.DataType, all [][]byte) ([][]byte, cut, error) {
	width := 4
	switch dt.ID() {
	case arrow.LARGE_STRING, arrow.LARGE_BINARY, arrow.LARGE_LIST:
		width = 8
	default:
	}
	var err error
	if all[0], err = slice(all[0], c.from/8, (c.to+7)/8); err != nil {
		return nil, cut{}, err
	}
	var lo, hi int
	if c.to == 0 {
		all[1], err = slice(all[1], 0, 0)
	} else if all[1], err = slice(all[1], c.from*width, (c.to+1)*width); err == nil {
		all[1], lo, hi, err = rebase(all[1], width)
	}
	if err == nil && len(all) > 2 {
		all[2], err = slice(all[2], lo, hi)
	}
	return all, cut{from: lo, to: hi}, err
}

// rebase returns offsets that start at 0, and where they started and ended before.
func rebase(b []byte, width int) (rebased []byte, lo, hi int, err error) {
	at := func(i int) int {
		if width == 4 {
			return int(int32(binary.NativeEndian.Uint32(b[i:])))
		}
		return int(int64(binary.NativeEndian.Uint64(b[i:])))
	}
	if len(b) < width {
		return nil, 0, 0, fmt.Errorf("no offsets: %w", ErrType)
	}
	lo, hi = at(0), at(len(b)-width)
	if lo < 0 || hi < lo {
		return nil, 0, 0, fmt.Errorf("offsets from %d to %d: %w", lo, hi, ErrType)
	}
	if lo == 0 {
		return b, lo, hi, nil
	}
	rebased = make([]byte, 0, len(b))
	for i := 0; i < len(b); i += width {
		if width == 4 {
			rebased = binary.NativeEndian.AppendUint32(rebased, uint32(at(i)-lo))
		} else {
			rebased = binary.NativeEndian.AppendUint64(rebased, uint64(at(i)-lo))
		}
	}
	return rebased, lo, hi, nil
}

// slice returns bytes [from, to) of a buffer, which may be missing.
func slice(b []byte, from, to int) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	if from < 0 || to < from || to > len(b) {
		return nil, fmt.Errorf("bytes %d to %d of a buffer of %d: %w", from, to, len(b), ErrType)
	}
	return b[from:to:to], nil
}
