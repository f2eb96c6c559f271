// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import "fmt"

// reductions returns all there are, in the order of the table.
func (a *amd64) reductions() []reduction {
	all := a.bits()
	for _, w := range []int{8, 16, 32, 64} {
		all = append(all, a.integers(w)...)
	}
	all = append(all, a.floats(32)...)
	all = append(all, a.floats(64)...)
	all = append(all, a.halves("F16", a.loadF16, a.storeF16, func() { a.nans(32) })...)
	all = append(all, a.bfloats()...)
	return append(all, a.complexes(32), a.complexes(64))
}

// simple is a reduction for which there is one instruction.
func (a *amd64) simple(name, op, instruction string, types ...string) reduction {
	return reduction{
		name: name, op: op, types: types,
		load: a.load, combine: func(i int, m string) { a.op(instruction, m, i, i) }, store: a.store,
	}
}

func (a *amd64) bits() []reduction {
	all := []string{"I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64"}
	return []reduction{
		a.simple("and", "And", a.pick("VPAND", "VPANDQ"), all...),
		a.simple("or", "Or", a.pick("VPOR", "VPORQ"), all...),
		a.simple("xor", "Xor", a.pick("VPXOR", "VPXORQ"), all...),
	}
}

func (a *amd64) integers(bits int) []reduction {
	letter := map[int]string{8: "B", 16: "W", 32: "D", 64: "Q"}[bits]
	signed, unsigned := fmt.Sprint("I", bits), fmt.Sprint("U", bits)
	prod := a.simple("prod_"+signed, "Prod", "", signed, unsigned)
	switch {
	case bits == 8:
		prod.setup, prod.combine = func() { a.constant(16, 0xff, 14) }, a.prodI8
	case bits == 64 && !a.wide:
		prod.combine = a.prodI64
	default:
		prod = a.simple("prod_"+signed, "Prod", "VPMULL"+letter, signed, unsigned)
	}
	all := []reduction{a.simple("sum_"+signed, "Sum", "VPADD"+letter, signed, unsigned), prod}
	for _, op := range []string{"Min", "Max"} {
		for _, t := range []string{signed, unsigned} {
			name := map[string]string{"Min": "min_", "Max": "max_"}[op] + t
			r := a.simple(name, op, map[string]string{"Min": "VPMIN", "Max": "VPMAX"}[op]+map[bool]string{true: "S", false: "U"}[t == signed]+letter, t)
			if bits == 64 && !a.wide {
				r.setup = func() { a.constant(64, 1<<63, 14) }
				r.combine = func(i int, m string) { a.orderI64(op, t == unsigned, i, m) }
			}
			all = append(all, r)
		}
	}
	return all
}

// prodI8 multiplies the even and the odd bytes by themselves, as lower halves of 16 bits.
func (a *amd64) prodI8(i int, m string) {
	and, or := a.pick("VPAND", "VPANDQ"), a.pick("VPOR", "VPORQ")
	a.op("VMOVUPS", m, 8)
	a.op("VPMULLW", 8, i, 9)
	a.op(and, 14, 9, 9)
	a.op("VPSRLW", "$8", 8, 10)
	a.op("VPSRLW", "$8", i, 11)
	a.op("VPMULLW", 10, 11, 10)
	a.op("VPSLLW", "$8", 10, 10)
	a.op(or, 9, 10, i)
}

// prodI64 puts three products of 32 bits together; the fourth is beyond 64.
func (a *amd64) prodI64(i int, m string) {
	a.op("VMOVUPS", m, 8)
	a.op("VPSRLQ", "$32", 8, 9)
	a.op("VPSRLQ", "$32", i, 10)
	a.op("VPMULUDQ", 9, i, 9)
	a.op("VPMULUDQ", 8, 10, 10)
	a.op("VPADDQ", 9, 10, 9)
	a.op("VPSLLQ", "$32", 9, 9)
	a.op("VPMULUDQ", 8, i, i)
	a.op("VPADDQ", 9, i, i)
}

// orderI64 compares and chooses: AVX2 has no instruction for the smaller of 64 bits, and compares with a sign only.
func (a *amd64) orderI64(op string, unsigned bool, i int, m string) {
	x, y := i, 8
	a.op("VMOVUPS", m, 8)
	if unsigned {
		a.op("VPXOR", 14, i, 9)
		a.op("VPXOR", 14, 8, 10)
		x, y = 9, 10
	}
	if op == "Max" {
		x, y = y, x
	}
	a.op("VPCMPGTQ", y, x, 11) // where x is greater than y
	a.op("VBLENDVPD", 11, 8, i, i)
}

func (a *amd64) floats(bits int) []reduction {
	t, suffix := fmt.Sprint("F", bits), map[int]string{32: "PS", 64: "PD"}[bits]
	parts := []string{t, fmt.Sprint("C", 2*bits)} // the parts of complex numbers are summed and scaled like floats
	nans := func() { a.nans(bits) }
	canonical := func(i int) { a.canonical(suffix, i) }
	sum := a.simple("sum_"+t, "Sum", "VADD"+suffix, parts...)
	prod := a.simple("prod_"+t, "Prod", "VMUL"+suffix, t)
	least, most := a.simple("min_"+t, "Min", "", t), a.simple("max_"+t, "Max", "", t)
	least.combine = func(i int, m string) { a.op("VMOVUPS", m, 8); a.min(suffix, i) }
	most.combine = func(i int, m string) { a.op("VMOVUPS", m, 8); a.max(suffix, i) }
	times, over := a.byFactor("scale", "VMUL", t, suffix), a.byFactor("quotient", "VDIV", t, suffix)
	all := []reduction{sum, prod, least, most, times, over}
	for i := range all {
		if all[i].setup == nil {
			all[i].setup = nans
		}
		if all[i].finish == nil {
			all[i].finish = canonical
		}
	}
	return all
}

// min makes register i the smaller of itself and register 8. The instruction returns its second operand where they are zeros, or
// where one is a NaN: so ask both ways, and what has a sign, or is a NaN, remains.
func (a *amd64) min(suffix string, i int) {
	a.op("VMIN"+suffix, i, 8, 9)
	a.op("VMIN"+suffix, 8, i, 10)
	a.op("VOR"+suffix, 9, 10, i)
}

// max makes register i the larger of itself and register 8: like min, but that a NaN would not remain.
func (a *amd64) max(suffix string, i int) {
	a.op("VMAX"+suffix, i, 8, 9)
	a.op("VMAX"+suffix, 8, i, 10)
	a.op("VCMP"+suffix, "$3", 8, i, a.pick("Y11", "K1"))
	a.op("VAND"+suffix, 9, 10, i)
	a.nanWhereMasked(suffix, i)
}

// byFactor is what is done to the floats of one buffer, with the factor that call was given.
func (a *amd64) byFactor(op, instruction, t, suffix string) reduction {
	bits, letter := 32, "D"
	if suffix == "PD" {
		bits, letter = 64, "Q"
	}
	return reduction{
		name: op + "_" + t, op: op, types: []string{t}, load: a.load, store: a.store,
		setup: func() {
			a.nans(bits)
			a.factor(letter)
		},
		finish: func(i int) {
			a.op(instruction+suffix, 12, i, i)
			a.canonical(suffix, i)
		},
	}
}

// factor puts what call was given as x into all elements of register 12.
func (a *amd64) factor(letter string) {
	a.op("VMOVQ", "R9", "X12")
	a.op("VPBROADCAST"+letter, "X12", 12)
}

// halves are the reductions of 16-bit floats for whose conversion there are instructions, which are widened, reduced as float32 and rounded once.
func (a *amd64) halves(t string, load, store func(int, string), setup func()) []reduction {
	reduce := func(name, op string, combine, finish func(i int)) reduction {
		r := reduction{name: name + t, op: op, types: []string{t}, half: true, setup: setup, load: load, store: store}
		if combine != nil {
			r.combine = func(i int, m string) { load(8, m); combine(i) }
		} else {
			r.setup = func() { setup(); a.factor("D") }
		}
		r.finish = func(i int) {
			if finish != nil {
				finish(i)
			}
			a.canonical("PS", i)
		}
		return r
	}
	return a.wideReductions(reduce)
}

// wideReductions are those of 16-bit floats that are float32 in registers: reduce gets what is done with register 8, or in the end.
func (a *amd64) wideReductions(reduce func(name, op string, combine, finish func(i int)) reduction) []reduction {
	return []reduction{
		reduce("sum_", "Sum", func(i int) { a.op("VADDPS", 8, i, i) }, nil),
		reduce("prod_", "Prod", func(i int) { a.op("VMULPS", 8, i, i) }, nil),
		reduce("min_", "Min", func(i int) { a.min("PS", i) }, nil),
		reduce("max_", "Max", func(i int) { a.max("PS", i) }, nil),
		reduce("scale_", "scale", nil, func(i int) { a.op("VMULPS", 12, i, i) }),
		reduce("quotient_", "quotient", nil, func(i int) { a.op("VDIVPS", 12, i, i) }),
	}
}

func (a *amd64) loadF16(i int, m string) { a.op("VCVTPH2PS", m, i) }

func (a *amd64) storeF16(i int, m string) {
	if !a.streaming {
		a.op("VCVTPS2PH", "$0", i, m)
		return
	}
	a.op("VCVTPS2PH", "$0", i, a.half(9))
	a.storeHalf(9, m)
}

// complexes multiply by the schoolbook formula: (a+bi)(c+di) from (aa)(cd) and (bb)(dc).
func (a *amd64) complexes(bits int) reduction {
	t, suffix := fmt.Sprint("C", 2*bits), map[int]string{32: "PS", 64: "PD"}[bits]
	r := a.simple("prod_"+t, "Prod", "", t)
	r.setup = func() {
		a.nans(bits)
		if a.wide && bits == 32 { // the sign of the first of each pair
			a.constant(64, 1<<31, 14)
		} else if a.wide {
			a.op("VPXORQ", 14, 14, 14)
			a.constant(64, 1<<63, 13)
			a.op("MOVQ", "$0x55", "R11")
			a.op("KMOVB", "R11", "K2")
			a.op("VMOVAPD", 13, "K2", 14)
		}
	}
	swap := map[int]string{32: "$0xb1", 64: a.pick("$5", "$0x55")}[bits]
	r.combine = func(i int, m string) {
		a.op("VMOVUPS", m, 8)
		a.op("VPERMIL"+suffix, swap, 8, 9)
		if bits == 32 {
			a.op("VMOVSLDUP", i, 10)
			a.op("VMOVSHDUP", i, 11)
		} else {
			a.op("VMOVDDUP", i, 10)
			a.op("VPERMILPD", a.pick("$15", "$0xff"), i, 11)
		}
		a.op("VMUL"+suffix, 10, 8, 10)
		a.op("VMUL"+suffix, 11, 9, 11)
		if a.wide {
			a.op("VXOR"+suffix, 14, 11, 11)
			a.op("VADD"+suffix, 11, 10, i)
		} else {
			a.op("VADDSUB"+suffix, 11, 10, i)
		}
	}
	r.finish = func(i int) { a.canonical(suffix, i) }
	return r
}
