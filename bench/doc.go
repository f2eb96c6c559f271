// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package bench measures Tutti against the honest alternatives, as Go benchmarks: one sub-benchmark for each
// way of doing the same thing, in one run. The programs beside it measure the tables of the proposal (tables), what
// reaching so many processes takes at least (floor), and collectives beside those of Gloo, Open MPI and MPICH (collectives, with the
// programs of the peers in C and C++ in peers); package ways has the ways of calling that they share, and plot draws.
//
//	make bench-batch                              // writes bench/results/
//	go test -run '^$' -bench Batch ./bench        // the same by hand
//
// Besides the time until all answers are there (ns/op), a batch benchmark reports submit-us (until everything was
// handed to the links), the median and the 99th percentile of the round trip (p50-us, p99-us), and the driver's processor time (cpu-us).
// Benchmarks run one at a time and start node processes; nothing else should run beside them.
package bench
