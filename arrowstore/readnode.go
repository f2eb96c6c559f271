// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"encoding/binary"
	"slices"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// head is what every node of the tree of arrays starts with.
type head struct {
	length, offset, nulls int
	buffers               []uint32 // by number, 0 for none
}

// head reads the head of a node.
func (u *unflattener) head(depth int) head {
	if depth > 2*maxNesting {
		u.fail("arrays are nested more than %d deep", 2*maxNesting)
	}
	h := head{length: u.uint(maxLength), offset: u.uint(maxLength)}
	h.nulls = u.uint(uint64(h.length)+1) - 1
	n := u.count(1)
	if n > len(u.numbers) {
		u.numbers = make([]uint32, max(n, 3*len(u.buffers)/2))
	}
	h.buffers, u.numbers = u.numbers[:n:n], u.numbers[n:]
	for i := range h.buffers {
		h.buffers[i] = uint32(u.uint(uint64(len(u.buffers))))
	}
	return h
}

// bytes returns buffer i of a node, which is nil when there is none.
func (u *unflattener) bytes(h head, i int) []byte { return bufferAt(u.buffers, h.buffers[i]) }

// bufferAt returns the buffer of a number, which is nil only for number 0.
func bufferAt(buffers [][]byte, number uint32) []byte {
	if number == 0 {
		return nil
	}
	if b := buffers[number-1]; b != nil {
		return b
	}
	return []byte{}
}

// plainData is the memory of the data of an array with up to three buffers, in one piece.
type plainData struct {
	data     array.Data
	buffers  [3]memory.Buffer
	pointers [3]*memory.Buffer
}

// arrayData makes the data of a node whose head was checked. The caller releases it.
func (p *pin) arrayData(dt arrow.DataType, h head, buffers [][]byte, children []arrow.ArrayData) *array.Data {
	d := new(plainData)
	made, pointers := d.buffers[:], d.pointers[:]
	if n := len(h.buffers); n > len(made) {
		made, pointers = make([]memory.Buffer, n), make([]*memory.Buffer, n)
	}
	pointers = pointers[:len(h.buffers)]
	for i, n := range h.buffers {
		if b := bufferAt(buffers, n); b != nil {
			p.count.Add(1)
			made[i] = *memory.NewBufferWithAllocator(b, p)
			pointers[i] = &made[i]
		}
	}
	d.data.Reset(dt, h.length, pointers, children, h.nulls, h.offset)
	d.data.Retain() // its references were zero
	for _, b := range pointers {
		if b != nil {
			b.Release() // the data has a reference of its own
		}
	}
	return &d.data
}

// data reads one node and those below it. After an error it returns nil, and what it built is released.
func (u *unflattener) data(dt arrow.DataType, depth int) *array.Data {
	h := u.head(depth)
	if u.err != nil {
		return nil
	}
	storage := storageOf(dt)
	if dict, ok := storage.(*arrow.DictionaryType); ok {
		return u.dictionary(dt, dict, h, depth)
	}
	types := childTypes(storage)
	var children []arrow.ArrayData
	defer func() {
		for _, c := range children {
			c.Release()
		}
	}()
	for _, t := range types {
		c := u.data(t, depth+1)
		if c == nil {
			return nil
		}
		children = append(children, c)
	}
	if u.check(storage, h); u.err == nil {
		u.checkChildren(storage, h, children)
	}
	if u.err != nil {
		return nil
	}
	return u.pin.arrayData(dt, h, u.buffers, slices.Clone(children))
}

func (u *unflattener) dictionary(dt arrow.DataType, t *arrow.DictionaryType, h head, depth int) *array.Data {
	var values *array.Data
	if u.bool() {
		if values = u.data(t.ValueType, depth+1); values == nil {
			return nil
		}
		defer values.Release()
	} else if h.length > 0 {
		u.fail("an array has no dictionary")
	}
	if u.check(t.IndexType, h); u.err != nil {
		return nil
	}
	d := u.pin.arrayData(dt, h, u.buffers, nil)
	d.SetDictionary(values)
	return d
}

// layout is what layoutOf returns.
type layout struct {
	specs []arrow.BufferSpec
	more  bool
}

// layout returns layoutOf(dt), which allocates, from memory if it was asked before.
func (u *unflattener) layout(dt arrow.DataType) layout {
	if plainType(dt.ID()) == nil {
		specs, more := layoutOf(dt)
		return layout{specs, more}
	}
	l, ok := u.layouts[dt.ID()]
	if !ok {
		l.specs, l.more = layoutOf(dt)
		if u.layouts == nil {
			u.layouts = map[arrow.Type]layout{}
		}
		u.layouts[dt.ID()] = l
	}
	return l
}

// check sees that an array's own buffers are as many and as long as its type and length demand.
func (u *unflattener) check(dt arrow.DataType, h head) {
	if u.err != nil {
		return
	}
	if width := plainWidth(dt); width > 0 {
		u.checkPlain(dt, width, h)
		return
	}
	l := u.layout(dt)
	if len(h.buffers) < len(l.specs) || len(h.buffers) > len(l.specs) && !l.more {
		u.fail("%v with %d buffers", dt, len(h.buffers))
		return
	}
	end := h.length + h.offset
	for i, spec := range l.specs {
		b := u.bytes(h, i)
		if b == nil {
			if i > 0 && h.length > 0 && spec.Kind != arrow.KindAlwaysNull {
				u.fail("%v without buffer %d", dt, i)
			}
			continue
		}
		n, need := len(b), end
		if i == 1 && hasEndOffset(dt.ID()) && h.length > 0 {
			need++
		}
		switch spec.Kind {
		case arrow.KindBitmap:
			if need > 8*n {
				u.fail("%v: bitmap of %d bytes for %d elements", dt, n, need)
			}
		case arrow.KindFixedWidth:
			if h.length > 0 && spec.ByteWidth > 0 && need > n/spec.ByteWidth {
				u.fail("%v: %d bytes for %d elements", dt, n, need)
			}
		case arrow.KindVarWidth, arrow.KindAlwaysNull:
		}
	}
	if u.err == nil && h.length > 0 {
		u.checkEnd(dt, h)
	}
}

// checkPlain is check for a type of plain width.
func (u *unflattener) checkPlain(dt arrow.DataType, width int, h head) {
	if len(h.buffers) != 2 {
		u.fail("%v with %d buffers", dt, len(h.buffers))
		return
	}
	end, validity, values := h.length+h.offset, u.bytes(h, 0), u.bytes(h, 1)
	switch {
	case validity != nil && end > 8*len(validity):
		u.fail("%v: bitmap of %d bytes for %d elements", dt, len(validity), end)
	case values == nil && end > 0:
		u.fail("%v without buffer 1", dt)
	case end > len(values)/width:
		u.fail("%v: %d bytes for %d elements", dt, len(values), end)
	}
}

// checkEnd sees that the last of the offsets of strings lies within the values.
func (u *unflattener) checkEnd(dt arrow.DataType, h head) {
	end := h.length + h.offset
	var last int
	switch dt.ID() {
	case arrow.STRING, arrow.BINARY:
		last = int(int32(binary.NativeEndian.Uint32(u.bytes(h, 1)[end*4:])))
	case arrow.LARGE_STRING, arrow.LARGE_BINARY:
		last = int(int64(binary.NativeEndian.Uint64(u.bytes(h, 1)[end*8:])))
	default:
		return
	}
	if n := len(u.bytes(h, 2)); last < 0 || last > n {
		u.fail("%v: %d bytes of values for an offset of %d", dt, n, last)
	}
}

// checkedWhole reports whether check covers all that Arrow looks at when it makes an array of this type.
func checkedWhole(id arrow.Type) bool {
	switch id {
	case arrow.BOOL, arrow.STRING, arrow.BINARY, arrow.LARGE_STRING, arrow.LARGE_BINARY, arrow.FIXED_SIZE_BINARY:
		return true
	case arrow.DECIMAL128, arrow.DECIMAL256, arrow.FLOAT16, arrow.DATE32, arrow.DATE64, arrow.TIMESTAMP, arrow.TIME32, arrow.TIME64,
		arrow.DURATION, arrow.INTERVAL_MONTHS, arrow.INTERVAL_DAY_TIME, arrow.INTERVAL_MONTH_DAY_NANO:
		return true
	default:
		return arrow.IsInteger(id) || arrow.IsFloating(id)
	}
}

// layoutOf returns which buffers an array of type dt has, and whether more may follow. Arrow's own answer leaves out the
// missing bitmap of unions, which is there as no buffer, and has one for run ends and nulls, which need not be.
func layoutOf(dt arrow.DataType) ([]arrow.BufferSpec, bool) {
	layout := dt.Layout()
	switch dt.ID() {
	case arrow.SPARSE_UNION, arrow.DENSE_UNION:
		return append([]arrow.BufferSpec{arrow.SpecAlwaysNull()}, layout.Buffers...), false
	case arrow.RUN_END_ENCODED, arrow.NULL:
		return nil, true // one that is never there may be listed
	default:
		return layout.Buffers, layout.VariadicSpec != nil
	}
}

// hasEndOffset says whether a type's buffer 1 has one element more than the array.
func hasEndOffset(id arrow.Type) bool {
	switch id {
	case arrow.STRING, arrow.BINARY, arrow.LIST, arrow.MAP, arrow.LARGE_STRING, arrow.LARGE_BINARY, arrow.LARGE_LIST:
		return true
	default:
		return false
	}
}

// checkChildren sees that the children are as long as the parent demands.
func (u *unflattener) checkChildren(dt arrow.DataType, h head, children []arrow.ArrayData) {
	if h.length == 0 {
		return
	}
	end := h.length + h.offset
	for _, c := range children {
		need := 0
		switch t := dt.(type) {
		case *arrow.StructType, *arrow.SparseUnionType:
			need = end
		case *arrow.FixedSizeListType:
			need = end // at least: end*n may overflow
			if end > c.Len()/int(t.Len()) {
				u.fail("%v: child of %d elements for %d", dt, c.Len(), end)
			}
		case *arrow.ListType, *arrow.MapType:
			need = int(int32(binary.NativeEndian.Uint32(u.bytes(h, 1)[end*4:])))
		case *arrow.LargeListType:
			need = int(int64(binary.NativeEndian.Uint64(u.bytes(h, 1)[end*8:])))
		}
		if need < 0 || need > c.Len() {
			u.fail("%v: child of %d elements for %d", dt, c.Len(), need)
		}
	}
}
