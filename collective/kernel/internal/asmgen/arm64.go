// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
)

const callARM64 = `// func call(slot int, dst unsafe.Pointer, srcs *[]byte, k, from, n int, x uint64)
// jumps to code that returns to the caller of call. Its registers: R0 dst, R1 the first of the headers of k slices, R2 k, R3 from,
// R4 the end, R5 x.
TEXT ·call(SB), NOSPLIT, $0-56
	MOVD slot+0(FP), R10
	MOVD dst+8(FP), R0
	MOVD srcs+16(FP), R1
	MOVD k+24(FP), R2
	MOVD from+32(FP), R3
	MOVD n+40(FP), R4
	MOVD x+48(FP), R5
	ADD  R3, R4
	MOVD $table<>(SB), R9
	MOVD (R9)(R10<<3), R9
	JMP  (R9)

`

// arm64 writes code for NEON. Registers 0 to 7 are for results, 8 to 13 for pieces of a step, 14 and 15 for constants. The assembler
// does not know most of the instructions, which are written as their numbers.
type arm64 struct{ text *bytes.Buffer }

// function writes the code of one reduction and returns its name.
func (a *arm64) function(r reduction) string {
	name, step := r.name+"_neon", 16
	if r.half {
		step /= 2
	}
	fmt.Fprintf(a.text, "TEXT %s<>(SB), NOSPLIT, $0-56\n", name)
	if r.setup != nil {
		r.setup()
	}
	a.loop(r, "long", unrolled, step)
	a.loop(r, "short", 1, step)
	a.text.WriteString("\tRET\n\n")
	return name
}

// loop writes a loop that works on some vectors in each turn, as long as there are as many.
func (a *arm64) loop(r reduction, label string, vectors, step int) {
	each := func(do func(i int, address string)) {
		for i := range vectors {
			do(i, fmt.Sprintf("%d(R6)", i*step))
		}
	}
	fmt.Fprintf(a.text, "\tSUB  $%d, R4\n\tCMP  R4, R3\n\tBGT  %s_end\n%s:\n\tMOVD (R1), R6\n\tADD  R3, R6\n", vectors*step, label, label)
	each(r.load)
	if r.combine != nil {
		fmt.Fprintf(a.text, "\tSUB  $1, R2, R7\n\tMOVD R1, R8\n%s_source:\n\tADD  $24, R8\n\tMOVD (R8), R6\n\tADD  R3, R6\n", label)
		each(r.combine)
		fmt.Fprintf(a.text, "\tSUB  $1, R7\n\tCBNZ R7, %s_source\n", label)
	}
	if r.finish != nil {
		each(func(i int, _ string) { r.finish(i) })
	}
	a.text.WriteString("\tADD  R0, R3, R6\n")
	each(r.store)
	fmt.Fprintf(a.text, "\tADD  $%d, R3\n\tCMP  R4, R3\n\tBLE  %s\n%s_end:\n\tADD  $%d, R4\n", vectors*step, label, label, vectors*step)
}

// word writes an instruction by its number, with its name as a comment.
func (a *arm64) word(number uint32, name string, registers ...int) {
	fmt.Fprintf(a.text, "\tWORD $%#08x // %s", number, name)
	for i, r := range registers {
		if i > 0 {
			a.text.WriteByte(',')
		}
		fmt.Fprintf(a.text, " v%d", r)
	}
	a.text.WriteByte('\n')
}

// three is the number of an instruction for vectors of 128 bits with two sources: whether it is of the second set, the size of elements as
// in the instruction, and its code.
type three struct {
	name   string
	second bool
	size   uint32
	code   uint32
}

// op writes d = n op m; d is a source too for those that insert.
func (a *arm64) op(t three, d, n, m int) {
	number := 0x4e200400 | t.size<<22 | uint32(m)<<16 | t.code<<11 | uint32(n)<<5 | uint32(d)
	if t.second {
		number |= 1 << 29
	}
	a.word(number, t.name, d, n, m)
}

// sizes of elements in instructions, by bits.
func sizeOf(bits int) uint32 { return map[int]uint32{8: 0, 16: 1, 32: 2, 64: 3}[bits] }

// float returns an instruction for floats: those of 64 bits have the lower bit of the size, and some the upper one.
func float(name string, second bool, bits int, code uint32, upper bool) three {
	size := uint32(bits/32 - 1)
	if upper {
		size |= 2
	}
	return three{fmt.Sprint(name, ".", bits), second, size, code}
}

// Instructions that many reductions share.
//
//nolint:gochecknoglobals // never written: Go has no constants of structs
var (
	bit = three{"bit", true, 2, 3} // insert from n where m has ones
	bif = three{"bif", true, 3, 3} // insert from n where m has zeros
	and = three{"and", false, 0, 3}
	orr = three{"orr", false, 2, 3}
	eor = three{"eor", true, 0, 3}
	add = three{"add.32", false, 2, 16}
)

func (a *arm64) load(i int, address string) { fmt.Fprintf(a.text, "\tFMOVQ %s, F%d\n", address, i) }

func (a *arm64) store(i int, address string) { fmt.Fprintf(a.text, "\tFMOVQ F%d, %s\n", i, address) }

// constant puts an integer into all elements of a register.
func (a *arm64) constant(bits int, value uint64, register int) {
	fmt.Fprintf(a.text, "\tMOVD $%#x, R9\n\tVDUP R9, V%d.%s\n", value, register, map[int]string{32: "S4", 64: "D2"}[bits])
}

// nans puts the NaN of every reduction into register 15.
func (a *arm64) nans(bits int) {
	if bits == 32 {
		a.constant(32, 0x7fc00000, 15)
	} else {
		a.constant(64, 0x7ff8000000000000, 15)
	}
}

// canonical makes every NaN in a register the one in register 15: what is not equal to itself.
func (a *arm64) canonical(bits, i int) {
	a.op(float("fcmeq", false, bits, 28, false), 11, i, i)
	a.op(bif, i, 15, 11)
}
