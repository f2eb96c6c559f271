// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"math/bits"
	"time"
)

// A table has a column for each eightfold of the size: 1 byte, 8, 64 and so on to 128 MiB; the nearest counts.
const classes = 10

// classOf returns the column of a size.
func classOf(size int) int {
	if size <= 1 {
		return 0
	}
	log := bits.Len(uint(size - 1)) // rounded up; the limits are at 2^1.5, 2^4.5 and so on, which is near enough at 2, 16, ...
	return min(classes-1, (log+1)/3)
}

// tableRanks is for how many ranks algorithms in which ranks are unlike are predicted at most, for a table. Their times grow with
// the logarithm of the number of ranks, so that their order hardly changes from there on.
const tableRanks = 1024

// Table says how each operation is carried out, by the size of the larger buffer of a rank. It does not change.
type Table struct {
	choices [opEnd][classes]Choice
}

// Table predicts the times of all operations and sizes, and takes the best of each. forced names the algorithms of operations
// that are not to be chosen by their times. The model must be valid. The error names what is forced and unknown.
func (m *Model) Table(c *Catalogue, ranks int, forced map[Op]string) (*Table, error) {
	t := &Table{}
	p := &predictor{model: m, ranks: ranks}
	unlike := &predictor{model: m, ranks: min(ranks, tableRanks)}
	for op := AllReduce; op < opEnd; op++ {
		algorithms := c.Of(op)
		if name, ok := forced[op]; ok {
			a := c.Lookup(op, name)
			if a == nil {
				return nil, fmt.Errorf("schedule: %v has no algorithm %q", op, name)
			}
			algorithms = []*Algorithm{a}
		}
		var last *Algorithm
		for class := range classes {
			t.choices[op][class] = choose(p, unlike, algorithms, last, 1<<(3*class))
			last = t.choices[op][class].Algorithm
		}
	}
	return t, nil
}

// choose returns the best of some algorithms, the first of those that are as fast. guess is one that is probably fast, or nil.
func choose(p, unlike *predictor, algorithms []*Algorithm, guess *Algorithm, size int) Choice {
	predict := func(a *Algorithm, bound time.Duration) Prediction {
		if a.Rooted || a.phases != nil {
			return unlike.best(a, size, bound)
		}
		return p.best(a, size, bound)
	}
	if len(algorithms) == 1 {
		return predict(algorithms[0], never).Choice
	}
	bound, guessed := never, Prediction{}
	if guess != nil {
		guessed = predict(guess, never)
		bound = guessed.Time
	}
	best := Prediction{Time: never}
	for _, a := range algorithms {
		got := guessed
		if a != guess {
			if p.atLeast(a) > bound {
				continue
			}
			got = predict(a, bound)
		}
		if got.Time < best.Time || best.Algorithm == nil {
			best = got
		}
		bound = min(bound, got.Time)
	}
	return best.Choice
}

// Choose returns how an operation is carried out of which the larger buffer of a rank has some bytes.
func (t *Table) Choose(op Op, size int) Choice { return t.choices[op][classOf(size)] }

// Codes is how many numbers a table is.
const Codes = int(opEnd-1) * classes

// Codes returns the table as numbers, which ParseTable reads.
func (t *Table) Codes(c *Catalogue) []uint32 {
	codes := make([]uint32, 0, Codes)
	for op := AllReduce; op < opEnd; op++ {
		for _, choice := range t.choices[op] {
			for i, a := range c.Of(op) {
				if a == choice.Algorithm {
					codes = append(codes, uint32(i)<<16|uint32(choice.Parts))
				}
			}
		}
	}
	return codes
}

// ParseTable reads what Codes returned, of the same version of this package.
func ParseTable(c *Catalogue, codes []uint32) (*Table, error) {
	if len(codes) != Codes {
		return nil, fmt.Errorf("schedule: table of %d numbers, want %d", len(codes), Codes)
	}
	t := &Table{}
	for i, code := range codes {
		op := AllReduce + Op(i/classes)
		index, parts := int(code>>16), int(code&0xffff)
		if index >= len(c.Of(op)) || parts < 1 || parts > maxParts {
			return nil, fmt.Errorf("schedule: table: number %d of %v is algorithm %d in %d parts, want one of %d in 1 to %d",
				i%classes, op, index, parts, len(c.Of(op)), maxParts)
		}
		t.choices[op][i%classes] = Choice{c.Of(op)[index], parts}
	}
	return t, nil
}
