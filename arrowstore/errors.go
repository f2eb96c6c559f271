// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import "errors"

// Errors returned by this package. They are wrapped with what was attempted; test with errors.Is.
var (
	// ErrNoSpace says that the store's limit, or the file system under its directory, cannot take the object.
	// Nothing was stored. It does not occur while enough deleted and unpinned memory could have been reused.
	ErrNoSpace = errors.New("arrowstore: no space")
	// ErrNotFound says that the object was deleted, that its store is closed or dead, or that the id never named one.
	ErrNotFound = errors.New("arrowstore: object not found")
	// ErrClosed says that the Store was closed before the call.
	ErrClosed = errors.New("arrowstore: store closed")
	// ErrReadOnly says that code wrote through a read-only view. This package never returns it; callers that recover
	// a memory fault report it when Store.ReadOnlyFault holds for the faulting address.
	ErrReadOnly = errors.New("arrowstore: write to a read-only view")
	// ErrCorrupt says that shared memory held values that no store writes: a bound, a magic or a checksum is wrong.
	ErrCorrupt = errors.New("arrowstore: corrupt object")
	// ErrTooLarge says that a size or count is above what the format can express, whatever the limit of the store.
	ErrTooLarge = errors.New("arrowstore: object too large")
	// ErrNotOwner says that Delete was called on a store that did not create the object.
	ErrNotOwner = errors.New("arrowstore: not the owner of the object")
	// ErrUnsafe says that a directory or file is not safe to use: a symbolic link, another user's, or open to others.
	ErrUnsafe = errors.New("arrowstore: unsafe directory or file")
	// ErrSealed says that a Writer was used after Seal or Abort.
	ErrSealed = errors.New("arrowstore: writer already sealed or aborted")
	// ErrType says that an object does not have the shape or element type that was asked for.
	ErrType = errors.New("arrowstore: wrong type of object")
)
