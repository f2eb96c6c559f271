// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package flight records what the members of a group do, in files that can be read after a process was killed, and finds the
// first operation in which the members differ.
//
//	r, err := flight.Create(dir, flight.Head{Group: "dp", Epoch: 1, Rank: 3, Size: 8})
//	r.Begin(17, hash, "AllReduce(sum, float32 x 1000)")
//	r.End(flight.Done, "")
//	...
//	logs, err := flight.ReadDir(dir)
//	for _, f := range flight.Analyze(logs) { fmt.Println(f) }
//
// A file is a ring of the last 256 operations of one rank in one epoch, 36 KiB that are mapped into the process: to write one is
// to write memory, which the kernel keeps when the process is killed. What the machine's end leaves is not promised.
//
// Concurrency: Begin, Wait and End may be called from many goroutines; a reader of the file may see an entry that is being written,
// and leaves it out. Memory: a Recorder owns its mapping until Close. Failure: a file that is not one, or is damaged, is an
// error that matches [ErrFormat]; entries that make no sense are left out. The decoder is fuzzed.
package flight
