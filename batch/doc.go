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
// slots. After that every slot fails or succeeds on its own: with a *core.ActorError if the actor's method
// failed or panicked, or with an error that matches core.ErrNodeLost, core.ErrActorDead, core.ErrMailboxFull,
// core.ErrClosed or a context error. The end of the context given to Call cancels the calls that have not answered.
//
// Tests use core.InProcess, or package coretest for nodes in processes of their own.
package batch
