// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/tutti-go/tutti/collective/kernel"
)

// Float16 and BFloat16 are 16-bit floats, as their bits. They are moved like uint16, and reduced as the numbers that they stand for, with
// float32 in between. A type that is made from one of them is a uint16 again.
type (
	// Float16 is a number of IEEE 754 binary16.
	Float16 = kernel.Float16
	// BFloat16 is the upper half of a float32.
	BFloat16 = kernel.BFloat16
)

// NewFloat16 returns the nearest Float16, of two that are as near the even one. What is nearer to 65536 than to 65504, the largest finite
// one, becomes an infinity.
func NewFloat16(f float32) Float16 { return kernel.NewFloat16(f) }

// NewBFloat16 returns the nearest BFloat16, of two that are as near the even one.
func NewBFloat16(f float32) BFloat16 { return kernel.NewBFloat16(f) }

// Element is what can be moved, Float16 and BFloat16 among it. All nodes run the same binary, so that int, uint and uintptr have one
// size.
type Element interface {
	~bool |
		~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr |
		~float32 | ~float64 | ~complex64 | ~complex128
}

// Reduction is how the elements of all members become one: an [Op], [PremulSum] or [Custom].
type Reduction interface {
	fmt.Stringer
	// on returns what it does to elements of a kind, or an error that goes on after "op is".
	on(k kind) (arithmetic, error)
}

// Op is a reduction that needs no more than its name.
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
	LogicalAnd               // bool, integers and floats, of which all but 0 and -0 are true; the result is 0 or 1
	LogicalOr                // likewise
	reductionEnd
)

// What stands in a descriptor for reductions that are more than a name. The numbers are part of the format.
const (
	premulSum Op = 64 + iota
	customAny
	customOrdered
	howEnd
)

// String returns the name of the reduction.
func (o Op) String() string {
	switch o {
	case premulSum:
		return "premul-sum"
	case customAny:
		return "custom"
	case customOrdered:
		return "custom in the order of ranks"
	default:
	}
	if o == 0 || o >= reductionEnd {
		return fmt.Sprintf("op(%d)", uint8(o))
	}
	return [...]string{"sum", "avg", "prod", "min", "max", "bit-and", "bit-or", "bit-xor", "logical-and", "logical-or"}[o-1]
}

// kind names an element type in descriptors: those of reflect, and two more. Types of one kind may be mixed among members.
type kind uint8

const (
	kindBool     = kind(reflect.Bool)
	kindFloat16  = kind(reflect.Complex128) + 1
	kindBFloat16 = kindFloat16 + 1
	kindEnd      = kindBFloat16 + 1
)

func kindOf[T Element]() kind {
	switch t := reflect.TypeFor[T](); t {
	case reflect.TypeFor[Float16]():
		return kindFloat16
	case reflect.TypeFor[BFloat16]():
		return kindBFloat16
	default:
		return kind(t.Kind())
	}
}

// String returns the name of the type in Go.
func (k kind) String() string {
	switch k {
	case kindFloat16:
		return "float16"
	case kindBFloat16:
		return "bfloat16"
	default:
		return reflect.Kind(k).String()
	}
}

func (k kind) isInteger() bool { return k >= kind(reflect.Int) && k <= kind(reflect.Uintptr) }

// isReal says whether elements have an order.
func (k kind) isReal() bool {
	return k.isInteger() || k == kindFloat16 || k == kindBFloat16 || k == kind(reflect.Float32) || k == kind(reflect.Float64)
}

// elements returns how the kernels name the kind.
func (k kind) elements() kernel.Type {
	switch k {
	case kindFloat16:
		return kernel.F16
	case kindBFloat16:
		return kernel.BF16
	default:
	}
	const word = unsafe.Sizeof(0) / 8 // 0 if an int has 32 bits
	return [...]kernel.Type{
		reflect.Bool: kernel.U8,
		reflect.Int:  [...]kernel.Type{kernel.I32, kernel.I64}[word],
		reflect.Int8: kernel.I8, reflect.Int16: kernel.I16, reflect.Int32: kernel.I32, reflect.Int64: kernel.I64,
		reflect.Uint:  [...]kernel.Type{kernel.U32, kernel.U64}[word],
		reflect.Uint8: kernel.U8, reflect.Uint16: kernel.U16, reflect.Uint32: kernel.U32, reflect.Uint64: kernel.U64,
		reflect.Uintptr: [...]kernel.Type{kernel.U32, kernel.U64}[word],
		reflect.Float32: kernel.F32, reflect.Float64: kernel.F64, reflect.Complex64: kernel.C64, reflect.Complex128: kernel.C128,
	}[k]
}

// bytesOf returns the memory of s. It lives as long as s does.
func bytesOf[T Element](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*sizeOf[T]())
}

// sizeOf returns the bytes of an element.
func sizeOf[T Element]() int {
	var zero T
	return int(unsafe.Sizeof(zero))
}

// elements is the reverse of bytesOf: b must be aligned for T and hold whole elements.
func elements[T any](b []byte) []T {
	if len(b) == 0 {
		return nil
	}
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(zero)))
}
