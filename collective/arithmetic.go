// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strings"
	"unsafe"

	"github.com/tutti-go/tutti/collective/kernel"
)

// arithmetic is what a reduction does to the memory of elements of one type. Destinations are aligned, sources need not be.
type arithmetic struct {
	how      Op      // for descriptors
	ordered  bool    // contributions must be combined in the order of ranks
	foreign  bool    // code of the caller's that may panic
	averages bool    // divide in the end
	scales   bool    // each member multiplies its contribution first
	factor   float64 // by which
	truths   bool    // each member makes zeros and ones of its contribution first

	custom   combiner // nil: the kernel does it
	kernel   kernel.Kernel
	elements kernel.Type
}

// halves says whether an order of reductions matters that a kernel sees in one call: its sums are in more than the bits of an element.
func (a *arithmetic) halves() bool { return a.elements == kernel.F16 || a.elements == kernel.BF16 }

// combiner is a function of the caller's.
type combiner interface {
	combine(dst, src []byte)
	declared() string
}

// prepares says whether a member's contribution is other than its buffer.
func (a *arithmetic) prepares() bool { return a.scales || a.truths }

// begin makes a member's contribution of its buffer.
func (a *arithmetic) begin(own []byte) {
	switch {
	case a.scales:
		kernel.Scale(a.elements, own, a.factor)
	case a.truths:
		kernel.Truth(a.elements, own)
	}
}

// combine makes dst = dst op src.
func (a *arithmetic) combine(dst, src []byte) {
	if a.custom != nil {
		a.custom.combine(dst, src)
		return
	}
	a.kernel.Combine(dst, src)
}

// all reduces contributions in the order in which they are given: dst = srcs[0] op srcs[1] op ..., of which the first may be dst.
func (a *arithmetic) all(dst []byte, srcs [][]byte) {
	if a.custom == nil {
		a.kernel.Fold(dst, srcs, false)
		return
	}
	copy(dst, srcs[0])
	for _, s := range srcs[1:] {
		a.custom.combine(dst, s)
	}
}

// finish completes a reduction when the contributions of all members are in dst.
func (a *arithmetic) finish(dst []byte, members int) {
	if a.averages {
		kernel.Div(a.elements, dst, members)
	}
}

// arithmeticOf returns what a reduction does to elements of type T. The error matches ErrArgument.
func arithmeticOf[T Element](in operation, r Reduction) (arithmetic, error) {
	if r == nil {
		return arithmetic{}, fmt.Errorf("%w: %v: op is nil, want one of the reductions", ErrArgument, in)
	}
	a, err := r.on(kindOf[T]())
	if err != nil {
		return arithmetic{}, fmt.Errorf("%w: %v: op is %w", ErrArgument, in, err)
	}
	return a, nil
}

// on implements Reduction.
func (o Op) on(k kind) (arithmetic, error) {
	if o == 0 || o >= reductionEnd {
		return arithmetic{}, fmt.Errorf("op(%d), want one of the reductions", uint8(o))
	}
	op, elements := o.kernel(), k.elements()
	logical := o == LogicalAnd || o == LogicalOr
	if logical && k != kindBool {
		op = map[Op]kernel.Op{LogicalAnd: kernel.Min, LogicalOr: kernel.Max}[o] // of zeros and ones
	}
	does, ok := kernel.Of(op, elements)
	if !ok || k == kindBool && !logical || o == Avg && !k.isReal() {
		return arithmetic{}, fmt.Errorf("%v, which is not for elements of kind %v", o, k)
	}
	return arithmetic{how: o, averages: o == Avg, truths: logical && k != kindBool, kernel: does, elements: elements}, nil
}

// kernel returns how the kernels name the reduction, or 0. A bool is a byte of 0 or 1, for which its bits do.
func (o Op) kernel() kernel.Op {
	return [...]kernel.Op{
		Sum: kernel.Sum, Avg: kernel.Sum, Prod: kernel.Prod, Min: kernel.Min, Max: kernel.Max,
		BitAnd: kernel.And, BitOr: kernel.Or, BitXor: kernel.Xor, LogicalAnd: kernel.And, LogicalOr: kernel.Or,
	}[o]
}

// premul is a sum of contributions times a factor.
type premul float64

// PremulSum is a reduction of numbers: each member's contribution is multiplied by its x before the sum. The members may have
// different ones, such as their shares of a batch. x is rounded to the element type first, to float32 for 16-bit floats and to that
// of the parts for complex numbers. For integers it must be a whole number between -2^53 and 2^53, and products wrap around.
func PremulSum(x float64) Reduction { return premul(x) }

// String returns the name of the reduction and the caller's factor.
func (p premul) String() string { return fmt.Sprintf("premul-sum(%v)", float64(p)) }

// on implements Reduction.
func (p premul) on(k kind) (arithmetic, error) {
	sum, err := Sum.on(k)
	if err != nil {
		return arithmetic{}, fmt.Errorf("%v, which is not for elements of kind %v", p, k)
	}
	x := float64(p)
	if k.isInteger() && (x != math.Trunc(x) || math.Abs(x) > 1<<53) {
		return arithmetic{}, fmt.Errorf("%v, which is no whole number from -2^53 to 2^53, for elements of kind %v", p, k)
	}
	sum.how = premulSum
	sum.scales, sum.factor = true, x
	return sum, nil
}

// custom is a reduction by a function of the caller's.
type custom[T Element] struct {
	fn          func(dst, src []T)
	commutative bool
}

// Custom is a reduction by a function that makes each element of dst the combination of itself, from lower ranks if commutative is
// false, and the one at its place in src, which has as many. It gets parts of the members' buffers, in any number and of any
// length, on the goroutines of the members, and must keep neither. The function must be the same at all members and give the
// same result wherever it is called: where all members live in one process, that of rank 0 is called for all, and declared functions of
// different names are an ErrMismatch that names both. It must be associative; the result of one that is not depends on the number of members and
// the length, but on nothing else.
//
// If commutative is false, contributions are combined strictly from rank 0 upwards, the way of a loop; for this each member
// gets all contributions for its part of the result before it begins, which takes Size times the memory. If the function panics, the
// epoch is over for all members before the panic goes on. It is for elements of type T alone.
func Custom[T Element](fn func(dst, src []T), commutative bool) Reduction {
	return &custom[T]{fn, commutative}
}

// String returns what the members can agree on: a function cannot be compared.
func (c *custom[T]) String() string {
	if c.commutative {
		return customAny.String()
	}
	return customOrdered.String()
}

// on implements Reduction.
func (c *custom[T]) on(k kind) (arithmetic, error) {
	if c.fn == nil {
		return arithmetic{}, fmt.Errorf("%v without a function", c)
	}
	if k != kindOf[T]() {
		return arithmetic{}, fmt.Errorf("%v for elements of kind %v, which is not for elements of kind %v", c, kindOf[T](), k)
	}
	a := arithmetic{how: customOrdered, ordered: !c.commutative, foreign: true, custom: c}
	if c.commutative {
		a.how = customAny
	}
	return a, nil
}

// declared returns the name of the function, or nothing if it is a literal, of which there may be as many as places that mean the same.
func (c *custom[T]) declared() string {
	name := runtime.FuncForPC(reflect.ValueOf(c.fn).Pointer()).Name()
	if strings.Contains(name, ".func") {
		return ""
	}
	return name
}

// combine hands the elements over. Where src is not aligned, they go through a copy.
func (c *custom[T]) combine(dst, src []byte) {
	d := elements[T](dst)
	if len(d) == 0 {
		return
	}
	if uintptr(unsafe.Pointer(&src[0]))%unsafe.Alignof(d[0]) == 0 {
		c.fn(d, elements[T](src)[:len(d)])
		return
	}
	copied := make([]T, len(d))
	copy(bytesOf(copied), src)
	c.fn(d, copied)
}
