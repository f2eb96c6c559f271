// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package arrowipc writes records of an object store as Arrow IPC streams and files, which every Arrow implementation in
// any language reads, and stores what it reads of them. It is apart from arrowstore because it links Arrow's IPC code and
// its compression, which few programs need.
//
//	err := arrowipc.Write(w, obj)         // obj holds a record: st.PutRecord
//	objs, err := arrowipc.Read(r, st)     // one object for each record batch
//
// Concurrency: the functions keep no state and may be called from any goroutine. Memory: Write reads the objects where
// they are, and the caller holds them meanwhile; Read decodes into the store's memory and returns Objects that the caller
// releases. Failure: a stream is not trusted. Lengths are verified before anything is allocated by them, and damage is
// arrowstore.ErrCorrupt or arrowstore.ErrTooLarge. Test kit: none, a bytes.Buffer will do.
package arrowipc
