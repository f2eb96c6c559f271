// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// An actor has an identity, by which handles know it for as long as it lives, and a place: the number of the node where it lives, and its serial number
// there. They are the same until the node is lost and the actor is made anew on another. Only the driver knows the identities of actors that
// have moved; on links and nodes there are places.

// resident is a live actor as the driver knows it, found by its place. It is guarded by members.
type resident struct {
	id      ActorID // the identity
	kind    *kind
	descent *descent // nil if it is not made anew elsewhere
	deaths  uint32   // that the driver has heard of, with the losses of its nodes
	moving  bool     // its node has not confirmed yet that it is being made anew there
}

// descent is what actors of one Spawn with Restarts are made of on other nodes when theirs are lost. It is kept until the last of them has ended.
type descent struct {
	req   *controlpb.Spawn
	nodes []uint32 // of OnNodes; nil if any will do
	arg   argument // the configuration
	users atomic.Int64
}

func (d *descent) done() {
	if d != nil && d.users.Add(-1) == 0 {
		d.arg.done()
	}
}

// mortal reports whether the next death of an actor is its last.
func (r *resident) mortal() bool {
	return r.descent == nil || r.deaths >= r.descent.req.GetRestarts()
}

// members are the nodes and their actors, as the driver knows them.
type members struct {
	// epoch rises whenever an actor begins or ends to move. While it is 0, all live where they were made.
	epoch   atomic.Uint64
	lasting atomic.Bool // some may be made anew elsewhere

	closing <-chan struct{} // closed when the system shuts down: nobody moves any more

	sync.Mutex
	byID    map[uint32]*member
	moved   map[ActorID]ActorID // places of actors that were made anew elsewhere, by identity; they stay when the actor ends
	changed chan struct{}       // closed and replaced when epoch rises
}

func (m *members) changeLocked() {
	m.epoch.Add(1)
	close(m.changed)
	m.changed = make(chan struct{})
}

// placeLocked returns the place of an actor.
func (m *members) placeLocked(id ActorID) ActorID {
	if place, ok := m.moved[id]; ok {
		return place
	}
	return id
}

// residentLocked returns the live actor with an identity, or nil.
func (m *members) residentLocked(id ActorID) *resident {
	place := m.placeLocked(id)
	if node := m.byID[place.Node()]; node != nil {
		return node.actors[place.Serial()]
	}
	return nil
}

// placeOf returns the place of an actor.
func (m *members) placeOf(id ActorID) ActorID {
	if m.epoch.Load() == 0 {
		return id
	}
	m.Lock()
	defer m.Unlock()
	return m.placeLocked(id)
}

// placesOf returns the places of actors and the epoch that they belong to. Until changed is closed, which is nil otherwise, one of them is moving.
func (m *members) placesOf(ids []ActorID) (places []ActorID, epoch uint64, changed <-chan struct{}) {
	if m.epoch.Load() == 0 {
		return ids, 0, nil
	}
	m.Lock()
	defer m.Unlock()
	places = make([]ActorID, len(ids))
	for i, id := range ids {
		places[i] = m.placeLocked(id)
		if r := m.residentLocked(id); r != nil && r.moving {
			changed = m.changed
		}
	}
	return places, m.epoch.Load(), changed
}

// settle returns the places of actors when none of them is moving.
func (m *members) settle(ctx context.Context, ids []ActorID) (places []ActorID, epoch uint64, err error) {
	for {
		places, epoch, changed := m.placesOf(ids)
		if changed == nil {
			return places, epoch, nil
		}
		select {
		case <-changed:
		case <-m.closing:
			return nil, 0, ErrClosed
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("wait for actors that are made anew on other nodes: %w", ended(ctx))
		}
	}
}

// now returns the targets as they are placed at present, when none of them is moving.
func (t *Targets) now(ctx context.Context) (*Targets, error) {
	if latest := t.latest.Load(); latest != nil {
		t = latest
	}
	if t.sys.members.lasting.Load() {
		for i := range t.shares { // who knows that a node is lost does not call actors there
			if node := t.shares[i].node; t.sys.mesh.IsLost(node) != nil {
				if err := t.sys.members.awaitLoss(ctx, node); err != nil {
					return nil, err
				}
			}
		}
	}
	if t.epoch == t.sys.members.epoch.Load() {
		return t, nil
	}
	places, epoch, err := t.sys.members.settle(ctx, t.ids)
	if err != nil {
		return nil, err
	}
	fresh := &Targets{sys: t.sys, kind: t.kind, ids: t.ids, places: places, epoch: epoch}
	fresh.group()
	t.latest.Store(fresh)
	return fresh, nil
}

// locate finds out where the targets are, and groups them. If one is moving, they are located again when they are called.
func (t *Targets) locate() {
	places, epoch, changed := t.sys.members.placesOf(t.ids)
	if changed != nil {
		epoch--
	}
	t.places, t.epoch = places, epoch
	t.group()
}

// Node returns the number of the node where target i lives now.
func (t *Targets) Node(i int) uint32 { return t.sys.members.placeOf(t.ids[i]).Node() }

// awaitLoss waits until the loss of a node, which the mesh knows of, has been taken in.
func (m *members) awaitLoss(ctx context.Context, node uint32) error {
	for {
		m.Lock()
		n, changed := m.byID[node], m.changed
		alive := n != nil && n.info.Alive
		m.Unlock()
		if !alive {
			return nil
		}
		select {
		case <-changed:
		case <-m.closing:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("wait for the loss of node %d to be taken in: %w", node, ended(ctx))
		}
	}
}
