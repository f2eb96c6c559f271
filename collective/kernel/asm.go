// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

// instructions is a set of instructions for which there may be code in assembly. The zero one stands for Go.
type instructions struct {
	name   string
	vector int // bytes
	usable bool
	around bool // has a second table, of stores around the caches
	pairs  bool // works on whole vectors of bfloat16
	first  int  // slot of its code, counted in kernels
}

//nolint:gochecknoglobals // never written: what this machine can do, asked once
var best = func() instructions {
	all := sets()
	return all[len(all)-1]
}()

// available returns those of the sets, of which later ones are better, that this machine has, behind Go.
func available(all ...instructions) []instructions {
	found := []instructions{{name: "Go"}}
	for i, s := range all {
		if s.first = 2 * i * slots; s.usable {
			found = append(found, s)
		}
	}
	return found
}

// unit returns the code for a reduction, if there is any.
func (s instructions) unit(op Op, t Type) unit {
	slot := int(slotOf[op][t])
	if s.vector == 0 || slot == 0 {
		return unit{}
	}
	u := unit{step: s.vector, slot: s.first + slot - 1}
	if s.around {
		u.streaming = slots
	}
	if t == F16 || t == BF16 && !s.pairs {
		u.step /= 2 // a vector of float32
	}
	return u
}
