// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package handshake opens a connection between two processes of one system: each tells the other who it is and
// proves that it knows the secret of the cluster, without sending it. Docs: docs/wire.md.
//
//	p := handshake.Party{Hello: wire.Hello{Node: 1, Purpose: wire.PurposeLink}, Secret: secret}
//	peer, err := p.Dial(ctx, conn, nil)    // one side
//	peer, err := p.Accept(ctx, conn, nil)  // the other
//
// The side that dialled proves itself first. A proof is an HMAC over both hellos, with their nonces, over the role of who
// makes it, and over key material of the connection if it is encrypted: it is of no use on another connection, in the
// other direction, or a second time.
//
// Concurrency: a Party may be used for many connections at once.
//
// Memory: until the peer has proved itself, the connection receives frames of a few hundred bytes only.
//
// Failure: an error leaves the connection open, for its owner to close; Recv knows no context, so that the end of the context must close
// it as well. A peer that turns this side away does so with a [RefusedError].
//
// Test kit: none; [link.Pipe] will do.
package handshake
