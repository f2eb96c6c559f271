// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/tutti-go/tutti/collective/benchmark"
)

// point is one of the choice.
func point(operation string, bytes int, buffers string) benchmark.Point {
	if operation == "barrier" {
		bytes, buffers = 0, "reused"
	}
	return benchmark.Point{Operation: operation, Bytes: bytes, Fresh: buffers == "fresh"}
}

// best returns the fastest algorithm and turn of a library at a point.
func (r *report) best(library string, at benchmark.Point) (benchmark.Result, bool) {
	var found benchmark.Result
	for _, l := range r.results {
		if l.Library == library && l.Point == at && (found.Rounds == 0 || l.UntilLast < found.UntilLast) {
			found = l
		}
	}
	return found, found.Rounds > 0
}

// sizesOf returns the sizes of an operation; a barrier has one, of no bytes.
func (r *report) sizesOf(operation string) []int {
	if operation == "barrier" {
		return []int{0}
	}
	return r.choice.Sizes
}

// table prints every point, side by side for all libraries.
func (r *report) table(w io.Writer) {
	fmt.Fprintln(w, "\nmin, avg and max are over members, of the mean over rounds of each one's own call; until last is the median over rounds from the\n"+
		"first begin to the last end, of which the bandwidths and the ratios are made: more than 1.00 is slower than "+base+".")
	for _, buffers := range r.choice.Buffers {
		for _, op := range r.choice.Operations {
			if op == "barrier" && buffers != r.choice.Buffers[0] {
				continue
			}
			fmt.Fprintf(w, "\n%s, %d members, %s buffers\n%-16s  %-16s %s   ratio\n", op, r.count, buffers, "library", "algorithm", benchmark.Columns)
			for _, size := range r.sizesOf(op) {
				r.rows(w, point(op, size, buffers))
			}
		}
	}
}

// rows prints one line for each library that was measured at a point.
func (r *report) rows(w io.Writer, at benchmark.Point) {
	against, compared := r.best(base, at)
	for _, lib := range r.libraries {
		l, ok := r.best(lib, at)
		if !ok {
			continue
		}
		ratio := ""
		if compared {
			ratio = fmt.Sprintf("%7.2f", l.UntilLast/against.UntilLast)
		}
		fmt.Fprintf(w, "%-16s  %-16s %s %s\n", lib, l.Algorithm, l.Row(), ratio)
	}
}

// summary prints how many times as long the others take as ours, on one page, and shared results beside a barrier.
func (r *report) summary(w io.Writer) {
	mpi := []string{"openmpi", "mpich"}
	for _, buffers := range r.choice.Buffers {
		over := func(ours, name string, libraries []string) {
			r.matrix(w, name+" over "+ours, buffers, func(at benchmark.Point) string { return r.ratio(ours, libraries, at) })
		}
		for _, ours := range []string{base, "tutti-shared", "tutti-goroutines"} {
			over(ours, "gloo", []string{"gloo"})
			over(ours, "the best MPI", mpi)
		}
		over("tutti-shared", base, []string{base})
		r.matrix(w, "tutti-shared over the barrier of "+base, buffers, r.besideBarrier)
	}
}

// matrix prints what cell says of all operations and sizes, if it says anything.
func (r *report) matrix(w io.Writer, title, buffers string, cell func(benchmark.Point) string) {
	var rows bytes.Buffer
	cells := 0
	for _, op := range r.choice.Operations {
		fmt.Fprintf(&rows, "  %-15s", op)
		for i, size := range r.choice.Sizes {
			text := ""
			if op != "barrier" || i == 0 {
				text = cell(point(op, size, buffers))
			}
			if text != "" {
				cells++
			}
			fmt.Fprintf(&rows, " %9s", text)
		}
		rows.WriteByte('\n')
	}
	if cells == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s, %d members, %s buffers\n  %-15s", title, r.count, buffers, "bytes")
	for _, size := range r.choice.Sizes {
		fmt.Fprintf(w, " %9d", size)
	}
	fmt.Fprintf(w, "\n%s", rows.String())
}

// besideBarrier is how many times as long as a barrier an operation with a shared result takes; empty if one of both was not measured.
func (r *report) besideBarrier(at benchmark.Point) string {
	shared, measured := r.best("tutti-shared", at)
	barrier, compared := r.best(base, point("barrier", 0, ""))
	if !measured || !compared {
		return ""
	}
	return fmt.Sprintf("%.2f", shared.UntilLast/barrier.UntilLast)
}

// ratio is how many times as long the best of some libraries takes; empty if one of both was not measured.
func (r *report) ratio(ours string, libraries []string, at benchmark.Point) string {
	own, ok := r.best(ours, at)
	if !ok {
		return ""
	}
	var all []float64
	for _, lib := range libraries {
		if l, ok := r.best(lib, at); ok {
			all = append(all, l.UntilLast)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", slices.Min(all)/own.UntilLast)
}
