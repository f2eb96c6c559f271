// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package coretest helps to test programs that use package core, with nodes in the test's process or in processes of
// their own.
//
//	func TestMain(m *testing.M) { coretest.Main(m) }
//
//	func TestSum(t *testing.T) {
//		sys := coretest.Start(t, core.LocalNodes(2))
//		actors, err := workers.Spawn(t.Context(), sys, 8, Config{})
//		...
//		coretest.KillNode(t, sys, 1) // kill -9, to see what the program does
//	}
//
// StartHosts stands several hosts up on this machine, whose processes join the system over loopback as from other machines.
//
// Main lets the test binary serve as node processes and fails the run if the tests leave goroutines, descriptors or
// files behind. What Start starts belongs to the test and is shut down at its end.
package coretest
