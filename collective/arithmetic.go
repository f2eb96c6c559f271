// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"fmt"
	"reflect"

	"github.com/tutti-go/tutti/collective/kernel"
)

// arithmetic is what a reduction does to the memory of elements of one type. Destinations are aligned, sources need not be.
type arithmetic struct {
	combine func(dst, src []byte)         // dst = dst op src; nil if the reduction is not for these elements
	divide  func(dst []byte, members int) // what Avg does in the end; nil for others
}

// finish completes a reduction when the contributions of all members are in dst.
func (a arithmetic) finish(dst []byte, members int) {
	if a.divide != nil {
		a.divide(dst, members)
	}
}

// arithmeticOf returns what op does to elements of type T. The error matches ErrArgument.
func arithmeticOf[T Element](in operation, op Op) (arithmetic, error) {
	if op == 0 || op >= reductionEnd {
		return arithmetic{}, fmt.Errorf("%w: %v: op is %v, want one of the reductions", ErrArgument, in, op)
	}
	a := arithmeticOn(kindOf[T](), op)
	if a.combine == nil {
		return arithmetic{}, fmt.Errorf("%w: %v: op is %v, which is not for elements of kind %v", ErrArgument, in, op, kindOf[T]())
	}
	return a, nil
}

func arithmeticOn(kind reflect.Kind, op Op) arithmetic {
	switch kind {
	case reflect.Bool:
		return onBools(op)
	case reflect.Int:
		return onIntegers[int](op)
	case reflect.Int8:
		return onIntegers[int8](op)
	case reflect.Int16:
		return onIntegers[int16](op)
	case reflect.Int32:
		return onIntegers[int32](op)
	case reflect.Int64:
		return onIntegers[int64](op)
	case reflect.Uint:
		return onIntegers[uint](op)
	case reflect.Uint8:
		return onIntegers[uint8](op)
	case reflect.Uint16:
		return onIntegers[uint16](op)
	case reflect.Uint32:
		return onIntegers[uint32](op)
	case reflect.Uint64:
		return onIntegers[uint64](op)
	case reflect.Uintptr:
		return onIntegers[uintptr](op)
	case reflect.Float32:
		return onFloats[float32](op)
	case reflect.Float64:
		return onFloats[float64](op)
	case reflect.Complex64:
		return onComplex(op, kernel.ProdComplex64)
	case reflect.Complex128:
		return onComplex(op, kernel.ProdComplex128)
	default:
		return arithmetic{}
	}
}

// by makes a kernel one for memory.
func by[T any](combine func(dst []T, src []byte)) arithmetic {
	return arithmetic{combine: func(dst, src []byte) { combine(elements[T](dst), src) }}
}

// onBools needs no more than the bits of bytes, for a bool is one that is 0 or 1.
func onBools(op Op) arithmetic {
	switch op {
	case LogicalAnd:
		return by(kernel.And[uint8])
	case LogicalOr:
		return by(kernel.Or[uint8])
	default:
		return arithmetic{}
	}
}

func onIntegers[T kernel.Integer](op Op) arithmetic {
	switch op {
	case Avg:
		a := by(kernel.Sum[T])
		a.divide = func(dst []byte, members int) { kernel.DivInteger(elements[T](dst), members) }
		return a
	case BitAnd:
		return by(kernel.And[T])
	case BitOr:
		return by(kernel.Or[T])
	case BitXor:
		return by(kernel.Xor[T])
	default:
		return onReals[T](op)
	}
}

func onFloats[T float32 | float64](op Op) arithmetic {
	if op == Avg {
		a := by(kernel.Sum[T])
		a.divide = func(dst []byte, members int) { kernel.Div(elements[T](dst), T(members)) }
		return a
	}
	return onReals[T](op)
}

func onReals[T kernel.Real](op Op) arithmetic {
	switch op {
	case Sum:
		return by(kernel.Sum[T])
	case Prod:
		return by(kernel.Prod[T])
	case Min:
		return by(kernel.Min[T])
	case Max:
		return by(kernel.Max[T])
	default:
		return arithmetic{}
	}
}

func onComplex[T complex64 | complex128](op Op, prod func(dst []T, src []byte)) arithmetic {
	switch op {
	case Sum:
		return by(kernel.Sum[T])
	case Prod:
		return by(prod)
	default:
		return arithmetic{}
	}
}
