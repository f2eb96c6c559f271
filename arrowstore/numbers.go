// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// Numbers returns the values of an Arrow array of numbers without nulls, without copying: what functions that take slices, such as those of
// package collective, make of an array. The slice is valid as long as the array is; whether it may be written depends on who made the array: not if
// it came out of a store. A T of 16 bits without sign is for uint16 and for float16. It returns ErrType for arrays of other types than T, or with nulls.
func Numbers[T Numeric](arr arrow.Array) ([]T, error) {
	dt, _ := arrowTypeOf[T]()
	if id := arr.DataType().ID(); dt == nil || id != dt.ID() && !(id == arrow.FLOAT16 && dt.ID() == arrow.UINT16) {
		var zero T
		return nil, fmt.Errorf("array of %v as numbers of type %T: %w", arr.DataType(), zero, ErrType)
	}
	if n := arr.NullN(); n > 0 {
		return nil, fmt.Errorf("array of %d numbers of which %d are null: %w", arr.Len(), n, ErrType)
	}
	if arr.Len() == 0 {
		return []T{}, nil
	}
	data := arr.Data()
	b := data.Buffers()[1].Bytes()
	all := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), data.Offset()+data.Len())
	return all[data.Offset():len(all):len(all)], nil
}

// ArrayOf returns an Arrow array of numbers over a slice, without copying: it changes with the slice. A T of 16 bits without sign becomes uint16. It
// returns ErrType for a T that Arrow has no type for: complex numbers.
func ArrayOf[T Numeric](values []T) (arrow.Array, error) {
	dt, size := arrowTypeOf[T]()
	if dt == nil {
		return nil, fmt.Errorf("array of numbers of type %T: %w", values, ErrType)
	}
	b := memory.NewBufferBytes(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*size))
	data := array.NewData(dt, len(values), []*memory.Buffer{nil, b}, nil, 0, 0)
	defer data.Release()
	return array.MakeFromData(data), nil
}

// arrowTypeOf returns how Arrow names the numbers of a type, or nil, and their size in bytes.
func arrowTypeOf[T Numeric]() (arrow.DataType, int) {
	var zero T
	size := int(unsafe.Sizeof(zero))
	switch kind := reflect.TypeFor[T]().Kind(); kind {
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int:
		return map[int]arrow.DataType{
			1: arrow.PrimitiveTypes.Int8, 2: arrow.PrimitiveTypes.Int16, 4: arrow.PrimitiveTypes.Int32, 8: arrow.PrimitiveTypes.Int64,
		}[size], size
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		return map[int]arrow.DataType{
			1: arrow.PrimitiveTypes.Uint8, 2: arrow.PrimitiveTypes.Uint16, 4: arrow.PrimitiveTypes.Uint32, 8: arrow.PrimitiveTypes.Uint64,
		}[size], size
	case reflect.Float32:
		return arrow.PrimitiveTypes.Float32, size
	case reflect.Float64:
		return arrow.PrimitiveTypes.Float64, size
	default:
		return nil, size
	}
}
