// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package batch calls many actors at once: the argument is encoded once, stored once per
// host when it is large, and sent as one message per node, however many actors the node
// has; every actor has a slot in the answer, which ends up with its result or its error.
//
//	refs, err := batch.Call(ctx, batch.New(actors), (*Worker).Compute, x)
//	if err != nil {
//		return err // refs, if not nil, holds what was submitted all the same
//	}
//	sums, err := refs.Get(ctx) // in the order of actors; err is a *batch.Error
//
// With nodes on other hosts the messages run down a tree of bounded fan-out, and so does a large argument, which crosses to each host once; see
// package core.
//
// # Concurrency
//
// A Remote is immutable and Refs are safe for concurrent use. Calls from one program to one actor run in the order in which
// they were submitted, single calls and batches alike. Calls to different actors run side by side.
//
// # Memory
//
// The argument may be changed as soon as Call returns. At the actors it must not be written to: a small one is a copy of each
// actor's own, a larger one a read-only view that all actors of the host share, valid until the method returns. A write
// to a view fails the call with core.ErrReadOnly and harms nobody. The step lies where the argument's size times the number of
// actors on the fullest node exceeds core.InlineMax; the object of CallRef is a view whatever its size. Results belong to whoever gets them. Large results wait in the object
// store of the actor's node until Refs are released or collected.
//
// # Failure
//
// What can be checked is checked before anything is sent: actors of one kind and system, a registered method, an argument
// that can be encoded. Such an error comes with nil Refs. If a node cannot be reached while the batch is being submitted, FailFast,
// the default, stops there: the error is returned, the Refs hold what was submitted, and the slots of the rest fail with
// core.ErrNotSubmitted. BestEffort goes on with the other nodes, returns no error, and leaves it in the
// slots; so does Quorum(m), which fails if fewer than m actors were submitted to. After that every slot fails or succeeds on its own: with a *core.ActorError if the actor's method
// failed or panicked, or with an error that matches core.ErrNodeLost, core.ErrActorDead, core.ErrMailboxFull,
// core.ErrClosed or a context error. The end of the context given to Call cancels the calls that have not answered.
//
// What becomes of the slots that have not answered:
//
//	a node's process ends              core.ErrNodeLost at once; whether the call ran is unknown. Actors with core.Restarts are made anew on other nodes:
//	                                   then the error matches core.ErrMadeAnew, too, calls that are Idempotent go on there, and later batches reach them
//	a relay's process ends             nothing: the caller sends around it, no call runs twice, and answers that died with it are sent again. Only if the
//	                                   node no longer keeps one (16 MiB) does its slot fail with core.ErrNodeLost; the calls of the relay's own actors do at once
//	an actor is killed                 core.ErrActorDead; the context of a call that runs ends
//	an actor's method panics           *core.ActorError with the stack, for that slot alone; with core.Restarts see core
//	the context ends                   the context's error, at once; calls that wait are dropped, those that run see their contexts end
//	                                   (of two batches with one context, a call of the one may still begin where a call of the other made room)
//	the deadline or Timeout passes     context.DeadlineExceeded, at once; the deadline has travelled, so the nodes know by themselves
//	Cancel                             context.Canceled, like the end of the context
//	the system is shut down            core.ErrClosed
//	the driver is killed               nobody is left to answer: its nodes drop what waits, end what runs, and let go of what it held, at once
//
// A slot that has its answer keeps it whatever comes; only a large result that still lies on a host that is lost is gone by then, with core.ErrObjectLost. No call runs twice unless it is Idempotent, which matters for actors spawned with
// core.Restarts only.
//
// First(m) counts values and errors alike: slots that could not be submitted are the first of all. Succeeded(m) counts values.
//
// NoReply makes the batch a cast, which has no answers at all: a slot says that it was submitted. Every actor that lives gets it at most once, and once
// unless it has no room or the deadline passes, also when a relay dies that had it. Nothing tells what became of a cast but the counters of core.System.NodeStats and the logs of the nodes.
//
// # Cost
//
// A batch is one message to each node and about one back for answers that come together. Answers that are equal bit for bit, such as none at
// all, travel once for all slots that have them. In one process, from the submission to the last answer and on both sides together, an actor of a
// batch without argument or result costs at most 2 allocations, and the batch 30 more for each node. At the driver a slot takes a
// byte or two where actors answer alike.
//
// Tests use core.InProcess, or package coretest for nodes in processes of their own.
package batch
