// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package hostshm lets members of a group that run in processes of one machine exchange data through a file that all of them map. It knows
// nothing of operations, types or messages: package collective builds its operations of the rounds that it offers.
//
//	s, err := hostshm.Open(path, members) // the same path at all; then all compare s.File, and one calls Remove
//	p, err := s.Port(rank)
//	p.Begin(call)                                   // what this member calls
//	err = p.Enter(idle)                              // begins a round, when all have arrived at the one before
//	mismatch := p.Fold(own, reduce)                  // arrives with a contribution; the last to arrive reduces
//	err = p.Await(idle)                              // until all have arrived
//	copy(own, p.Result(len(own)))
//
// # Rounds
//
// All members take part in the same rounds, one after the other. In a round a member gives data by writing to slots, arrives, and reads
// what others gave once it is there. A round is one of two kinds:
//
//   - full: what members read is there when all have arrived (Arrive or Fold, then Await);
//   - published: it is there as soon as one member, the publisher, says so (Publish); the others await that, read and arrive behind it
//     (AwaitPublished, read, Arrive).
//
// A member may leave a full round without waiting if it needs nothing of it; it waits when it enters the next. So no member is ever
// further than one round ahead of another. Slots and results are there twice, for odd and even rounds: a member may overwrite those of two rounds ago,
// for all have arrived at the round between, and with that have read them.
//
// A publisher that alone has data may write them over the slots of all (Wide), which takes fewer rounds where there are many members and so small slots.
//
// The publisher may expose memory of its own instead of slots, for others to read straight from its process (Expose, ReadExposed), where TryDirect has found
// that all may; it then waits until they have (AwaitAll).
//
// Who arrives last in a part of the tree that members form does its work: it folds the contributions of that part, its own straight from its own memory.
// So nobody waits for a member to do work for others, and a member that is late is missed as an input only. The tree has a fixed shape, and contributions are
// folded in the order of ranks within it: the result does not depend on who was when. Contributions that stay in other memory (FoldPlaced) are
// folded when all of a node are there, part by part, by those of the node that are awake then.
//
// # Concurrency
//
// A Port is for one goroutine at a time, and each rank has one in one process. End may be called by anybody at any time. Missing and Progress may be called while
// another goroutine waits.
//
// # Memory
//
// Members own the slices that they pass. Slots and results are memory of the segment, valid until the member arrives at the next round, and
// not beyond Close. What a member exposes must stay until AwaitAll or End. The file has 256 bytes and two times 4 KiB for each member, and grows once, when more is asked for, by at most
// [Budget]. It is backed when it grows, so that no access faults for lack of memory.
//
// # Failure
//
// A member that dies leaves a round that does not end: whoever waits is told so by nobody here, but gets its turn to look around (Idle), and
// End makes all waits end at once. After End, or an error, the segment is of no more use. The kernel frees the memory when
// the path is removed and the last process has closed it or is gone.
//
// Waiting is by giving way to others, for a time that grows with the members for each processor, then by a pipe with a name next to the segment's,
// which the runtime's poller watches: see [Segment.Patience]. Who waits by the pipe holds no thread. Where many members live in one process
// they use the pipe at once.
//
// Systems other than Linux have no segments: Open returns an error that matches errors.ErrUnsupported.
package hostshm
