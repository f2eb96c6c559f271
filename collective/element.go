// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/tutti-go/tutti/collective/kernel"
)

// Element is what can be moved. All nodes run the same binary, so that int, uint and uintptr have one size.
type Element interface {
	~bool |
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
func kindOf[T Element]() reflect.Kind { return reflect.TypeFor[T]().Kind() }

// bytesOf returns the memory of s. It lives as long as s does.
func bytesOf[T Element](s []T) []byte {
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
	combine func(dst, src []byte)         // dst = dst op src
	finish  func(dst []byte, members int) // what is left to do when all members are in dst
}

// arithmeticOf returns what op does to elements of type T. The error matches ErrArgument.
func arithmeticOf[T Element](in operation, op Op) (arithmetic, error) {
	if op == 0 || op >= reductionEnd {
		return arithmetic{}, fmt.Errorf("%w: %v: op is %v, want one of the reductions", ErrArgument, in, op)
	}
	a := arithmetic{finish: func([]byte, int) {}}
	switch kindOf[T]() {
	case reflect.Float32:
		a.combine = func(dst, src []byte) { kernel.AddFloat32(floats[float32](dst), src) }
		if op == Avg {
			a.finish = func(dst []byte, members int) { kernel.Div(floats[float32](dst), float32(members)) }
		}
	case reflect.Float64:
		a.combine = func(dst, src []byte) { kernel.AddFloat64(floats[float64](dst), src) }
		if op == Avg {
			a.finish = func(dst []byte, members int) { kernel.Div(floats[float64](dst), float64(members)) }
		}
	default:
		return arithmetic{}, fmt.Errorf("%w: %v: elements are %v, want float32 or float64", ErrArgument, in, kindOf[T]())
	}
	return a, nil
}
