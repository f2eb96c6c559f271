// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
)

const callAMD64 = `// func call(slot int, dst unsafe.Pointer, srcs *[]byte, k, from, n int, x uint64)
// jumps to code that returns to the caller of call. Its registers: DI dst, SI the first of the headers of k slices, CX k, DX from,
// R8 the end, R9 x.
TEXT ·call(SB), NOSPLIT, $0-56
	MOVQ slot+0(FP), AX
	MOVQ dst+8(FP), DI
	MOVQ srcs+16(FP), SI
	MOVQ k+24(FP), CX
	MOVQ from+32(FP), DX
	MOVQ n+40(FP), R8
	MOVQ x+48(FP), R9
	ADDQ DX, R8
	LEAQ table<>(SB), R10
	MOVQ (R10)(AX*8), AX
	JMP  AX

`

// amd64 writes code for AVX2, or for AVX-512. Registers 0 to 7 are for results, and with AVX-512 from 16 on, 8 to 13 for pieces of a step, 14 and 15 for constants.
type amd64 struct {
	text      *bytes.Buffer
	wide      bool // AVX-512
	streaming bool
}

// vector returns the name of a vector register.
func (a *amd64) vector(i int) string {
	if a.wide {
		return fmt.Sprintf("Z%d", i)
	}
	return fmt.Sprintf("Y%d", i)
}

// half returns the name of the lower half of a vector register.
func (a *amd64) half(i int) string {
	if a.wide {
		return fmt.Sprintf("Y%d", i)
	}
	return fmt.Sprintf("X%d", i)
}

// op writes an instruction. Operands that are numbers stand for vector registers.
func (a *amd64) op(name string, operands ...any) {
	a.text.WriteString("\t" + name)
	for i, o := range operands {
		if register, ok := o.(int); ok {
			o = a.vector(register)
		}
		if i > 0 {
			a.text.WriteByte(',')
		}
		fmt.Fprintf(a.text, " %v", o)
	}
	a.text.WriteByte('\n')
}

// pick returns the instruction of AVX2 or of AVX-512.
func (a *amd64) pick(avx2, avx512 string) string {
	if a.wide {
		return avx512
	}
	return avx2
}

// function writes the code of one reduction and returns its name.
func (a *amd64) function(r reduction) string {
	name := r.name + a.pick("_avx2", "_avx512")
	if a.streaming {
		name += "_streaming"
	}
	step := 32
	if a.wide {
		step = 64
	}
	if r.half {
		step /= 2
	}
	fmt.Fprintf(a.text, "TEXT %s<>(SB), NOSPLIT, $0-56\n", name)
	if r.setup != nil {
		r.setup()
	}
	vectors := unrolled
	switch {
	case r.half && a.wide: // as many bytes of each source as others
		vectors *= 2
	case r.pairs && !a.wide:
		vectors /= 2
	}
	a.loop(r, "long", vectors, step)
	a.loop(r, "short", 1, step)
	if a.streaming {
		a.op("SFENCE")
	}
	a.op("VZEROUPPER")
	a.op("RET")
	a.text.WriteByte('\n')
	return name
}

// loop writes a loop that works on some vectors in each turn, as long as there are as many.
func (a *amd64) loop(r reduction, label string, vectors, step int) {
	each := func(do func(i int, address string), base string) {
		for i := range vectors {
			if i >= unrolled {
				do(i+unrolled, fmt.Sprintf("%d(%s)(DX*1)", i*step, base)) // 8 to 15 are taken
				continue
			}
			do(i, fmt.Sprintf("%d(%s)(DX*1)", i*step, base))
		}
	}
	fmt.Fprintf(a.text, "\tSUBQ $%d, R8\n\tCMPQ DX, R8\n\tJGT  %s_end\n%s:\n\tMOVQ (SI), AX\n", vectors*step, label, label)
	each(r.load, "AX")
	if r.combine != nil {
		fmt.Fprintf(a.text, "\tLEAQ -1(CX), BX\n\tMOVQ SI, R10\n%s_source:\n\tADDQ $24, R10\n\tMOVQ (R10), AX\n", label)
		each(r.combine, "AX")
		fmt.Fprintf(a.text, "\tDECQ BX\n\tJNZ  %s_source\n", label)
	}
	if r.finish != nil {
		each(func(i int, _ string) { r.finish(i) }, "")
	}
	each(r.store, "DI")
	fmt.Fprintf(a.text, "\tADDQ $%d, DX\n\tCMPQ DX, R8\n\tJLE  %s\n%s_end:\n\tADDQ $%d, R8\n", vectors*step, label, label, vectors*step)
}

// The pieces that many reductions share.

func (a *amd64) load(i int, address string) { a.op("VMOVUPS", address, i) }

func (a *amd64) store(i int, address string) {
	if a.streaming {
		a.op("VMOVNTDQ", i, address)
		return
	}
	a.op("VMOVUPS", i, address)
}

// storeHalf stores the lower half of a vector register.
func (a *amd64) storeHalf(i int, address string) {
	if a.streaming {
		a.op("VMOVNTDQ", a.half(i), address)
		return
	}
	a.op("VMOVUPS", a.half(i), address)
}

// constant puts an integer into all elements of a register.
func (a *amd64) constant(bits int, value uint64, register int) {
	a.op("MOVQ", fmt.Sprintf("$%#x", value), "R11")
	a.op("VMOVQ", "R11", fmt.Sprintf("X%d", register))
	a.op("VPBROADCAST"+map[int]string{8: "B", 16: "W", 32: "D", 64: "Q"}[bits], fmt.Sprintf("X%d", register), register)
}

// nans puts the NaN of every reduction into register 15.
func (a *amd64) nans(bits int) {
	if bits == 32 {
		a.constant(32, 0x7fc00000, 15)
	} else {
		a.constant(64, 0x7ff8000000000000, 15)
	}
}

// canonical makes every NaN in a register the one in register 15.
func (a *amd64) canonical(suffix string, i int) { a.nanWhereUnordered(suffix, i, i, i) }

// nanWhereUnordered puts the NaN into those elements of register i where either of two is a NaN.
func (a *amd64) nanWhereUnordered(suffix string, x, y, i int) {
	a.op("VCMP"+suffix, "$3", x, y, a.pick("Y11", "K1"))
	a.nanWhereMasked(suffix, i)
}

// nanWhereMasked puts the NaN where nanWhereUnordered found any.
func (a *amd64) nanWhereMasked(suffix string, i int) {
	if a.wide {
		a.op("VMOVA"+suffix, 15, "K1", i)
		return
	}
	a.op("VBLENDV"+suffix, 11, 15, i, i)
}
