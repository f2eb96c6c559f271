// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"
	"unsafe"
)

// Type names the elements that lie in memory.
type Type uint8

// The types. A bool is a U8 that is 0 or 1; an int, uint or uintptr is the type of its size.
const (
	I8 Type = 1 + iota
	I16
	I32
	I64
	U8
	U16
	U32
	U64
	F16  // Float16
	BF16 // BFloat16
	F32
	F64
	C64  // complex64
	C128 // complex128
	typeEnd
)

// Size returns how many bytes an element has.
func (t Type) Size() int {
	return [typeEnd]int{I8: 1, I16: 2, I32: 4, I64: 8, U8: 1, U16: 2, U32: 4, U64: 8, F16: 2, BF16: 2, F32: 4, F64: 8, C64: 8, C128: 16}[t]
}

func (t Type) isInteger() bool { return t >= I8 && t <= U64 }

func (t Type) isHalf() bool { return t == F16 || t == BF16 }

// Op is how two elements become one.
type Op uint8

// The reductions and the types that they are for.
const (
	Sum  Op = 1 + iota // all
	Prod               // all
	Min                // integers and floats
	Max                // integers and floats
	And                // integers
	Or                 // integers
	Xor                // integers
	opEnd

	scale // of one source: times a factor; in assembly only
	quotient
)

// maxCall is how many bytes of all sources one call of assembly reads at most, about 10 us of work: the garbage collector and the
// scheduler wait for a goroutine inside of assembly. With more than 4096 sources it is 64 bytes of each.
const maxCall = 256 << 10

// Kernel is one reduction of one type. The zero Kernel is not usable.
type Kernel struct {
	op   Op
	typ  Type
	size int // bytes per element
	unit     // of the assembly
}

// Of returns the kernel of a reduction, and false if it is not for the type.
func Of(op Op, t Type) (Kernel, bool) { return of(op, t, best) }

func of(op Op, t Type, set instructions) (Kernel, bool) {
	if op == 0 || op >= opEnd || t == 0 || t >= typeEnd {
		return Kernel{}, false
	}
	switch op {
	case And, Or, Xor:
		if !t.isInteger() {
			return Kernel{}, false
		}
	case Min, Max:
		if t >= C64 {
			return Kernel{}, false
		}
	default:
	}
	return Kernel{op: op, typ: t, size: t.Size(), unit: set.unit(op, t)}, true
}

// Combine makes each element of dst the reduction of itself and the one at its place in src, which must have at least as many. dst
// must be aligned for the type, src need not be.
func (k Kernel) Combine(dst, src []byte) {
	srcs := [2][]byte{dst, src}
	k.Fold(dst, srcs[:], false)
}

// Fold makes each element of dst the reduction of those at its place in the sources, from the first source to the last. There must
// be at least one source, and none may be shorter than dst; the first may be dst itself, else none may overlap it. dst
// must be aligned for the type, sources need not be. 16-bit floats are summed in float32 over all sources and rounded once. A single
// source is copied.
//
// stream says that dst will not be read soon: it is then written around the caches, which saves reading it first. That is of use if
// it does not fit into them, and does harm if it does.
func (k Kernel) Fold(dst []byte, srcs [][]byte, stream bool) {
	if len(dst)%k.size != 0 {
		panic(fmt.Sprintf("kernel: dst has %d bytes, which are no whole elements of %d", len(dst), k.size))
	}
	for i, s := range srcs {
		if len(s) < len(dst) {
			panic(fmt.Sprintf("kernel: source %d has %d bytes, dst has %d", i, len(s), len(dst)))
		}
	}
	switch {
	case len(dst) == 0:
	case len(srcs) == 1:
		copy(dst, srcs[0])
	default:
		k.fold(dst, srcs, stream)
	}
}

// Stream copies src to dst, which must not overlap nor be longer, and as Fold does with stream it writes dst around the caches, where there is code for that.
func Stream(dst, src []byte) { around.Fold(dst, [][]byte{src, src}, true) }

//nolint:gochecknoglobals // never written
var around, _ = Of(And, U8) // what is in both of two sources that are one

// fold does what it can in assembly and the ends in Go.
func (k Kernel) fold(dst []byte, srcs [][]byte, stream bool) {
	at, unit := 0, k.unit
	if unit.step > 0 && stream && len(dst) >= 4*unit.step {
		if to := -int(uintptr(unsafe.Pointer(&dst[0]))) & (unit.step - 1); to%k.size == 0 { // else it can never be aligned
			k.foldGo(dst, srcs, 0, to)
			at, unit.slot = to, unit.slot+unit.streaming
		}
	}
	at = unit.run(dst, srcs, at, 0)
	k.foldGo(dst, srcs, at, len(dst))
}

// unit says which code in assembly does a reduction.
type unit struct {
	step      int // bytes of a vector, or 0 if there is no such code
	slot      int // in the table of code
	streaming int // how much further the twin is that writes around the caches
}

// run works in whole steps on dst from a place on, and returns where it ended.
func (u unit) run(dst []byte, srcs [][]byte, from int, x uint64) int {
	if u.step == 0 {
		return from
	}
	piece := max(maxCall/len(srcs)&^63, 64)
	for {
		n := min(len(dst)-from, piece) &^ (u.step - 1)
		if n <= 0 {
			return from
		}
		call(u.slot, unsafe.Pointer(&dst[0]), &srcs[0], len(srcs), from, n, x)
		from += n
	}
}
