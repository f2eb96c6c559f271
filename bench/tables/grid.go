// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/tutti-go/tutti/bench/ways"

// The columns of every table.
const (
	byValue = iota
	byReference
	byGRPC
	byBatch
	columns
)

// column is one way of calling, as a table shows it. Its zero value stands for a way that there is not.
type column struct {
	name string // in files; the same name stands for the same thing measured
	call ways.Way
}

// point is one line of a grid.
type point struct {
	published

	actors int
	size   int // bytes of the argument, 0 for none
}

// table is one table of the proposal.
type table struct {
	number  int
	title   string
	axis    string // what x counts
	note    string // what differs from the other tables
	columns [columns]column
	base    int // the column that the proposal's loop is to be compared with
	points  []point
}

const (
	mib         = 1 << 20
	fixedActors = 400
)

// allTables returns the proposal's grid.
func allTables() []table {
	value, grpc := column{"loop-value", (*ways.Fleet).LoopValue}, column{"loop-grpc", (*ways.Fleet).LoopGRPC}
	ref, object := column{"loop-ref", (*ways.Fleet).LoopRef}, column{"loop-object", (*ways.Fleet).LoopObject}
	batch, batchObject := column{"batch", (*ways.Fleet).Batch}, column{"batch-object", (*ways.Fleet).BatchObject}
	return []table{
		{
			number: 1, title: "an argument of varying size, 400 actors", axis: "bytes",
			columns: [columns]column{value, ref, grpc, batch}, points: bySize(proposal1),
		},
		{
			number: 2, title: "varying numbers of actors, an argument of 1 MiB", axis: "actors",
			columns: [columns]column{value, ref, grpc, batch}, points: byActors(proposal2, mib),
		},
		{
			number: 3, title: "varying numbers of actors, no argument", axis: "actors",
			note:    "There is nothing to refer to, and so no loop over a reference.",
			columns: [columns]column{byValue: value, byGRPC: grpc, byBatch: batch}, points: byActors(proposal3, 0),
		},
		{
			number: 4, title: "varying numbers of actors, a reference to an object of 1 MiB", axis: "actors", base: byReference,
			note: "Loop over a reference and batch pass a reference to an object that is there already, as the proposal's loop and batch do;\n" +
				"by value and gRPC, which know no references, pass its bytes as in Table 2, and are measured once for both.",
			columns: [columns]column{value, object, grpc, batchObject}, points: byActors(proposal4, mib),
		},
	}
}

func bySize(lines []published) []point {
	points := make([]point, len(lines))
	for i, l := range lines {
		points[i] = point{published: l, actors: fixedActors, size: l.x}
	}
	return points
}

func byActors(lines []published, size int) []point {
	points := make([]point, len(lines))
	for i, l := range lines {
		points[i] = point{published: l, actors: l.x, size: size}
	}
	return points
}
