// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package benchmark

import (
	"bytes"
	"context"
	"fmt"
	"unsafe"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/collective"
)

// The operations that are measured, by the names that the programs in bench/peers know too.
const (
	allReduce     = "allreduce"
	broadcast     = "broadcast"
	reduce        = "reduce"
	reduceScatter = "reduce-scatter"
	allGather     = "allgather"
	gather        = "gather"
	scatter       = "scatter"
	allToAll      = "alltoall"
	barrier       = "barrier"
	allGatherV    = "allgatherv"
	gatherV       = "gatherv"
	scatterV      = "scatterv"
	allToAllV     = "alltoallv"
)

// elementSize is the size of a float32, of which all buffers are made.
const elementSize = 4

// Operations returns the names of all operations. In those that end with v, odd ranks have or get half of a block, and even ones a block and
// a half.
func Operations() []string {
	return []string{
		barrier, broadcast, reduce, allReduce, reduceScatter, allGather, gather, scatter, allToAll,
		allGatherV, gatherV, scatterV, allToAllV,
	}
}

// Shareable says whether an operation has a form whose result is shared.
func Shareable(operation string) bool {
	switch operation {
	case broadcast, reduce, allReduce, reduceScatter, allGather, gather, scatter, allGatherV, gatherV, scatterV:
		return true
	default:
		return false
	}
}

// shape says how many elements the buffers of a member have. A shared result is no buffer of a member: out is 0 then.
type shape struct {
	block, in, out int
	checked        int // elements of the result
	counts         []int
}

// shapeOf returns the shape of a point at a rank. The root is rank 0.
func shapeOf(p Point, rank, members int) shape {
	s := private(p.Operation, p.Bytes/elementSize, rank, members)
	if !p.Shared {
		return s
	}
	switch p.Operation {
	case allReduce, reduce:
		s.in = s.block
	case broadcast:
		if rank == 0 {
			s.in = s.block
		}
	}
	s.out = 0
	return s
}

func private(operation string, count, rank, members int) shape {
	block := max(count/members, 1)
	all, atRoot := block*members, 0
	if rank == 0 {
		atRoot = 1
	}
	switch operation {
	case allReduce, broadcast:
		return shape{block: count, out: count, checked: count}
	case reduce:
		return shape{block: count, out: count, checked: count * atRoot}
	case reduceScatter:
		return shape{block: block, in: all, out: block, checked: block}
	case allGather:
		return shape{block: block, in: block, out: all, checked: all}
	case gather:
		return shape{block: block, in: block, out: all * atRoot, checked: all * atRoot}
	case scatter:
		return shape{block: block, in: all * atRoot, out: block, checked: block}
	case allToAll:
		return shape{block: block, in: all, out: all, checked: all}
	}
	counts := countsOf(block, 0, members)
	own, total := counts[rank], sumOf(counts)
	switch operation {
	case allGatherV:
		return shape{block: block, in: own, out: total, checked: total, counts: counts}
	case gatherV:
		return shape{block: block, in: own, out: total * atRoot, checked: total * atRoot, counts: counts}
	case scatterV:
		return shape{block: block, in: total * atRoot, out: own, checked: own, counts: counts}
	case allToAllV: // what a member has for another is what that one expects
		counts = countsOf(block, rank, members)
		total = sumOf(counts)
		return shape{block: block, in: total, out: total, checked: total, counts: counts}
	default:
		return shape{}
	}
}

// countsOf returns the blocks of uneven operations: half of a block where from and the place differ by an odd number, a block and a half elsewhere.
func countsOf(block, from, members int) []int {
	counts := make([]int, members)
	for i := range counts {
		if counts[i] = block + block/2; (from+i)%2 == 1 {
			counts[i] = block - block/2
		}
	}
	return counts
}

func sumOf(counts []int) int {
	total := 0
	for _, c := range counts {
		total += c
	}
	return total
}

// value is element i of what a rank brings.
func value(i, rank int) float32 { return float32(i&1023 + rank) }

// period is after how many elements values and sums come again.
const period = 1024

// sum is element i of what all bring, combined. Up to 5,000 members it is exact.
func sum(i, members int) float32 { return float32((i&1023)*members + members*(members-1)/2) }

// place is where a block of an uneven operation begins.
func place(counts []int, rank int) int { return sumOf(counts[:rank]) }

// run is a stretch of a result: all of it or, where each member brings a block, one block.
type run struct {
	length int
	begin  int // which element of those of its source is the first
	source int // the rank whose elements they are; everybody: the sum over all
}

const everybody = -1

// runsOf returns what a rank has in the end.
func runsOf(operation string, s shape, rank, members int) []run {
	switch operation {
	case allReduce, reduce:
		return []run{{s.checked, 0, everybody}}
	case reduceScatter:
		return []run{{s.checked, rank * s.block, everybody}}
	case broadcast:
		return []run{{s.checked, 0, 0}}
	case scatter:
		return []run{{s.checked, rank * s.block, 0}}
	case scatterV:
		return []run{{s.checked, place(s.counts, rank), 0}}
	}
	if s.checked == 0 {
		return nil
	}
	runs := make([]run, members)
	for source := range runs {
		runs[source] = run{s.block, 0, source}
		if s.counts != nil {
			runs[source].length = s.counts[source]
		}
		switch operation {
		case allToAll:
			runs[source].begin = rank * s.block
		case allToAllV:
			runs[source].begin = place(countsOf(s.block, source, members), rank)
		}
	}
	return runs
}

// fill makes the buffers what they must be before an operation.
func fill(operation string, in, out []float32, rank int) {
	fillOne(in, rank)
	if operation == allReduce || operation == reduce || operation == broadcast && rank == 0 {
		fillOne(out, rank)
	}
}

// fillOne copies the first values again and again, for to compute each of 16 MiB takes longer than most operations.
func fillOne(buf []float32, rank int) {
	first := buf[:min(len(buf), period)]
	for i := range first {
		first[i] = value(i, rank)
	}
	for done := len(first); done < len(buf); {
		done += copy(buf[done:], first)
	}
}

// check compares what a rank has in the end with what it must be.
func check(operation string, s shape, out []float32, rank, members int) error {
	if len(out) < s.checked {
		return fmt.Errorf("%s: rank %d has %d elements, want %d", operation, rank, len(out), s.checked)
	}
	from := 0
	var room [period]float32
	for _, r := range runsOf(operation, s, rank, members) {
		want := room[:min(r.length, period)]
		for i := range want {
			if want[i] = sum(r.begin+i, members); r.source != everybody {
				want[i] = value(r.begin+i, r.source)
			}
		}
		for end := from + r.length; from < end; { // so many at once, as they are in memory
			got := out[from:min(from+period, end)]
			if bytes.Equal(bytesOf(got), bytesOf(want[:len(got)])) {
				from += len(got)
				continue
			}
			i := 0
			for i < len(got)-1 && got[i] == want[i] {
				i++
			}
			return fmt.Errorf("%s: element %d of %d at rank %d is %v, want %v", operation, from+i, s.checked, rank, got[i], want[i])
		}
	}
	return nil
}

func bytesOf(s []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), elementSize*len(s))
}

// operate does an operation once, with the root at rank 0.
func operate(ctx context.Context, g *collective.Group, operation string, s shape, in, out []float32) error {
	switch operation {
	case allReduce:
		return collective.AllReduce(ctx, g, out, collective.Sum)
	case broadcast:
		return collective.Broadcast(ctx, g, out, 0)
	case reduce:
		return collective.Reduce(ctx, g, out, collective.Sum, 0)
	case reduceScatter:
		return collective.ReduceScatter(ctx, g, in, out, collective.Sum)
	case allGather:
		return collective.AllGather(ctx, g, in, out)
	case gather:
		return collective.Gather(ctx, g, in, out, 0)
	case scatter:
		return collective.Scatter(ctx, g, in, out, 0)
	case allToAll:
		return collective.AllToAll(ctx, g, in, out)
	case allGatherV:
		return collective.AllGatherV(ctx, g, in, out, s.counts)
	case gatherV:
		return collective.GatherV(ctx, g, in, out, s.counts, 0)
	case scatterV:
		return collective.ScatterV(ctx, g, in, out, s.counts, 0)
	case allToAllV:
		return collective.AllToAllV(ctx, g, in, s.counts, out, s.counts)
	default:
		return collective.Barrier(ctx, g)
	}
}

// share does an operation once whose result is shared. The view is the caller's; it is nil where a member gets no result.
func share(ctx context.Context, g *collective.Group, operation string, s shape, m *memory) (*arrowstore.View[float32], error) {
	switch {
	case m.place != nil && (operation == gather || operation == gatherV):
		return collective.GatherPlace(ctx, g, m.place, 0)
	case m.place != nil:
		return collective.AllGatherPlace(ctx, g, m.place)
	case m.buffer != nil:
		return shareBuffer(ctx, g, operation, m.buffer)
	}
	switch operation {
	case allReduce:
		return collective.AllReduceShared(ctx, g, m.in, collective.Sum)
	case reduce:
		return collective.ReduceShared(ctx, g, m.in, collective.Sum, 0)
	case reduceScatter:
		return collective.ReduceScatterShared(ctx, g, m.in, collective.Sum)
	case broadcast:
		if m.inPlace {
			return collective.BroadcastView(ctx, g, m.view, 0)
		}
		return collective.BroadcastShared(ctx, g, m.in, 0)
	case allGather:
		return collective.AllGatherShared(ctx, g, m.in)
	case gather:
		return collective.GatherShared(ctx, g, m.in, 0)
	case allGatherV:
		return collective.AllGatherVShared(ctx, g, m.in, s.counts)
	case gatherV:
		return collective.GatherVShared(ctx, g, m.in, s.counts, 0)
	case scatterV:
		return collective.ScatterVShared(ctx, g, m.in, s.counts, 0)
	default:
		if m.inPlace {
			return collective.ScatterView(ctx, g, m.view, s.block, 0)
		}
		return collective.ScatterShared(ctx, g, m.in, s.block, 0)
	}
}

// shareBuffer does a reduction of what is in the store.
func shareBuffer(ctx context.Context, g *collective.Group, operation string, b *collective.Buffer[float32]) (*arrowstore.View[float32], error) {
	switch operation {
	case reduce:
		return collective.ReduceBuffer(ctx, g, b, collective.Sum, 0)
	case reduceScatter:
		return collective.ReduceScatterBuffer(ctx, g, b, collective.Sum)
	default:
		return collective.AllReduceBuffer(ctx, g, b, collective.Sum)
	}
}
