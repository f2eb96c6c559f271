// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

// A vector of bfloat16 is two of float32: its even elements, moved up, and its odd ones, where they are. So nothing crosses lanes, and
// rounding works on all elements at once, in 16 bits.

// odd returns the register for the odd elements where i is that for the even ones.
func (a *amd64) odd(i int) int {
	if a.wide {
		return i + 2*unrolled
	}
	return i + unrolled/2
}

// bfloats are the reductions of bfloat16.
func (a *amd64) bfloats() []reduction {
	return a.wideReductions(func(name, op string, combine, finish func(i int)) reduction {
		mask := 12 // of the odd elements
		if combine == nil {
			mask = 8 // register 12 is for the factor
		}
		r := reduction{name: name + "BF16", op: op, types: []string{"BF16"}, pairs: true}
		r.setup = func() {
			a.nans(32)
			a.constant(16, 0x7ffe, 14)
			a.constant(16, 1, 13)
			a.constant(32, 0xffff0000, mask)
			if combine == nil {
				a.factor("D")
			}
		}
		r.load = func(i int, m string) {
			a.evenBF16(m, i)
			a.op(a.pick("VPAND", "VPANDD"), m, mask, a.odd(i))
		}
		if combine != nil {
			r.combine = func(i int, m string) {
				a.evenBF16(m, 8)
				combine(i)
				a.op(a.pick("VPAND", "VPANDD"), m, mask, 8)
				combine(a.odd(i))
			}
		}
		r.finish = func(i int) {
			for _, half := range []int{i, a.odd(i)} {
				if finish != nil {
					finish(half)
				}
				a.canonical("PS", half)
			}
		}
		r.store = func(i int, m string) { a.storeBF16(i, mask, m) }
		return r
	})
}

// evenBF16 widens the even elements at an address.
func (a *amd64) evenBF16(address string, i int) {
	if a.wide {
		a.op("VPSLLD", "$16", address, i)
		return
	}
	a.op("VMOVUPS", address, i)
	a.op("VPSLLD", "$16", i, i)
}

// storeBF16 rounds to the nearest, of two that are as near to the even one: the upper halves, and one more where the lower half, 0x7fff and the
// lowest bit of the upper half together are beyond 16 bits. The instruction for averages, which adds one and halves, keeps that bit. The one of
// AVX-512 for all of it takes subnormal numbers for zero.
func (a *amd64) storeBF16(i, mask int, m string) {
	if a.wide {
		a.op("VPSRLD", "$16", i, 9)
		a.op("VPTERNLOGD", "$0xf8", a.odd(i), mask, 9) // upper halves: or what is in both
		a.op("VPSLLD", "$16", a.odd(i), 10)
		a.op("VPTERNLOGD", "$0xf4", mask, i, 10) // lower halves: or what is in i and not in the mask
		a.op("VPANDD", 13, 9, 11)
		a.op("VPORD", 14, 11, 11)
	} else {
		a.op("VPSRLD", "$16", i, 9)
		a.op("VPBLENDW", "$0xaa", a.odd(i), 9, 9)
		a.op("VPSLLD", "$16", a.odd(i), 10)
		a.op("VPBLENDW", "$0xaa", 10, i, 10)
		a.op("VPAND", 13, 9, 11)
		a.op("VPOR", 14, 11, 11)
	}
	a.op("VPAVGW", 10, 11, 10)
	a.op("VPSRLW", "$15", 10, 10)
	a.op("VPADDW", 10, 9, 9)
	a.store(9, m)
}
