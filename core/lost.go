// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"fmt"

	"github.com/tutti-go/tutti/internal/mesh"
)

// onLost fails everything that waits for a node that is gone, and tells the other nodes.
func (s *System) onLost(e *mesh.LostError) {
	if s.ctx.Err() != nil {
		return // nodes that end during shutdown are not lost
	}
	s.log.Warn("node is lost", "node", e.Node, "err", e.Cause)
	s.members.Lock()
	_, member := s.members.byID[e.Node]
	var others []uint32
	for id, m := range s.members.byID {
		if id == e.Node {
			m.info.Alive = false
		} else if m.info.Alive {
			others = append(others, id)
		}
	}
	var moves []move
	var gone []*resident
	if member {
		moves, gone = s.members.forsakeLocked(e.Node)
	}
	s.takeNames(gone)
	s.members.Unlock()
	s.bury(gone)
	// No call can be added: the mesh refuses to send.
	for _, c := range s.openCalls() {
		c.loseNode(e.Node, fmt.Errorf("%w: %w", ErrNodeLost, e))
	}
	s.rerouteAround(e.Node)
	for _, v := range moves {
		s.background(func() { s.carryOut(v) })
	}
	s.background(func() {
		// It may be stopped, or cut off from us only. Its number is not used again, and others wait for what it holds.
		if member {
			if err := s.nodes.discard(e.Node); err != nil {
				s.log.Error("cannot end a lost node", "node", e.Node, "err", err)
			}
		}
		for _, id := range others {
			s.nodes.control(id).lost(e.Node, e.Cause.Error())
		}
	})
}

// reap frees what a process held that has ended. It does not block.
func (s *System) reap() {
	s.background(func() {
		if err := s.store.Reap(); err != nil && s.ctx.Err() == nil {
			s.log.Warn("cannot free what a lost node held", "err", err)
		}
	})
}
