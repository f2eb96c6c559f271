// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/tutti-go/tutti/collective"
)

// operations are what is measured, by the names that the programs in bench/peers know too.
func operations() []string {
	return []string{"allreduce", "broadcast", "reduce", "reduce-scatter", "allgather", "gather", "scatter", "alltoall", "barrier"}
}

// line is one point that was measured: what the programs in bench/peers print. Times are in microseconds.
type line struct {
	library, algorithm, operation string
	bytes                         int // of the larger buffer of a member
	mode                          string
	members, rounds               int
	least, mean, most             float64 // over members, of their mean over rounds
	span                          float64 // median over rounds, from the first begin to the last end
}

func (l line) String() string {
	return fmt.Sprintf("%s,%s,%s,%d,%s,%d,%d,%.2f,%.2f,%.2f,%.2f",
		l.library, l.algorithm, l.operation, l.bytes, l.mode, l.members, l.rounds, l.least, l.mean, l.most, l.span)
}

func parseLine(text string) (line, error) {
	f := strings.Split(text, ",")
	if len(f) != 11 {
		return line{}, fmt.Errorf("%q has %d fields, want 11", text, len(f))
	}
	l := line{library: f[0], algorithm: f[1], operation: f[2], mode: f[4]}
	for i, to := range map[int]*int{3: &l.bytes, 5: &l.members, 6: &l.rounds} {
		n, err := strconv.Atoi(f[i])
		if err != nil {
			return line{}, fmt.Errorf("%q: field %d: %w", text, i+1, err)
		}
		*to = n
	}
	for i, to := range map[int]*float64{7: &l.least, 8: &l.mean, 9: &l.most, 10: &l.span} {
		x, err := strconv.ParseFloat(f[i], 64)
		if err != nil {
			return line{}, fmt.Errorf("%q: field %d: %w", text, i+1, err)
		}
		*to = x
	}
	return l, nil
}

// rate returns the algorithm's bandwidth, and that of the bus as nccl-tests define it, in GB/s, from the time until all are done.
func (l line) rate() (algorithm, bus float64) {
	if l.span == 0 {
		return 0, 0
	}
	algorithm = float64(l.bytes) / l.span / 1e3
	n := float64(l.members)
	switch l.operation {
	case "allreduce":
		return algorithm, algorithm * 2 * (n - 1) / n
	case "broadcast", "reduce":
		return algorithm, algorithm
	default:
		return algorithm, algorithm * (n - 1) / n
	}
}

// shape says how many elements the buffers of a member have. block is what one member has of another, or the whole buffer.
type shape struct{ block, in, out, checked int }

func shapeOf(operation string, bytes, rank, members int) shape {
	count := bytes / 4
	block := max(count/members, 1)
	all, atRoot := block*members, 0
	if rank == 0 {
		atRoot = 1
	}
	switch operation {
	case "allreduce", "broadcast":
		return shape{count, 0, count, count}
	case "reduce":
		return shape{count, 0, count, count * atRoot}
	case "reduce-scatter":
		return shape{block, all, block, block}
	case "allgather":
		return shape{block, block, all, all}
	case "gather":
		return shape{block, block, all * atRoot, all * atRoot}
	case "scatter":
		return shape{block, all * atRoot, block, block}
	case "alltoall":
		return shape{block, all, all, all}
	default:
		return shape{}
	}
}

func value(i, rank int) float32 { return float32(i%1000 + rank) }

func sum(i, members int) float32 { return float32(i%1000*members + members*(members-1)/2) }

// expected is element i of what a rank has in the end.
func expected(operation string, i, rank, members, block int) float32 {
	switch operation {
	case "allreduce", "reduce":
		return sum(i, members)
	case "broadcast":
		return value(i, 0)
	case "reduce-scatter":
		return sum(rank*block+i, members)
	case "allgather", "gather":
		return value(i%block, i/block)
	case "scatter":
		return value(rank*block+i, 0)
	default:
		return value(rank*block+i%block, i/block)
	}
}

func fill(operation string, in, out []float32, rank int) {
	for i := range in {
		in[i] = value(i, rank)
	}
	if operation == "allreduce" || operation == "reduce" || operation == "broadcast" && rank == 0 {
		for i := range out {
			out[i] = value(i, rank)
		}
	}
}

func check(operation string, s shape, out []float32, rank, members int) error {
	for i, v := range out[:s.checked] {
		if want := expected(operation, i, rank, members, s.block); v != want {
			return fmt.Errorf("%s: element %d of %d at rank %d is %v, want %v", operation, i, s.checked, rank, v, want)
		}
	}
	return nil
}

// operate does an operation once, with the root at rank 0.
func operate(ctx context.Context, g *collective.Group, operation string, in, out []float32) error {
	switch operation {
	case "allreduce":
		return collective.AllReduce(ctx, g, out, collective.Sum)
	case "broadcast":
		return collective.Broadcast(ctx, g, out, 0)
	case "reduce":
		return collective.Reduce(ctx, g, out, collective.Sum, 0)
	case "reduce-scatter":
		return collective.ReduceScatter(ctx, g, in, out, collective.Sum)
	case "allgather":
		return collective.AllGather(ctx, g, in, out)
	case "gather":
		return collective.Gather(ctx, g, in, out, 0)
	case "scatter":
		return collective.Scatter(ctx, g, in, out, 0)
	case "alltoall":
		return collective.AllToAll(ctx, g, in, out)
	case "barrier":
		return collective.Barrier(ctx, g)
	default:
		return fmt.Errorf("operation %q: want one of %s", operation, strings.Join(operations(), ", "))
	}
}
