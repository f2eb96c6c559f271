// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/tutti-go/tutti/collective/benchmark"
)

// need is how many bytes all members take at a point.
func need(p benchmark.Point, members int) int {
	ranks := make([]int, members)
	for i := range ranks {
		ranks[i] = i
	}
	total := p.NeedOf(ranks, members)
	if p.Operation == "reduce" {
		total += members * p.Bytes // the peers have an input as well
	}
	return total
}

// fitting returns the points that there is memory for.
func (c config) fitting(points []benchmark.Point, members int) []benchmark.Point {
	return slices.DeleteFunc(slices.Clone(points), func(p benchmark.Point) bool { return need(p, members) > c.memory })
}

// restrain leaves of the points what a library can do in a time that anybody waits for. why is empty if that is all of them.
func restrain(lib contender, points []benchmark.Point, members int) (left []benchmark.Point, why string) {
	if !lib.spins || members <= runtime.NumCPU() {
		return points, ""
	}
	left = slices.DeleteFunc(slices.Clone(points), func(p benchmark.Point) bool {
		return p.Fresh || p.Bytes > spinSize || strings.HasSuffix(p.Operation, "v")
	})
	return left, fmt.Sprintf("it polls without giving way, so that %d members on %d cores wait for each other's time slices: "+
		"one round, up to %s, reused buffers only", members, runtime.NumCPU(), bytesText(spinSize))
}

// spinSize is the largest buffer of a library whose members keep the processor while they wait.
const spinSize = 64 << 10
