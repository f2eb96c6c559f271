// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/tutti-go/tutti/internal/wire"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// move makes actors of one descent, which have died equally often, anew on one node. They are residents there already, and moving.
type move struct {
	node, first uint32
	deaths      uint32
	residents   []*resident
}

// forsakeLocked takes a lost node's actors away. It finds new places for those that may be made anew, and returns the moves that must be carried
// out and the actors that are gone.
func (m *members) forsakeLocked(node uint32) (moves []move, gone []*resident) {
	type line struct {
		*descent
		deaths uint32
	}
	families := map[line][]*resident{}
	for _, r := range m.byID[node].actors {
		switch {
		case r.moving: // it has not lived there
		case r.mortal():
			gone = append(gone, r)
			continue
		default:
			r.deaths++
			r.moving = true
		}
		families[line{r.descent, r.deaths}] = append(families[line{r.descent, r.deaths}], r)
	}
	clear(m.byID[node].actors)
	for _, family := range families {
		slices.SortFunc(family, func(a, b *resident) int { return cmp.Compare(a.id, b.id) })
		if housed := m.houseLocked(family); housed != nil {
			moves = append(moves, housed...)
		} else {
			gone = append(gone, family...)
		}
	}
	m.changeLocked()
	return moves, gone
}

// houseLocked divides actors evenly over the nodes that they may live on, first those with the fewest actors. If there is none it returns nil.
func (m *members) houseLocked(family []*resident) []move {
	var nodes []*member
	for id, n := range m.byID {
		if n.info.Alive && (family[0].descent.nodes == nil || slices.Contains(family[0].descent.nodes, id)) {
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, func(a, b *member) int {
		return cmp.Or(cmp.Compare(len(a.actors), len(b.actors)), cmp.Compare(a.info.ID, b.info.ID))
	})
	nodes = nodes[:min(len(nodes), len(family))]
	var moves []move
	for i, n := range nodes {
		part := family[i*len(family)/len(nodes) : (i+1)*len(family)/len(nodes)]
		moves = append(moves, move{node: n.info.ID, first: n.serial, deaths: part[0].deaths, residents: part})
		for _, r := range part {
			n.actors[n.serial] = r
			m.moved[r.id] = newActorID(n.info.ID, n.serial)
			n.serial++
		}
	}
	return moves
}

// carryOut asks a node to make actors anew.
func (s *System) carryOut(v move) {
	d := v.residents[0].descent
	cfg := d.arg.payloadAt(s, s.hostOf(v.node))
	req := &controlpb.Spawn{
		Kind: d.req.GetKind(), First: v.first, Count: uint32(len(v.residents)), Mailbox: d.req.GetMailbox(), Concurrency: d.req.GetConcurrency(),
		PayloadKind: uint32(cfg.Kind), Payload: cfg.Data, MailboxWait: d.req.GetMailboxWait(), Restarts: d.req.GetRestarts(), Deaths: v.deaths,
	}
	reply, err := s.nodes.control(v.node).do(s.ctx, &controlpb.Request{Kind: &controlpb.Request_Spawn{Spawn: req}})
	if err == nil {
		err = replyError(reply)
	}
	switch {
	case errors.Is(err, ErrNodeLost), s.ctx.Err() != nil:
		return // onLost moves them once more, or nobody waits
	case err != nil:
		s.log.Error("actors of a lost node cannot be made anew", "node", v.node, "actors", len(v.residents), "err", err)
	}
	var gone []*resident
	s.members.Lock()
	node := s.members.byID[v.node]
	for i, r := range v.residents {
		serial := v.first + uint32(i)
		if node.actors[serial] != r {
			continue // it has ended, or moved on, meanwhile
		}
		r.moving = false
		if err != nil {
			delete(node.actors, serial)
			gone = append(gone, r)
		}
	}
	s.members.changeLocked()
	s.members.Unlock()
	s.bury(gone)
}

// bury lets go of what was kept for actors that have ended.
func (s *System) bury(gone []*resident) {
	s.takeNames(gone)
	for _, r := range gone {
		r.descent.done()
	}
}

// takeNames frees the names of actors that have ended.
func (s *System) takeNames(gone []*resident) {
	if len(gone) == 0 {
		return
	}
	ids := make(map[ActorID]bool, len(gone))
	for _, r := range gone {
		ids[r.id] = true
	}
	s.unname(func(id ActorID) bool { return ids[id] })
}

// onDeath is told by a node of the death of an actor.
func (s *System) onDeath(from uint32, f wire.Frame) {
	d, err := wire.ParseDeath(f.Body)
	if err != nil {
		s.mesh.Lost(from, fmt.Errorf("bad news of a death: %w", err))
		return
	}
	s.members.Lock()
	node := s.members.byID[from]
	if node == nil || node.actors[d.Actor] == nil {
		s.members.Unlock()
		return // it was killed, too
	}
	r := node.actors[d.Actor]
	r.deaths = max(r.deaths, d.Deaths)
	if d.Final {
		delete(node.actors, d.Actor)
		if r.moving {
			s.members.changeLocked()
		}
	}
	s.members.Unlock()
	if d.Final {
		s.bury([]*resident{r})
	}
}
