// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package lane carries long data between two nodes beside their link: straight out of the memory of who sends, and straight into that of who
// receives. A [Set] is the lanes to one peer, a few connections that are opened when there is more to send than those there are can take. Each
// takes the next [Segment] of a queue that they share, so that one that is slow holds up nothing but its own.
//
//	s := lane.NewSet(2, open, start)
//	s.Send(seg)              // seg.Owner is told when the memory is free again
//	err := lane.Receive(nc, headSize, bound, receiver)
//
// What is sent arrives, but in any order: every segment says itself where it belongs.
//
// Concurrency: the methods of a Set and of a Segment may be called from many goroutines. A Receiver is used by one.
//
// Memory: a segment's body is the sender's own memory. It must not change before Sent, or until Withdraw has returned. A Receiver
// chooses where bytes go while they are there to be read, never while they are waited for: so it can take memory back at any time.
// Over TLS, and where the system has no vectored calls that do not block, both sides copy once more. A connection whose ends have one address
// buffers little, so that data are read before the processor's cache has forgotten them.
//
// Failure: a connection that ends takes the whole set with it: Send and Sent return the cause. Whether the peer is lost is for the owner to say.
//
// Bounds: a frame that is longer than the receiver's bound ends the connection before anything is set aside for it.
//
// Test kit: none; net.Pipe and loopback will do.
package lane
