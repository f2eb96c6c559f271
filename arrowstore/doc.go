// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package arrowstore is an object store in shared memory: one process puts buffers or Arrow data into a directory of
// mapped files, and any process of the same user on the host reads them in place, without a copy and without a server.
// Objects are immutable once sealed, and every id finds its object by itself.
//
//	st, err := arrowstore.Open("/dev/shm/my-store", arrowstore.Limit(8<<30))
//	if err != nil {
//		return err
//	}
//	defer st.Close()
//	obj, err := st.Put([]byte("some bytes")) // copies in; Create writes in place instead
//	if err != nil {
//		return err
//	}
//	defer obj.Release()
//	send(obj.ID()) // another process: st.Get(id), then obj.Buffer(0)
//
// Arrow: PutRecord, PutArray and PutTensor store Arrow data of every layout; Record, Array and Tensor read it in place. Arrow
// builders that are given the store's Allocator write where the data will stay, so that putting it copies nothing. Flatten
// and Unflatten do the same for other transports. Package arrowipc exchanges records with other languages.
//
// Several processes can write one object: Writer.Open gives an id with which the others Join. GetHeld passes on an object that
// its owner has deleted already, while somebody holds it. With Reuse, they write one result after the other into the same object.
//
// Space: objects share segments, files of 256 MiB of addresses, 16 MiB on 32-bit systems, that get memory as they need it; a large object has its
// own. A Limit bounds the memory; with Spill, what is not in use moves to disk when the limit is reached.
//
// Concurrency: every method of a Store, Object and View may be called from any goroutine, except that a Writer belongs
// to one goroutine at a time. Get does not lock. Any number of processes may open one directory, and one process may open
// it more than once.
//
// Memory: an object belongs to the store that created it, until its Delete or Close. Put, Seal and Get return an Object
// that pins the memory: its buffers are valid until the last Release, whatever happens to the object, its owner or the
// owner's process. They are 64-byte aligned and mapped read-only; writing to one faults, and Store.ReadOnlyFault tells
// such a fault from others. The bytes of a Writer are the caller's until Seal. Under the build tag invariants, memory that
// is given back is scribbled over, and an Object that is released twice or never panics.
//
// Failure: a full store or file system is ErrNoSpace from the call that creates an object, and never a SIGBUS later. A
// process may be killed at any instruction: what it pinned is reaped by the owners when they need memory or are told to,
// and its files are removed by the next Open or Sweep. Who is dead is known from a lock that the kernel releases. What is
// read from shared memory or from disk is checked: damage is ErrCorrupt or ErrNotFound. The processes of one user trust
// each other no further than that: one that truncates a file can still kill the others.
//
// Test kit: none; a store in a temporary directory is as good as any, so tests use Open. The layout of the files is in
// docs/store.md, with a script that reads them.
package arrowstore
