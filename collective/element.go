// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/tutti-go/tutti/collective/kernel"
)

// Float is what can be reduced.
type Float interface{ ~float32 | ~float64 }

// Numeric is what can be moved. All nodes run the same binary, so that int, uint and uintptr have one size.
type Numeric interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr |
		~float32 | ~float64 | ~complex64 | ~complex128
}

// Op is how the elements of all members become one.
type Op uint8

// The reductions. Elements are combined in an order that depends on the length and the number of members alone.
const (
	Sum Op = 1 + iota // the sum
	Avg               // the sum divided by the number of members, rounded once more
	reductionEnd
)

// String returns the name of the reduction.
func (o Op) String() string {
	switch o {
	case Sum:
		return "sum"
	case Avg:
		return "avg"
	default:
		return fmt.Sprintf("op(%d)", uint8(o))
	}
}

// kindOf names the element type in descriptors: types of one kind may be mixed among members.
func kindOf[T Numeric]() reflect.Kind { return reflect.TypeFor[T]().Kind() }

// bytesOf returns the memory of s. It lives as long as s does.
func bytesOf[T Numeric](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(s[0])))
}

// floats is the reverse of bytesOf: b must be aligned for T and hold whole elements.
func floats[T float32 | float64](b []byte) []T {
	if len(b) == 0 {
		return nil
	}
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(zero)))
}

// arithmetic is what a reduction does to the memory of elements of one type. Destinations are aligned, sources need not be.
type arithmetic struct {
	add func(dst, src []byte)
	div func(dst []byte, by int)
}

func arithmeticOf[T Float]() arithmetic {
	if kindOf[T]() == reflect.Float32 {
		return arithmetic{
			add: func(dst, src []byte) { kernel.AddFloat32(floats[float32](dst), src) },
			div: func(dst []byte, by int) { kernel.Div(floats[float32](dst), float32(by)) },
		}
	}
	return arithmetic{
		add: func(dst, src []byte) { kernel.AddFloat64(floats[float64](dst), src) },
		div: func(dst []byte, by int) { kernel.Div(floats[float64](dst), float64(by)) },
	}
}
