// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package benchmark measures the operations of package collective on the nodes of a running system: how long each member spends in an
// operation, and how long it takes until the last is done, with the columns that users of the OSU benchmarks and of nccl-tests know. The command
// "tutti bench collectives" prints them for processes of this machine or for hosts that have joined; bench/collectives sets them beside
// other libraries. A program of one's own can do so as well, if it imports this package in all its processes:
//
//	plan := benchmark.Plan{Points: benchmark.DefaultChoice().Points(), Seconds: 0.1}
//	err := benchmark.Measure(ctx, sys, "mine", 400, plan, func(r benchmark.Result) error {
//		_, err := fmt.Println(r)
//		return err
//	})
//
// A point is an operation, a size, whether its buffers are fresh in every round, and whether the result is shared. In each of its rounds all
// members meet in a barrier, and each takes the time of its own call. One to five rounds before the first warm up; the shortest of them says how many
// there will be. Every member checks all of its data before the measured rounds, in the first and in the last of them; wrong data is an error.
//
// Concurrency: Measure makes a group of its own and may run beside other work, which then is what is measured. Memory: a member holds the
// buffers of one point at a time, Need bytes, straight from the system; for shared results with reused buffers, in the object store of its node.
// Failure: Measure ends with the first error, and with its context; points beyond Plan.Limit or Plan.Memory are reported as left out. Test kit: none.
package benchmark
