// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
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
	u := &unflattener{buffers: buffers, known: known, pin: &pin{release: release}}
	u.pin.count.Store(1) // until the value is whole
	v, err := u.value(meta)
	if err != nil {
		return nil, fmt.Errorf("unflatten: %w", err)
	}
	u.pin.Free(nil)
	return v, nil
}

// pin is the allocator of all buffers of a value, of which only Free is used: it counts what still needs the memory.
type pin struct {
	count   atomic.Int64 // buffers, and records that may yet make some
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
	numbers []uint32              // spare ones for heads
	layouts map[arrow.Type]layout // of types that are said by their id alone
	pin     *pin
	known   *schemas
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
	r := u.newRecordView(schema, rows)
	for i := range r.columns {
		if u.column(r, i); u.err != nil {
			r.Release()
			return nil, u.err
		}
	}
	if err := u.end(); err != nil {
		r.Release()
		return nil, err
	}
	return r, nil
}

// column reads the node of a column. An array whose making may fail is made at once.
func (u *unflattener) column(r *recordView, i int) {
	f, c := r.schema.Field(i), &r.columns[i]
	length := 0
	if checkedWhole(f.Type.ID()) {
		c.head = u.head(0)
		u.check(f.Type, c.head)
		length = c.head.length
	} else if data := u.data(f.Type, 0); data != nil {
		defer data.Release()
		c.set(array.MakeFromData(data))
		length = data.Len()
	}
	if length != r.rows {
		u.fail("column %q of %d rows, not %d", f.Name, length, r.rows)
	}
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
