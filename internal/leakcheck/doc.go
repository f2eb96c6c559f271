// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package leakcheck fails tests that leave something behind: goroutines, open descriptors, files. A package checks all of
// its tests at once in TestMain, and a single test can check itself.
//
//	func TestMain(m *testing.M) {
//		os.Exit(leakcheck.Run(m, leakcheck.Dirs(segmentDir)))
//	}
//
//	func TestSession(t *testing.T) {
//		leakcheck.Check(t) // first, so that it looks last
//		...
//	}
//
// What was there before the tests is no leak. What ends within five seconds after them is none either, for goroutines and
// sockets may need a moment to go; a check that passes does not wait. Descriptors are checked on Linux only, where the kernel
// lists them with their targets.
//
// Concurrency: goroutines and descriptors belong to the process, so a test that calls Check must not be parallel, and the
// testing package panics if it is. Call Check outside of a synctest bubble. Memory: nothing is kept after the check.
// Failure: a leak is printed with its stack, target or path, and fails the test or turns the exit code to 1.
//
// Test kit: none, the package is one and may import testing.
package leakcheck
