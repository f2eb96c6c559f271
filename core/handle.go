// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
)

// ActorID is the identity of an actor within its system: the number of the node that it was made on, and a serial number there. It stays the same
// when the actor is made anew, wherever that is. Actors that were spawned together on one node have consecutive serial numbers.
type ActorID uint64

func newActorID(node, serial uint32) ActorID { return ActorID(node)<<32 | ActorID(serial) }

// Node returns the number of the node that the actor was made on first.
func (id ActorID) Node() uint32 { return uint32(id >> 32) }

// Serial returns the actor's number on that node.
func (id ActorID) Serial() uint32 { return uint32(id) }

// String returns "node/serial".
func (id ActorID) String() string { return fmt.Sprintf("%d/%d", id.Node(), id.Serial()) }

// Handle refers to an actor of type A. Handles are made by Kind.Spawn, are safe for concurrent use, and do not
// keep their actor alive or end it: it lives until Kill or the end of the system. They stay valid when it is made anew, see Restarts.
type Handle[A any] struct {
	id   ActorID
	kind *kind
	sys  *System
}

// ID returns the actor's identity.
func (h *Handle[A]) ID() ActorID { return h.id }

// Node returns the number of the node that the actor lives on now.
func (h *Handle[A]) Node() uint32 { return h.Place().Node() }

// Place returns the number of the node that the actor lives on now, and its serial number there, by which nodes know it. It is the identity
// unless the actor was made anew on another node.
func (h *Handle[A]) Place() ActorID { return h.sys.members.placeOf(h.id) }

// Host returns the identity of the host that the actor's node is on, as in NodeInfo.
func (h *Handle[A]) Host() string { return h.sys.hostOf(h.Node()) }

// Kind returns the name of the actor's kind.
func (h *Handle[A]) Kind() string { return h.kind.name }

// System returns the system that the actor belongs to.
func (h *Handle[A]) System() *System { return h.sys }

// Kill ends the actor: calls that wait in its mailbox and later ones fail with ErrActorDead, the context of a running
// call is cancelled. It returns when the node has confirmed. Killing a dead actor is no error.
func (h *Handle[A]) Kill(ctx context.Context) error {
	if h == nil || h.sys == nil {
		return fmt.Errorf("kill: %w: nil handle", ErrInvalid)
	}
	return h.sys.kill(ctx, []ActorID{h.id})
}
