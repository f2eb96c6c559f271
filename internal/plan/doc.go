// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package plan decides which way the message of one batch takes to each of its nodes: from the caller
// itself, or through relays that are named in the message.
//
//	p := plan.Make(plan.Input{Nodes: nodes, Host: hostOf, Own: 0, Size: 8 << 20})
//	for _, i := range p.Direct { ... }  // the caller sends to nodes[i]
//	for _, r := range p.Relays { ... }  // and one message for all that is below r
//
// Nodes of the caller's own host are always addressed directly, and so is everybody if there are few and the argument is small.
// Otherwise every other host has one gateway, which hands the message on within its host, and the gateways form a tree in which
// nobody has more than a bounded number of children. The tree is cut out of the hosts in the order of their numbers, in blocks of
// neighbours whose first is the relay of the rest. Hence a relay's host always has a lower number than the hosts behind it, in
// every plan: answers on their way back never wait for each other in a circle.
//
// Concurrency: Make is a pure function; plans are immutable. Memory: a plan has a few words for each node.
// Failure: there is none. A node that the caller wants to avoid as a relay is addressed directly; what
// happens then is the caller's business.
package plan
