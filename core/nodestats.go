// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// NodeStats is what a node holds, and what it has counted since it started.
type NodeStats struct {
	Node        uint32
	Actors      int    // alive
	Running     int    // calls that run
	Waiting     int    // calls in mailboxes
	Casts       uint64 // calls of casts that have ended, one for each actor
	CastsFailed uint64 // those of them that failed, whatever the reason
	Restarts    uint64 // actors that were made anew here; see the option Restarts
}

// NodeStats asks all nodes that are alive, in order of their numbers. Nodes that are lost meanwhile are left out. Errors: ErrClosed, the context's.
func (s *System) NodeStats(ctx context.Context) ([]NodeStats, error) {
	if err := s.err(); err != nil {
		return nil, fmt.Errorf("node statistics: %w", err)
	}
	var ids []uint32
	for _, n := range s.Nodes() {
		if n.Alive {
			ids = append(ids, n.ID)
		}
	}
	all := make([]NodeStats, len(ids))
	var g errgroup.Group
	for i, id := range ids {
		g.Go(func() error {
			reply, err := s.nodes.control(id).do(ctx, &controlpb.Request{Kind: &controlpb.Request_GetStats{GetStats: &controlpb.GetStats{}}})
			if errors.Is(err, ErrNodeLost) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("statistics of node %d: %w", id, err)
			}
			st := reply.GetStats()
			all[i] = NodeStats{
				Node: id, Actors: int(st.GetActors()), Running: int(st.GetRunning()), Waiting: int(st.GetWaiting()),
				Casts: st.GetCasts(), CastsFailed: st.GetCastsFailed(), Restarts: st.GetRestarts(),
			}
			return nil
		})
	}
	err := g.Wait()
	all = slices.DeleteFunc(all, func(st NodeStats) bool { return st.Node == driverNode })
	return all, err
}

// stats is what the node tells of itself.
func (n *node) stats() *controlpb.NodeStats {
	st := &controlpb.NodeStats{
		Casts: n.counters.casts.Load(), CastsFailed: n.counters.castsFailed.Load(), Restarts: n.counters.restarts.Load(),
	}
	n.mu.Lock()
	actors := make([]*actor, 0, len(n.mu.actors))
	for _, a := range n.mu.actors {
		actors = append(actors, a)
	}
	n.mu.Unlock()
	st.Actors = uint64(len(actors))
	for _, a := range actors {
		a.mu.Lock()
		st.Running += uint64(len(a.mu.active))
		st.Waiting += uint64(len(a.mu.queue) - a.mu.head)
		a.mu.Unlock()
	}
	return st
}
