// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"fmt"
	"reflect"
	"unsafe"
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

// The reductions, and the elements that they are for. An operation on others is an ErrArgument. Elements are combined in an order
// that depends on the length and the number of members alone.
const (
	Sum        Op = 1 + iota // numbers; integers wrap around
	Avg                      // integers and floats: the sum divided by the number of members, rounded once more or truncated toward zero
	Prod                     // numbers; integers wrap around
	Min                      // integers and floats; a NaN wins against all, and -0 is smaller than 0
	Max                      // integers and floats; a NaN wins against all, and 0 is larger than -0
	BitAnd                   // integers
	BitOr                    // integers
	BitXor                   // integers
	LogicalAnd               // bool
	LogicalOr                // bool
	reductionEnd
)

// String returns the name of the reduction.
func (o Op) String() string {
	if o == 0 || o >= reductionEnd {
		return fmt.Sprintf("op(%d)", uint8(o))
	}
	return [...]string{"sum", "avg", "prod", "min", "max", "bit-and", "bit-or", "bit-xor", "logical-and", "logical-or"}[o-1]
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

// elements is the reverse of bytesOf: b must be aligned for T and hold whole elements.
func elements[T any](b []byte) []T {
	if len(b) == 0 {
		return nil
	}
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(zero)))
}
