// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package ways calls all actors of a fleet once, in each of the ways that one could: with one batch call, in loops over
// single calls, and in a loop of plain gRPC calls to servers in the same processes. Benchmarks compare them.
//
//	f, err := ways.NewFleet(ctx, sys, 400)
//	arg, err := f.NewArgument(ctx, 1<<20)
//	loop, err := f.LoopValue(ctx, arg)
//	batch, err := f.Batch(ctx, arg)
//	fmt.Println(loop.Submit/batch.Submit, loop.Complete/batch.Complete)
//
// Concurrency: a Fleet is called in one way at a time, or the ways would measure each other. Memory: the actors read
// the ends of an argument and keep nothing; an Argument lasts until Release. Failure: the first call that fails ends a round
// with its error, which leaves nothing to compare.
//
// Test kit: a small fleet on two nodes of package coretest.
package ways
