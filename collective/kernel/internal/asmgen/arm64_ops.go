// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import "fmt"

// reductions returns all there are, in the order of the table. Products of 64 bits and of complex numbers are left to Go.
func (a *arm64) reductions() []reduction {
	all := []string{"I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64"}
	found := []reduction{a.simple("and", "And", and, all...), a.simple("or", "Or", orr, all...), a.simple("xor", "Xor", eor, all...)}
	for _, w := range []int{8, 16, 32, 64} {
		found = append(found, a.integers(w)...)
	}
	found = append(found, a.floats(32)...)
	found = append(found, a.floats(64)...)
	found = append(found, a.halves("F16", a.loadF16, a.storeF16, func() { a.nans(32) })...)
	return append(found, a.halves("BF16", a.loadBF16, a.storeBF16, func() {
		a.nans(32)
		a.constant(32, 0x7fff, 14)
		a.constant(32, 1, 13)
	})...)
}

// simple is a reduction for which there is one instruction.
func (a *arm64) simple(name, op string, t three, types ...string) reduction {
	return reduction{
		name: name, op: op, types: types, load: a.load, store: a.store,
		combine: func(i int, m string) {
			a.load(8, m)
			a.op(t, i, i, 8)
		},
	}
}

func (a *arm64) integers(bits int) []reduction {
	size := sizeOf(bits)
	signed, unsigned := fmt.Sprint("I", bits), fmt.Sprint("U", bits)
	found := []reduction{a.simple("sum_"+signed, "Sum", three{fmt.Sprint("add.", bits), false, size, 16}, signed, unsigned)}
	if bits < 64 {
		found = append(found, a.simple("prod_"+signed, "Prod", three{fmt.Sprint("mul.", bits), false, size, 19}, signed, unsigned))
	}
	for _, t := range []string{signed, unsigned} {
		u := t == unsigned
		least := a.simple("min_"+t, "Min", three{fmt.Sprint("min.", t), u, size, 13}, t)
		most := a.simple("max_"+t, "Max", three{fmt.Sprint("max.", t), u, size, 12}, t)
		if bits == 64 { // compare and choose: there is no instruction for it
			greater := three{fmt.Sprint("greater.", t), u, size, 6}
			least.combine = func(i int, m string) {
				a.load(8, m)
				a.op(greater, 9, i, 8)
				a.op(bit, i, 8, 9)
			}
			most.combine = func(i int, m string) {
				a.load(8, m)
				a.op(greater, 9, 8, i)
				a.op(bit, i, 8, 9)
			}
		}
		found = append(found, least, most)
	}
	return found
}

// arithmetic are the instructions for floats. The smaller and the larger of two do what is wanted of zeros and NaNs.
type arithmetic struct{ add, mul, div, min, max three }

func arithmeticOn(bits int) arithmetic {
	return arithmetic{
		add: float("fadd", false, bits, 26, false), mul: float("fmul", true, bits, 27, false), div: float("fdiv", true, bits, 31, false),
		max: float("fmax", false, bits, 30, false), min: float("fmin", false, bits, 30, true),
	}
}

func (a *arm64) floats(bits int) []reduction {
	t, does := fmt.Sprint("F", bits), arithmeticOn(bits)
	nans := func() { a.nans(bits) }
	found := []reduction{
		a.simple("sum_"+t, "Sum", does.add, t, fmt.Sprint("C", 2*bits)), // the parts of complex numbers are summed like floats
		a.simple("prod_"+t, "Prod", does.mul, t),
		a.simple("min_"+t, "Min", does.min, t),
		a.simple("max_"+t, "Max", does.max, t),
	}
	for i := range found {
		found[i].setup = nans
		found[i].finish = func(i int) { a.canonical(bits, i) }
	}
	for op, instruction := range []three{does.mul, does.div} {
		name := []string{"scale", "quotient"}[op]
		found = append(found, reduction{
			name: name + "_" + t, op: name, types: []string{t}, load: a.load, store: a.store,
			setup: func() { nans(); a.factor(bits) },
			finish: func(i int) {
				a.op(instruction, i, i, 12)
				a.canonical(bits, i)
			},
		})
	}
	return found
}

// factor puts what call was given as x into all elements of register 12.
func (a *arm64) factor(bits int) {
	fmt.Fprintf(a.text, "\tVDUP R5, V12.%s\n", map[int]string{32: "S4", 64: "D2"}[bits])
}

// halves are the reductions of 16-bit floats, which are widened, reduced as float32 and rounded once.
func (a *arm64) halves(t string, load, store func(int, string), setup func()) []reduction {
	does := arithmeticOn(32)
	var found []reduction
	for i, instruction := range []three{does.add, does.mul, does.min, does.max} {
		found = append(found, reduction{
			name: []string{"sum_", "prod_", "min_", "max_"}[i] + t, op: []string{"Sum", "Prod", "Min", "Max"}[i], types: []string{t}, half: true,
			setup: setup, load: load, store: store,
			combine: func(i int, m string) {
				load(8, m)
				a.op(instruction, i, i, 8)
			},
			finish: func(i int) { a.canonical(32, i) },
		})
	}
	for i, instruction := range []three{does.mul, does.div} {
		op := []string{"scale", "quotient"}[i]
		found = append(found, reduction{
			name: op + "_" + t, op: op, types: []string{t}, half: true, load: load, store: store,
			setup: func() { setup(); a.factor(32) },
			finish: func(i int) {
				a.op(instruction, i, i, 12)
				a.canonical(32, i)
			},
		})
	}
	return found
}

// loadHalf loads 4 elements of 16 bits.
func (a *arm64) loadHalf(i int, m string) { fmt.Fprintf(a.text, "\tFMOVD %s, F%d\n", m, i) }

func (a *arm64) storeHalf(i int, m string) { fmt.Fprintf(a.text, "\tFMOVD F%d, %s\n", i, m) }

// two writes an instruction with one source.
func (a *arm64) two(number uint32, name string, d, n int) {
	a.word(number|uint32(n)<<5|uint32(d), name, d, n)
}

func (a *arm64) loadF16(i int, m string) {
	a.loadHalf(i, m)
	a.two(0x0e217800, "fcvtl", i, i)
}

func (a *arm64) storeF16(i int, m string) {
	a.two(0x0e216800, "fcvtn", 9, i)
	a.storeHalf(9, m)
}

func (a *arm64) loadBF16(i int, m string) {
	a.loadHalf(i, m)
	a.two(0x2e613800, "shll 16", i, i)
}

// storeBF16 rounds to the nearest, of two that are as near to the even one.
func (a *arm64) storeBF16(i int, m string) {
	a.two(0x6f300400, "ushr 16", 9, i)
	a.op(and, 9, 9, 13)
	a.op(add, i, i, 9)
	a.op(add, i, i, 14)
	a.two(0x0f108400, "shrn 16", 9, i)
	a.storeHalf(9, m)
}
