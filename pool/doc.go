// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package pool spreads calls over a set of actors of one kind: every call goes to the actor that has the least to do, and the
// input of a whole sequence is worked off by all of them, in bounded memory.
//
//	p, err := pool.New(actors, pool.InFlight(2))
//	if err != nil {
//		return err
//	}
//	defer p.Close()
//	for page, err := range pool.Map(ctx, p, (*Worker).Render, documents) { // in the order of documents
//		...
//	}
//	ref := pool.Submit(ctx, p, (*Worker).Render, another)         // one call, by whoever is free first
//	refs, err := batch.Call(ctx, p.BatchRemote(), (*Worker).Load, model) // one call to all
//
// Those who know Ray's ActorPool find its calls in Tasks, Push, PopIdle and HasFree, and a comparison in docs/pool.md.
//
// # Scheduling
//
// Work starts when it can, in the background: nobody has to ask for a result. The next call goes to the actor with the fewest calls of this pool in
// flight, and among equals to the one that got its last call first, so no actor has a second call before every other has one, and one
// that fails quickly does not attract the work. Where actors are on several hosts, a call whose argument lies in the object store of one goes to an
// actor there, if one has room. Calls wait in order of submission; the Submits of a pool and every Map take
// turns. A call is sent to one actor, once, unless it is marked Idempotent and loses its actor. Calls that become due for actors of one node
// while a message to it is being sent travel in the next one, up to 64 of one method together; nothing waits for company.
//
// An actor whose call was given up stays busy until it has really stopped, and gets no other call before that beyond InFlight.
// A method that ignores its context therefore blocks its actor and nothing else.
//
// # Concurrency
//
// A Pool may be used by any number of goroutines. The sequence given to a Map is read in the goroutine that iterates. A pool
// runs one goroutine for each node that its actors have lived on and two more, and one each for Replace or Elastic and for OnProgress, whatever the number of calls and actors; Close ends
// them and waits for them.
//
// # Memory
//
// Arguments are encoded when they are given, so they may be changed afterwards. What waits is bounded by Queue, and a Map
// holds no more than Queue calls beyond those in flight, results that were not taken included. An argument or result of more than
// core.InlineMax bytes stays in the object store of its host while its call waits or runs; Map frees results
// when it has yielded them, those of Submit are freed by Release or the collector. Results belong to the caller.
//
// # Failure
//
// Every call that was given to a pool ends in exactly one way, with one result or one error, and no later than its context or the pool.
//
//   - What its actor's method returns or panics with is a *core.ActorError. The actor stays in the pool.
//   - A call whose actor was killed, or whose node was lost, fails with core.ErrActorDead or core.ErrNodeLost at once if it had been
//     sent. The actor is taken out, and with a lost node all actors on it. Calls that had not been sent go to
//     others, so an actor whose death is known costs no call. So do those marked Idempotent, until three actors were lost
//     over the same call. Hedge goes further, and lets a second actor run what the first is slow to answer. Replace puts others in the places of those that are gone; Elastic adds some while calls wait.
//   - An actor that is made anew, see core.Restarts, stays, also when that is on another node because its own was lost. Its death fails the calls that
//     it had with core.ErrActorDead or core.ErrNodeLost, and core.ErrMadeAnew, or makes them run again if they are Idempotent.
//   - Actors whose node is silent get no calls until it is heard of again: see Quarantine.
//   - When the last actor is gone, and not about to be replaced, everything that waits, and everything that comes, fails with
//     core.ErrNoActors.
//   - The end of a call's context gives it up wherever it is, with the context's error; the actor is asked to stop.
//   - Close does the same to all calls, with ErrClosed, and the end of the system with core.ErrClosed.
//   - A call that cannot be made fails as it does with core.Call: core.ErrNoMethod, core.ErrEncode, core.ErrNoSpace.
//
// In a Map an error takes its item's place and the map goes on.
//
// Tests use core.InProcess, or package coretest for nodes in processes of their own.
package pool
