// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tutti-go/tutti/collective/schedule"
)

// apart is by how many times two measured times must differ for their order to count: less is noise here.
const apart = 1.3

type measurement struct {
	name string
	took time.Duration
}

// comparison is one operation at one size.
type comparison struct {
	op            schedule.Op
	members, size int
	predicted     []schedule.Prediction // the fastest first
	measured      []measurement
}

// String prints both orders.
func (c comparison) String() string {
	slices.SortStableFunc(c.measured, func(a, b measurement) int { return int(a.took - b.took) })
	var predicted, measured []string
	for _, p := range c.predicted {
		predicted = append(predicted, fmt.Sprintf("%s %v", p.Algorithm.Name, short(p.Time)))
	}
	for _, m := range c.measured {
		measured = append(measured, fmt.Sprintf("%s %v", m.name, short(m.took)))
	}
	right, all := c.pairs()
	return fmt.Sprintf("%v, %d members, %d bytes: %d of %d pairs agree, the predicted best takes %.2f times the measured best\n  predicted %s\n  measured  %s",
		c.op, c.members, c.size, right, all, c.loss(), strings.Join(predicted, ", "), strings.Join(measured, ", "))
}

// pairs counts the pairs of algorithms whose measured times are apart, and those of them whose predicted order is the same.
func (c comparison) pairs() (right, all int) {
	for i, a := range c.measured {
		for _, b := range c.measured[i+1:] {
			fast, slow := a, b
			if fast.took > slow.took {
				fast, slow = slow, fast
			}
			if float64(slow.took) < apart*float64(fast.took) {
				continue
			}
			all++
			if c.place(fast.name) < c.place(slow.name) {
				right++
			}
		}
	}
	return right, all
}

func (c comparison) place(name string) int {
	return slices.IndexFunc(c.predicted, func(p schedule.Prediction) bool { return p.Algorithm.Name == name })
}

// loss returns the measured time of the algorithm that is predicted to be the fastest, divided by that of the fastest.
func (c comparison) loss() float64 {
	best := slices.MinFunc(c.measured, func(a, b measurement) int { return int(a.took - b.took) })
	i := slices.IndexFunc(c.measured, func(m measurement) bool { return c.place(m.name) == 0 })
	return float64(c.measured[i].took) / float64(best.took)
}

// agreement sums up comparisons.
type agreement struct {
	right, all int
	losses     []float64
}

func (a *agreement) add(c comparison) {
	right, all := c.pairs()
	a.right, a.all = a.right+right, a.all+all
	a.losses = append(a.losses, c.loss())
}

// String prints how often predicted and measured order agree.
func (a *agreement) String() string {
	losses := slices.Sorted(slices.Values(a.losses))
	within := 0
	for _, l := range losses {
		if l <= apart {
			within++
		}
	}
	return fmt.Sprintf("%d of %d pairs of algorithms whose measured times differ by %v times or more are predicted in that order (%.0f %%).\n"+
		"The algorithm predicted to be the fastest takes %.2f times as long as the fastest in the median, %.2f at most; it is within %v of it in %d of %d cases.",
		a.right, a.all, apart, 100*float64(a.right)/float64(max(1, a.all)), losses[len(losses)/2], losses[len(losses)-1], apart, within, len(losses))
}

// short keeps three digits of a time.
func short(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}
