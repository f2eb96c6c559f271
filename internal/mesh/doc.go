// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package mesh connects the nodes of one system: it dials a peer on first use, proves
// that both sides belong to the same session and build, hands received frames to the
// handler of their kind, and says once when a peer is lost.
//
//	l, err := link.Unix{}.Listen(path)
//	m := mesh.New(ctx, mesh.Config{Self: 1, Transport: link.Unix{}, Listeners: []link.Listener{l}, Address: addr})
//	m.Handle(wire.KindReply, func(from mesh.NodeID, f wire.Frame) { ... })
//	m.Start()
//	err = m.Send(ctx, 0, &wire.Header{Kind: wire.KindReply, Seq: seq}, body)
//
// Concurrency: all methods may be called from many goroutines. Frames from one node to
// another arrive in the order of the Send calls. A handler runs on the goroutine that reads
// the link: it must not block, or nothing else from that peer arrives. Frames to the node
// itself are handed to the handler by Send, on the caller's goroutine.
//
// Memory: as in package link, Send takes a body over and a handler owns what it gets.
//
// Failure: the end of a connection is the death notice of the node at its other end. What it
// sent on that connection before is handled first; a Send may notice a little earlier. From then on Send to it returns a [*LostError], its connections are closed, and every
// function given to OnLost is called once for it. A lost node does not come back under its
// number. A node that cannot be reached or refuses is not lost: the next Send tries again.
//
// Test kit: a mesh over [link.Memory] needs no files and runs under synctest.
package mesh
