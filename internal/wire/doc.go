// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package wire defines the frames that nodes exchange: a fixed 64-byte header
// followed by a body of bounded length. docs/wire.md draws every frame byte by
// byte; a change here changes that page, the golden files under testdata and
// [Version] together.
//
//	h := wire.Header{Kind: wire.KindCall, Caller: 7, Seq: 1, Length: uint32(len(body))}
//	buf := h.Append(nil)
//	got, err := wire.ParseHeader(buf, wire.MaxBody)
//
// Everything here is a pure function over bytes: no I/O, no goroutine, no
// shared state, safe for concurrent use. Parsed bodies alias the bytes they were
// parsed from and live as long as those do. Decoders check every length against
// the bytes at hand before they allocate, never panic, and are fuzzed; what they
// refuse matches [ErrFrame].
package wire
