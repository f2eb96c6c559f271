// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package schedule holds the algorithms of collective operations as pure data: for one rank, the list of blocks it
// sends, receives, reduces and copies, round by round. The same schedules run on real links and in tests.
//
//	s := schedule.CirculantAllReduce(ranks, rank)
//	m := schedule.NewMachine(schedule.Compile(s))
//	for !m.Done() {
//		for a, ok := m.Next(); ok; a, ok = m.Next() {
//			st := s.At(a.Step)
//			... // send the blocks of st.Send to its peer, or receive those of st.Recv, beside what is under way already
//		}
//		... // m.Complete(a) for each that is done
//	}
//
// A buffer is cut into Schedule.Blocks blocks; how long each is, is the caller's choice, as long as all ranks choose alike.
// Every schedule keeps three promises, which [Verify] checks by running all ranks symbolically. (1) What one rank sends in a
// round, its peer receives in the same round, the same blocks in the same order: so a rank may wait for room in its peer
// without a deadlock. (2) A step never receives into a block that it sends, so that sending and receiving may overlap, in
// place. (3) Contributions are combined in an order that depends on the arguments alone, and each block of an all-reduce is
// combined at one rank only: all ranks get the same bits, in every run. Circulant and ring reductions combine in rotated order
// and so need a commutative operation.
//
// A [Machine] releases the transfers of a schedule as soon as the blocks that each needs are ready, in any order that keeps
// these promises. [Algorithms] lists what there is for an operation; docs/algorithms.md gives steps, bytes on the wire and
// sources of each.
//
// Concurrency: pure functions without shared state; a [Program] may be shared, a Machine is for one goroutine. Memory: a Schedule
// belongs to the caller and makes its steps when asked, so that it takes O(log ranks). Failure: the functions panic if ranks < 1,
// or if rank or root is not in [0, ranks), which is an error of the calling code. Test kit: [Verify], for algorithms of others too.
package schedule
