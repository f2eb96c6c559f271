// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"slices"
	"time"

	"github.com/tutti-go/tutti/arrowstore"
)

// NodeInfo describes a node.
type NodeInfo struct {
	ID   uint32
	Host string // identity of the host; nodes with the same one share memory
	PID  int    // process that hosts it, on its machine
	// Address is where nodes of other machines reach it, "host:port"; empty if they cannot.
	Address string
	Alive   bool // false once it is lost
	Actors  int  // live actors
	// Silent is how long the node has given no sign of life, in whole intervals of Heartbeat: 0 for one that answers
	// in time or lives in this process. It counts as lost when this reaches the timeout.
	Silent time.Duration
}

// ActorInfo describes a live actor.
type ActorInfo struct {
	ID   ActorID
	Node uint32 // where it lives now
	Kind string
	Name string // given by Named; may be empty
}

// Stats counts what a system holds.
type Stats struct {
	Nodes  int // alive
	Actors int // alive
	Calls  int // submissions that wait for answers
	// Served is how many bytes of objects other hosts have fetched from the driver.
	Served  int64
	Pending int // answers that they wait for
	// InFlight is the bytes of calls that were sent and not answered, as counted by the option InFlight.
	InFlight int64
	Objects  arrowstore.Stats
}

// Nodes returns the nodes that can host actors, in order of their numbers. Who has seen a call fail that waited for
// the answer of a node that was lost sees it not alive, and finds the names of its actors free.
func (s *System) Nodes() []NodeInfo {
	infos := s.memberInfos()
	for i := range infos {
		if infos[i].Alive {
			infos[i].Silent = s.nodes.control(infos[i].ID).silent()
		}
	}
	return infos
}

func (s *System) memberInfos() []NodeInfo {
	s.members.Lock()
	defer s.members.Unlock()
	infos := make([]NodeInfo, 0, len(s.members.byID))
	for _, m := range s.members.byID {
		info := m.info
		info.Actors = len(m.actors)
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b NodeInfo) int { return int(a.ID) - int(b.ID) })
	return infos
}

// Actors returns the live actors, in order of their identities.
func (s *System) Actors() []ActorInfo {
	names := map[ActorID]string{}
	s.names.Lock()
	for name, n := range s.names.of {
		if n.kind != nil {
			names[n.id] = name
		}
	}
	s.names.Unlock()
	s.members.Lock()
	defer s.members.Unlock()
	var infos []ActorInfo
	for node, m := range s.members.byID {
		for _, r := range m.actors {
			infos = append(infos, ActorInfo{r.id, node, r.kind.name, names[r.id]})
		}
	}
	slices.SortFunc(infos, func(a, b ActorInfo) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return infos
}

// Stats returns what the system holds at the moment.
func (s *System) Stats() Stats {
	st := Stats{Objects: s.store.Stats(), InFlight: s.inFlight()}
	for _, n := range s.Nodes() {
		if n.Alive {
			st.Nodes++
			st.Actors += n.Actors
		}
	}
	s.transfers.mu.Lock()
	st.Served = s.transfers.mu.sent
	s.transfers.mu.Unlock()
	for _, c := range s.openCalls() {
		if n := c.pending(); n > 0 {
			st.Calls++
			st.Pending += n
		}
	}
	return st
}
