// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package link carries frames between two processes. Within a machine [Shared] does it through memory that both map, with a
// socket beside it, and [Unix] over Unix stream sockets alone; [TCP] does it between machines, in the clear or over TLS; [ByAddress]
// chooses by the address. [Memory] is their twin inside one process, used by embedded systems and by tests.
//
//	l, err := link.Shared{}.Listen("/run/user/1000/app/n1.sock")
//	conn, err := link.Shared{}.Dial(ctx, "/run/user/1000/app/n1.sock")
//	err = conn.Send(ctx, &wire.Header{Kind: wire.KindCancel, Seq: 9})
//
// Concurrency: Send may be called from many goroutines; frames leave in the order in
// which the calls got hold of the connection, so that two calls one after the other
// arrive in that order. Recv is for one goroutine.
//
// Memory: a body that is handed to Send belongs to the link from then on and must not
// be written again; this lets a message to many nodes be encoded once. A received body
// is the receiver's to keep, not to write: over [Memory] it is the sender's own bytes. A body of a few
// bytes may keep the 64 KiB alive that it was read with; copy what is to be kept for long. At most [MaxQueued] bytes wait in a connection; beyond that
// Send blocks until there is room, the context ends or the connection does.
//
// Shared memory: each direction is a ring of 128 KiB, whose pages are taken when they are first used. A side copies bytes
// out before it looks at them, and checks every number that the other side may have written: a peer that writes nonsense
// loses its connection and harms nothing else. The memory has no name, and is gone with the two processes.
//
// Failure: when the peer dies or either side closes, every blocked and later call
// returns an error that matches [ErrClosed]. Frames that were under way to the side that closed are lost; what it
// had sent before, and the kernel had taken, still arrives. Over [TCP] that holds only as long as nothing more is sent to the side
// that closed, whose host answers with a reset.
//
// Strangers: until Trust, a connection receives bodies of up to [MaxStranger] bytes and allocates little more; over TLS
// the handshake of TLS comes on top, of which it reads at most [MaxStrangerTLS] bytes.
//
// Test kit: [Pipe] is a connection without a listener, [Memory] a transport for synctest.
package link
