// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package collective lets the members of a group of actors combine and share data among themselves, for any number of members,
// without a driver in the path: all-reduce, reduce, reduce-scatter, broadcast, barrier, all-gather, gather, scatter and all-to-all,
// the last four with blocks of equal or of different lengths, and messages between two. A group is made by one batch call, and its
// members can go on without those that fail.
//
// The driver makes the group, and the actors find it by its name:
//
//	g, err := collective.NewGroup(ctx, "dp", handles)
//	defer g.Close(ctx)
//
//	func (t *Trainer) Step(ctx context.Context, in Step) (Loss, error) {
//		g, err := collective.FromContext(ctx, "dp")
//		if err != nil {
//			return Loss{}, err
//		}
//		loss := t.backward(in) // fills t.grad
//		return loss, collective.AllReduce(ctx, g, t.grad, collective.Avg)
//	}
//
// The members of a group must call the same operations in the same order, with the same element type, length, reduction and
// root, and the same counts for blocks of different lengths; in AllToAllV what one has for another must be what that one expects.
// Send, Recv and SendRecv stand outside of this order: each pair of members matches them by tag. docs/algorithms.md says what each
// operation does on the wire.
//
// # Results
//
//  1. After an all-reduce all members have the same bits.
//  2. Elements are combined in an order that depends on their number, the size of the group and its table of algorithms, never on
//     who was first: the same inputs give the same bits whenever the group repeats the operation. The table follows from times
//     measured on the creator's machine, so that another group of the same size may round otherwise; [Algorithm] or [Costs]
//     give all groups the same.
//  3. All is computed in the element type, but 16-bit floats in float32, rounded where they are sent on and at the end. Integers wrap
//     around. A sum of floats takes at most ceil(log2 size) roundings that lie between an element and the result; 7*ceil(log8 size)
//     between processes of one machine and between members of one process; the two together where an all-reduce goes by hosts, the first with their number and the second with
//     that of the members of one; but size-1 in an all-reduce by "gather", "one-shot" or "ring", and for
//     16-bit floats between members of one process, which for 16-bit floats are those of float32 and one more; a complex product is the schoolbook formula's.
//  4. Avg divides the sum once, where it is complete: floats are rounded, integers truncated toward zero. Where the sum of integers
//     wraps around, so does their average: widen them first.
//  5. In Min and Max a NaN wins against every number, so that all members see it. -0 is smaller than 0.
//  6. A NaN that any reduction of more than one member makes is the quiet one without sign and payload, whatever went in: the bits of
//     a result do not depend on the processors.
//
// Sum, Prod and [PremulSum] are for all numbers; Avg, Min and Max for integers and floats, [Float16] and [BFloat16] among them; BitAnd,
// BitOr and BitXor for integers; LogicalAnd and LogicalOr for bool and, with 0 and 1 as results, for what Min is for: all but
// 0 and -0 are true, a NaN too; [Custom] for the type of its function. Other combinations are an
// [ErrArgument].
//
// # Concurrency
//
// One operation runs on a member at a time; further ones of the same member wait, and run in the order in which they were
// called if one goroutine called them. That includes Send and Recv: SendRecv is for members that send to each other. Different
// groups do not wait for each other, also where they share actors, but two groups must not be used by their common members in
// different orders: that is a deadlock, which ends with the deadline. [Group.Async] runs operations beside their caller, in the place that
// they were given to it; [Prepared] operations are for loops that repeat one. [Bucketer] reduces the gradients of a training step while the
// backward pass still makes others.
//
// # One machine
//
// Members that are all processes of one machine share memory: they copy data into a file that all map, in the run directory of the system, and
// out of it, instead of sending messages. Blocks of a Scatter, AllToAll or AllToAllV from 32 KiB up are read straight from the memory of who has them, if
// the system lets all members read each other's (process_vm_readv), who then waits for all. They find out in the first operation of an epoch, in which all wait for each other therefore. Send and Recv,
// [Custom] reductions, and AllToAllV with more than 480 members are messages always. Where the file cannot be had (systems other than Linux, no room in /dev/shm), all are messages; results may round
// otherwise then. The option [Messages] turns it off, and so does [Algorithm]. Operations without shared results allocate nothing there, but
// ReduceScatter with PremulSum or logical reductions of numbers, which copies in, and a member that waits for longer than 10 ms, which takes a handful to be bounded.
//
// Where members are on several hosts, of which some have several members that share memory, AllReduce, Reduce, Broadcast and Barrier, and ReduceScatter, AllGather, Gather,
// GatherV, Scatter and ScatterV where the ranks of each host follow each other, are done in that first, by messages between the lowest ranks of all hosts then, and handed
// on in it: each byte crosses the network as often as if each host had one member. Gathers and scatters go straight to the root or from it, and a lowest rank holds
// up to 2 MiB for its neighbours meanwhile. All else is messages. [Group.Explain] says which it is.
//
// # One process
//
// Members that all live in one process share its memory: each leaves its slices where the others find them, the last to come makes the result with as
// many others as there are further processors, and all return together. So every member of any operation waits for all others, also a root;
// nothing but results is copied, and in of ReduceScatter only by PremulSum and logical reductions of numbers; a member that is late holds nothing. A function of
// [Custom] runs on the goroutines of a few members, for all. An operation takes a handful of allocations and one for each 64 members. Send and Recv, and
// operations with shared results, are messages there too, and so is all of a group made with [Messages] or [Algorithm].
//
// # Memory
//
// A buffer that is handed to an operation is the operation's until it returns, and is then the caller's again; nothing is kept.
// After an error its contents are of no use, except where it is only read: at the root of a broadcast, and in of operations
// with in and out. Those two must not overlap, except that the smaller may be the member's own place in the larger in AllGather,
// Gather and Scatter. An Arrow array of numbers without nulls takes part as its values (arrowstore.Numbers), and a result is one without a
// copy (arrowstore.ArrayOf). By messages ReduceScatter makes a copy of in, a
// [Custom] reduction that does not commute holds Size times the part of the result that is made at a member, and members on the way of a Gather or Scatter hold what they pass on. A
// member that is late holds at most 4 MiB from each member that sends to it, which are about twice the logarithm of the group's
// size, and in an all-to-all the whole group, with one block each; senders wait beyond that. The same holds for Send, by itself.
// The file that processes of one machine share has 8 KiB for each member, and 64 MiB more once a buffer is longer than 4 KiB.
//
// # Shared results
//
// [BroadcastShared], [AllReduceShared], [ReduceShared], [ReduceScatterShared], [AllGatherShared], [GatherShared] and [ScatterShared], and [AllGatherVShared],
// [GatherVShared] and [ScatterVShared] with parts of different lengths, copy nothing into buffers of the members: the result is one immutable object for each host in its object store, which all members of the host read in place.
//
//  1. Inside a host the data is copied once: each member copies what it brings to its place, or the root does. Data of the root that is in
//     the store already is not copied at all ([BroadcastView], [ScatterView]), nor are the contributions to a reduction that are, where all
//     members share the memory of a machine ([AllReduceView], [ReduceView], [ReduceScatterView]). [NewBuffer] gives a member such memory to write. [NewPlace] gives it
//     its own place in a result to come, of [AllGatherPlace] or [GatherPlace]: what it writes there is not copied either. In reductions members share the work.
//  2. Between hosts one member of each, its head, sends and receives: the root, or the lowest rank. What it receives is written where it stays.
//  3. Members get an arrowstore.View, which is theirs: the memory is valid until its Release, whatever becomes of the group, the other members and
//     the one whose store it is, and at the latest until the end of the caller's own node. Writing to it faults. It may be handed on to
//     BroadcastView. The object cannot be got from the store by its identity when the call returns, and its memory is not used for anything else while there are views: those of a process that
//     dies are reaped, and no failure leaves anything behind.
//  4. Members of a host wait for each other, as at a barrier. Where all members are on one machine and share its memory, they tell each other of the
//     object there, in one or two rounds, and exchange no messages; in the others some dozen bytes. There BroadcastShared, BroadcastView and ScatterShared wait for
//     the root only, and the root for nobody; a gather only the root waits for, and a ReduceView is over for another when what it brings has been read. Of members on other hosts a member waits for what it needs of them. A store that is full ends the epoch at all members, with arrowstore.ErrNoSpace in the text.
//  5. All members get the same bits, and a rerun on the same group gives the same. Floats may be rounded otherwise than in the
//     operation of the same name without a shared result: elements are combined by ascending rank within each host, then across hosts. On one machine
//     with its memory, groups of 8 neighbours combine first.
//  6. Whatever holds of failures, mismatches, deadlines and the order of operations holds here too. Elements are the numbers of arrowstore.Numeric: no bool, and no uintptr.
//
// On one machine the store of the root, or of rank 0, holds objects of the group's between operations: the one that it has handed on, until its next
// operation goes through the memory of the machine; and for each of up to 4 operations that came again, with results of no more than 16 MiB and a 192nd of the
// store's limit, up to 3 objects, of which the next one like it writes one that nobody has a view of any more. They go with the group.
//
// A reduction takes memory for the contributions of a host's members besides the result, 128 MiB or 8 KiB for each member of the host at most. The processes of
// [Connect] open an object store when they first share a result, in a directory that TUTTI_RUNDIR overrides and that goes with its last user.
//
// # Failure
//
// An operation succeeds or the group's epoch is over: every pending and later operation of every member returns an [*Error],
// which matches [ErrAborted], names the failed ranks as far as they are known, and unwraps to the reason. The first reason
// that reaches a member is the one it reports. An epoch ends
//
//   - when a node of a member is lost or the actor of a member ends: [ErrMemberLost]. The end of a process is seen at once, by whoever
//     has a connection to it; a node that is stopped or cut off when it leaves questions of those who wait for it without an
//     answer for as long as [Silence], 2 s;
//   - when an operation of a member panics, or a method of its actor, whatever it was called for: [ErrPanicked], with the panic in the text. So
//     nobody waits for what the method had still to call. The actor may live on and be a member of the next epoch; one with restarts dies of it, and
//     is lost;
//   - when nothing moves for as long as [Stall], 30 s: [ErrStalled]. What counts is the member that all wait for in the end, which the
//     error names: it has not called the operation, or hangs. A transfer that is slow but goes on is not ended by it;
//   - when the context of a member's operation ends before the operation does: context.Canceled or
//     context.DeadlineExceeded. A context without a deadline gets the group's, 10 min unless [Timeout] says otherwise;
//   - when members called different operations: [ErrMismatch], with the text of both calls. The members notice as soon as one
//     hears of the other, at the latest some tenths of a second after they wait for each other. One that does not wait, such as
//     the root of a broadcast or a leaf of a gather, may notice in its next operation;
//   - by [Group.Revoke], [Group.Close] or a [NewGroup] of the same name: [ErrRevoked], [ErrClosed], [ErrReplaced].
//
// So nothing waits for ever. All members hear of an end within about log2 nodes messages, and all times are counted in turns of whoever
// waits, so that a process that was itself stopped accuses nobody.
//
// Nodes drop frames of an epoch that is over. An operation may have succeeded at some members and failed at others. Arguments
// that are wrong in themselves, such as a root that is no rank or an out that is too short, are an error of that call alone, which
// matches [ErrArgument] and names the argument and its bound.
//
// To go on after a failure, the members that are left call [Group.Shrink]: all get the same next epoch, without those that are lost. It needs
// neither the creator nor those who failed, and copes with more failures on the way. Buffers are then what each member makes of them:
// an operation that failed may have changed them, so a program goes on from what it has kept, and [Group.Agree] tells whether all
// have. The creator can make the next epoch too, by its own Shrink or by [Grow]. A member that was taken for lost by mistake gets
// [ErrExcluded].
//
// # Operations over references
//
// The creator of a group can have its members run an operation whose inputs are references to slices, one for each rank: [AllReduceRefs],
// [ReduceScatterRefs], [AllGatherRefs] and [BroadcastRefs]. It is one batch call; the members read the inputs in place, run the operation
// among themselves, and each result stays in the object store of its host, as a reference that is an input of the next call. Errors
// are by rank.
//
// # Programs without actors
//
// [Connect] makes a group of processes that a launcher has started, which meet in a directory of their machine or, from many machines, at
// an address where rank 0 listens; [ConnectEnv] takes rank, size and the meeting place from the environment of Slurm, Open MPI or a
// Kubernetes job. Over TCP all must know a secret, and beyond loopback they speak TLS unless told otherwise.
//
// # Records
//
// Each member keeps a record of its last 256 operations in a file of 36 KiB, which outlives its process (package
// collective/flight): in the run directory of the system, where it goes with the system, or in the directory that TUTTI_FLIGHT names.
// The command tutti flight puts the records of all members together and prints the first operation in which they differ. TUTTI_FLIGHT=off
// keeps none.
//
// Test kit: package core/coretest runs actors on nodes of the test's process or in processes of their own.
package collective
