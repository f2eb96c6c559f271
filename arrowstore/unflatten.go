// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/arrow/tensor"
)

// Unflatten makes the arrow.Record, arrow.Array or tensor.Interface of what Flatten returned, over the given buffers,
// which are not copied. The caller releases the value; when the last part of it goes, release is called, once, for the
// buffers are then no longer used. On an error release is not called. It returns ErrCorrupt for a description that does
// not fit the buffers and ErrType for an extension type that this process has not registered. Values within the buffers,
// such as the offsets of strings other than the last, are not looked at; Arrow checks them at each access.
func Unflatten(meta []byte, buffers [][]byte, release func()) (any, error) {
	return unflatten(meta, buffers, release, nil)
}

// unflatten is Unflatten with a memory of schemas, which may be nil.
func unflatten(meta []byte, buffers [][]byte, release func(), known *schemas) (any, error) {
	u := &unflattener{buffers: buffers, known: known, made: make([]memory.Buffer, len(buffers)), pin: &pin{release: release}}
	u.pin.count.Store(1) // until the value is whole
	v, err := u.value(meta)
	for i := range u.made {
		u.made[i].Release() // one that was not made has no owner and ignores it
	}
	if err != nil {
		return nil, fmt.Errorf("unflatten: %w", err)
	}
	u.pin.Free(nil)
	return v, nil
}

// pin is the allocator of all buffers of a value, of which only Free is used: it counts the buffers that are left.
type pin struct {
	count   atomic.Int64
	release func()
}

// Allocate satisfies memory.Allocator; Arrow does not grow buffers of finished arrays.
func (p *pin) Allocate(size int) []byte { return make([]byte, size) }

// Reallocate satisfies memory.Allocator; it copies, because the memory is not this allocator's to grow.
func (p *pin) Reallocate(size int, b []byte) []byte {
	grown := make([]byte, size)
	copy(grown, b)
	return grown
}

// Free counts one buffer as gone.
func (p *pin) Free([]byte) {
	if p.count.Add(-1) == 0 && p.release != nil {
		p.release()
	}
}

type unflattener struct {
	description
	buffers [][]byte
	made    []memory.Buffer // in one piece, for there can be many
	spare   []*memory.Buffer
	nodes   []array.Data
	layouts map[arrow.Type]layout // of types that are said by their id alone
	pin     *pin
	known   *schemas
}

// layout is what layoutOf returns.
type layout struct {
	specs []arrow.BufferSpec
	more  bool
}

// value reads the whole description. Arrow's constructors panic on data that does not fit together; what the checks here
// let through and they refuse is corrupt too.
func (u *unflattener) value(meta []byte) (v any, err error) {
	defer func() {
		if r := recover(); r != nil {
			v, err = nil, fmt.Errorf("%w: %v", ErrCorrupt, r)
		}
	}()
	rest, ok := bytes.CutPrefix(meta, []byte(flatMagic))
	if !ok {
		return nil, fmt.Errorf("no Arrow description: %w", ErrType)
	}
	u.b, u.text = rest, string(rest)
	switch kind := u.byte(); kind {
	case flatRecord:
		return u.record()
	case flatArray:
		return u.array()
	case flatTensor:
		return u.tensor()
	default:
		return nil, fmt.Errorf("value of kind %d: %w", kind, ErrCorrupt)
	}
}

// end returns the first error, which may be that something follows the description.
func (u *unflattener) end() error {
	if len(u.b) > 0 {
		u.fail("%d bytes follow it", len(u.b))
	}
	return u.err
}

func (u *unflattener) array() (arrow.Array, error) {
	data := u.data(u.dataType(0), 0)
	if data == nil {
		return nil, u.err
	}
	defer data.Release()
	if err := u.end(); err != nil {
		return nil, err
	}
	return array.MakeFromData(data), nil
}

func (u *unflattener) record() (arrow.Record, error) {
	schema := u.schema()
	rows := u.uint(maxLength)
	if u.err != nil {
		return nil, u.err
	}
	r := newRecordView(schema, rows)
	for i := range r.columns {
		f := schema.Field(i)
		data := u.data(f.Type, 0)
		if data == nil {
			r.Release()
			return nil, u.err
		}
		if r.columns[i].data = data; data.Len() != rows {
			u.fail("column %q of %d rows, not %d", f.Name, data.Len(), rows)
		}
		if !checkedWhole(f.Type.ID()) { // Arrow may find more that is wrong, and panic
			r.Column(i)
		}
	}
	if err := u.end(); err != nil {
		r.Release()
		return nil, err
	}
	return r, nil
}

func (u *unflattener) tensor() (tensor.Interface, error) {
	dims := u.count(2)
	shape, strides := make([]int64, dims), make([]int64, dims)
	for i := range dims {
		shape[i], strides[i] = int64(u.uint(maxLength)), int64(u.uint(maxLength))
	}
	names := make([]string, u.count(1))
	for i := range names {
		names[i] = u.string()
	}
	dt := u.dataType(0)
	data := u.data(dt, 0)
	if data == nil {
		return nil, u.err
	}
	defer data.Release()
	if err := u.end(); err != nil {
		return nil, err
	}
	fixed, ok := dt.(arrow.FixedWidthDataType)
	if !ok {
		return nil, fmt.Errorf("tensor of %v: %w", dt, ErrCorrupt)
	}
	if err := tensorFits(shape, strides, fixed, data.Len()); err != nil {
		return nil, err
	}
	return tensor.New(data, shape, strides, names), nil
}

// tensorFits checks that the last element lies within the n elements of the data.
func tensorFits(shape, strides []int64, dt arrow.FixedWidthDataType, n int) error {
	width := int64(dt.BitWidth() / 8)
	size, last := int64(n)*width, int64(0)
	for i, extent := range shape {
		if extent == 0 {
			return nil
		}
		if strides[i] > 0 && extent-1 > (size-last)/strides[i] {
			return fmt.Errorf("tensor of shape %v over %d elements: %w", shape, n, ErrCorrupt)
		}
		last += (extent - 1) * strides[i]
	}
	if last+width > size {
		return fmt.Errorf("tensor of shape %v over %d elements: %w", shape, n, ErrCorrupt)
	}
	return nil
}

// data reads one node and those below it. After an error it returns nil, and what it built is released.
func (u *unflattener) data(dt arrow.DataType, depth int) *array.Data {
	if depth > 2*maxNesting {
		u.fail("arrays are nested more than %d deep", 2*maxNesting)
	}
	length, offset := u.uint(maxLength), u.uint(maxLength)
	nulls := u.uint(uint64(length)+1) - 1
	buffers := u.pointers(u.count(1))
	for i := range buffers {
		buffers[i] = u.buffer()
	}
	if u.err != nil {
		return nil
	}
	storage := storageOf(dt)
	if width := plainWidth(storage); width > 0 {
		if u.checkPlain(storage, width, length+offset, buffers); u.err != nil {
			return nil
		}
		return u.node(dt, length, buffers, nil, nulls, offset)
	}
	if dict, ok := storage.(*arrow.DictionaryType); ok {
		return u.dictionary(dt, dict, length, offset, nulls, buffers, depth)
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
	if u.check(storage, length, offset, buffers); u.err == nil {
		u.checkChildren(storage, length, offset, buffers, children)
	}
	if u.err != nil {
		return nil
	}
	return u.node(dt, length, buffers, slices.Clone(children), nulls, offset)
}

// node is array.NewData with memory out of a larger piece.
func (u *unflattener) node(dt arrow.DataType, length int, buffers []*memory.Buffer, children []arrow.ArrayData, nulls, offset int) *array.Data {
	if len(u.nodes) == 0 {
		u.nodes = make([]array.Data, 1+len(u.buffers)/2)
	}
	d := &u.nodes[0]
	u.nodes = u.nodes[1:]
	d.Reset(dt, length, buffers, children, nulls, offset)
	d.Retain() // its references were zero
	return d
}

func (u *unflattener) dictionary(dt arrow.DataType, t *arrow.DictionaryType, length, offset, nulls int, buffers []*memory.Buffer, depth int) *array.Data {
	var values *array.Data
	if u.bool() {
		if values = u.data(t.ValueType, depth+1); values == nil {
			return nil
		}
		defer values.Release()
	} else if length > 0 {
		u.fail("an array has no dictionary")
	}
	if u.check(t.IndexType, length, offset, buffers); u.err != nil {
		return nil
	}
	d := u.node(dt, length, buffers, nil, nulls, offset)
	d.SetDictionary(values)
	return d
}

// buffer returns the buffer that the next number says, made on first use.
func (u *unflattener) buffer() *memory.Buffer {
	n := u.uint(uint64(len(u.buffers)))
	if n == 0 {
		return nil
	}
	b := &u.made[n-1]
	if b.Buf() == nil {
		u.pin.count.Add(1)
		data := u.buffers[n-1]
		if data == nil {
			data = []byte{}
		}
		*b = *memory.NewBufferWithAllocator(data, u.pin)
	}
	return b
}

// pointers returns n pointers out of a larger piece.
func (u *unflattener) pointers(n int) []*memory.Buffer {
	if n > len(u.spare) {
		u.spare = make([]*memory.Buffer, max(n, 3*len(u.buffers)/2))
	}
	p := u.spare[:n:n]
	u.spare = u.spare[n:]
	return p
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

// checkPlain is check for a type of plain width.
func (u *unflattener) checkPlain(dt arrow.DataType, width, end int, buffers []*memory.Buffer) {
	switch {
	case len(buffers) != 2:
		u.fail("%v with %d buffers", dt, len(buffers))
	case buffers[0] != nil && end > 8*buffers[0].Len():
		u.fail("%v: bitmap of %d bytes for %d elements", dt, buffers[0].Len(), end)
	case buffers[1] == nil && end > 0:
		u.fail("%v without buffer 1", dt)
	case buffers[1] != nil && end > buffers[1].Len()/width:
		u.fail("%v: %d bytes for %d elements", dt, buffers[1].Len(), end)
	}
}

// check sees that an array's own buffers are as many and as long as its type and length demand.
func (u *unflattener) check(dt arrow.DataType, length, offset int, buffers []*memory.Buffer) {
	l := u.layout(dt)
	if len(buffers) < len(l.specs) || len(buffers) > len(l.specs) && !l.more {
		u.fail("%v with %d buffers", dt, len(buffers))
		return
	}
	end := length + offset
	for i, spec := range l.specs {
		b := buffers[i]
		if b == nil {
			if i > 0 && length > 0 && spec.Kind != arrow.KindAlwaysNull {
				u.fail("%v without buffer %d", dt, i)
			}
			continue
		}
		n, need := b.Len(), end
		if i == 1 && hasEndOffset(dt.ID()) && length > 0 {
			need++
		}
		switch spec.Kind {
		case arrow.KindBitmap:
			if need > 8*n {
				u.fail("%v: bitmap of %d bytes for %d elements", dt, n, need)
			}
		case arrow.KindFixedWidth:
			if length > 0 && spec.ByteWidth > 0 && need > n/spec.ByteWidth {
				u.fail("%v: %d bytes for %d elements", dt, n, need)
			}
		case arrow.KindVarWidth, arrow.KindAlwaysNull:
		}
	}
	if u.err == nil && length > 0 {
		u.checkEnd(dt, end, buffers)
	}
}

// checkEnd sees that the last of the offsets of strings lies within the values.
func (u *unflattener) checkEnd(dt arrow.DataType, end int, buffers []*memory.Buffer) {
	var last int
	switch dt.ID() {
	case arrow.STRING, arrow.BINARY:
		last = int(int32(binary.NativeEndian.Uint32(buffers[1].Bytes()[end*4:])))
	case arrow.LARGE_STRING, arrow.LARGE_BINARY:
		last = int(int64(binary.NativeEndian.Uint64(buffers[1].Bytes()[end*8:])))
	default:
		return
	}
	if n := len(bytesOf(buffers[2])); last < 0 || last > n {
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
func (u *unflattener) checkChildren(dt arrow.DataType, length, offset int, buffers []*memory.Buffer, children []arrow.ArrayData) {
	if length == 0 {
		return
	}
	end := length + offset
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
			need = int(int32(binary.NativeEndian.Uint32(buffers[1].Bytes()[end*4:])))
		case *arrow.LargeListType:
			need = int(int64(binary.NativeEndian.Uint64(buffers[1].Bytes()[end*8:])))
		}
		if need < 0 || need > c.Len() {
			u.fail("%v: child of %d elements for %d", dt, c.Len(), need)
		}
	}
}
