// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package interop tests that what package arrowipc writes is read by a later implementation of Arrow, and the other way
// round. It is a module of its own, so that nobody who uses the store depends on that implementation, and has no code but
// its tests: make interop runs them.
//
// Concurrency, memory and failure: there is nothing that has them. Test kit: none.
package interop
