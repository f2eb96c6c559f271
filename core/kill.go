// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// kill ends actors. Those that are moved to another node meanwhile are ended there.
func (s *System) kill(ctx context.Context, ids []ActorID) error {
	for first := true; first || len(ids) > 0; first = false {
		if err := s.err(); err != nil {
			return fmt.Errorf("kill: %w", err)
		}
		places, _, err := s.members.settle(ctx, ids)
		if err == nil {
			err = s.killAt(ctx, places)
		}
		if err != nil {
			return err
		}
		s.members.Lock()
		ids = slices.DeleteFunc(slices.Clone(ids), func(id ActorID) bool { return s.members.residentLocked(id) == nil })
		s.members.Unlock()
	}
	return nil
}

// killAt ends actors at their places, on all nodes side by side.
func (s *System) killAt(ctx context.Context, places []ActorID) error {
	byNode := map[uint32][]uint32{}
	for _, place := range places {
		byNode[place.Node()] = append(byNode[place.Node()], place.Serial())
	}
	errs := make(chan error, len(byNode)) // one for each
	for node, serials := range byNode {
		go func() { errs <- s.killOn(ctx, node, serials) }()
	}
	var err error
	for range byNode {
		err = errors.Join(err, <-errs)
	}
	return err
}

// killsAtOnce bounds the actors that one request kills, so that a control message always holds them.
const killsAtOnce = 1 << 15

// killOn ends actors of one node. Those of a lost node are dead, or have moved.
func (s *System) killOn(ctx context.Context, node uint32, serials []uint32) error {
	for part := range slices.Chunk(serials, killsAtOnce) {
		if s.mesh.IsLost(node) == nil {
			req := &controlpb.Request{Kind: &controlpb.Request_Kill{Kill: &controlpb.Kill{Serials: part}}}
			if _, err := s.nodes.control(node).do(ctx, req); err != nil && !errors.Is(err, ErrNodeLost) {
				return fmt.Errorf("kill %d actors on node %d: %w", len(serials), node, err)
			}
		}
		var gone []*resident
		s.members.Lock()
		for _, serial := range part {
			if r := s.members.byID[node].actors[serial]; r != nil {
				delete(s.members.byID[node].actors, serial)
				gone = append(gone, r)
			}
		}
		s.members.Unlock()
		s.bury(gone)
	}
	return nil
}
