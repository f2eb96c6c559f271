// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"encoding/binary"
	"fmt"
	"reflect"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/tensor"
)

// Kinds of flattened values, the byte after flatMagic.
const (
	flatMagic  = "TAF1"
	flatRecord = 'R'
	flatArray  = 'A'
	flatTensor = 'T'
)

// maxLength bounds lengths and offsets of arrays, in elements, so that sums of two cannot overflow.
const maxLength = 1 << 48

// Flattens reports whether values of type t can be passed to Flatten: Arrow records, arrays and tensors.
func Flattens(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[arrow.Record]()) || t.Implements(reflect.TypeFor[arrow.Array]()) ||
		t.Implements(reflect.TypeFor[tensor.Interface]())
}

// Flatten describes an arrow.Record, arrow.Array or tensor.Interface as a few bytes and the memory buffers it consists
// of, which are not copied: they are valid as long as the value is. Unflatten makes the value of them again, in another
// process if need be. Other values are ErrType. Buffers that are used more than once are returned once. Of a slice of a
// larger array only the part that it shows is returned; for that, the offsets of strings and lists are copied.
func Flatten(v any) (meta []byte, buffers [][]byte, err error) {
	var f flattener
	all, err := f.flatten(v, nil)
	if err != nil {
		return nil, nil, err
	}
	return all[0], all[1:], nil
}

// flattener flattens values one after another. Its zero value is ready; what flatten returned is valid until the next
// call.
type flattener struct {
	meta    []byte
	buffers [][]byte // the first is the description
	seen    bufferSet
	known   *schemas
}

// flatten returns the description of a value, followed by its buffers. known is a memory of schemas, which may be nil.
func (f *flattener) flatten(v any, known *schemas) ([][]byte, error) {
	f.meta = append(f.meta[:0], flatMagic...)
	f.buffers = append(f.buffers[:0], nil)
	f.seen.reset()
	f.known = known
	var err error
	switch v := v.(type) {
	case arrow.Record:
		err = f.record(v)
	case arrow.Array:
		f.meta = append(f.meta, flatArray)
		err = f.typed(v.DataType(), v.Data())
	case tensor.Interface:
		err = f.tensor(v)
	default:
		err = fmt.Errorf("%T is no Arrow record, array or tensor: %w", v, ErrType)
	}
	if err != nil {
		return nil, fmt.Errorf("flatten: %w", err)
	}
	f.buffers[0] = f.meta
	return f.buffers, nil
}

func (f *flattener) record(r arrow.Record) error {
	f.meta = append(f.meta, flatRecord)
	schema := r.Schema()
	described := f.known.text(schema)
	if described == nil {
		var err error
		if described, err = appendFields(appendMetadata(nil, schema.Metadata()), schema.Fields(), 0); err != nil {
			return err
		}
		f.known.putText(schema, described)
	}
	f.meta = binary.AppendUvarint(f.meta, uint64(len(described)))
	f.meta = append(f.meta, described...)
	f.meta = binary.AppendUvarint(f.meta, uint64(r.NumRows()))
	for i := range schema.NumFields() {
		c := r.Column(i)
		if err := f.data(schema.Field(i).Type, c.Data(), 0, c.Len()); err != nil {
			return fmt.Errorf("column %q: %w", schema.Field(i).Name, err)
		}
	}
	return nil
}

func (f *flattener) tensor(t tensor.Interface) error {
	f.meta = append(f.meta, flatTensor)
	f.meta = binary.AppendUvarint(f.meta, uint64(t.NumDims()))
	for i := range t.NumDims() {
		if t.Strides()[i] < 0 {
			return fmt.Errorf("tensor with stride %d: %w", t.Strides()[i], ErrType)
		}
		f.meta = binary.AppendUvarint(f.meta, uint64(t.Shape()[i]))
		f.meta = binary.AppendUvarint(f.meta, uint64(t.Strides()[i]))
	}
	f.meta = binary.AppendUvarint(f.meta, uint64(len(t.DimNames())))
	for _, name := range t.DimNames() {
		f.meta = appendString(f.meta, name)
	}
	return f.typed(t.DataType(), t.Data())
}

func (f *flattener) typed(dt arrow.DataType, data arrow.ArrayData) error {
	var err error
	if f.meta, err = appendType(f.meta, dt, 0); err != nil {
		return err
	}
	return f.data(dt, data, 0, data.Len())
}

// storageOf returns the type that says how the values of dt lie in memory.
func storageOf(dt arrow.DataType) arrow.DataType {
	for {
		ext, ok := dt.(arrow.ExtensionType)
		if !ok {
			return dt
		}
		dt = ext.StorageType()
	}
}

// childTypes returns the types of the arrays below one of type dt, which is no extension.
func childTypes(dt arrow.DataType) []arrow.DataType {
	switch t := dt.(type) {
	case *arrow.RunEndEncodedType:
		return []arrow.DataType{t.RunEnds(), t.Encoded()}
	case arrow.NestedType:
		fields := t.Fields()
		types := make([]arrow.DataType, len(fields))
		for i, f := range fields {
			types[i] = f.Type
		}
		return types
	}
	return nil
}
