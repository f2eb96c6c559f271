// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"sync"

	"github.com/tutti-go/tutti/collective/schedule"
)

// maxPlans bounds how many plans a session keeps: one for each member of the node, algorithm and root.
const maxPlans = 1 << 12

// plan is one rank's schedule, with what its transfers wait for.
type plan struct {
	schedule.Schedule

	program *schedule.Program
}

// planKey tells plans of one session apart.
type planKey struct {
	op                schedule.Op
	name              string
	rank, root, parts int
}

// plans keeps what was compiled, for the members of a node.
type plans struct {
	mu       sync.Mutex
	known    map[planKey]plan
	programs map[planKey]*schedule.Program // of algorithms in which all ranks do alike; their rank is 0
}

// of returns the plan of a rank of a group.
func (ps *plans) of(a *schedule.Algorithm, ranks, rank, root, parts int) plan {
	if !a.Rooted {
		root = 0
	}
	if !a.Parted {
		parts = 1
	}
	key := planKey{a.Op, a.Name, rank, root, parts}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p, ok := ps.known[key]; ok {
		return p
	}
	if ps.known == nil || len(ps.known) >= maxPlans {
		ps.known, ps.programs = map[planKey]plan{}, map[planKey]*schedule.Program{}
	}
	p := plan{Schedule: a.Plan(ranks, rank, root, parts)}
	shared := key
	if p.Turn > 0 {
		shared.rank = 0
		p.program = ps.programs[shared]
	}
	if p.program == nil {
		p.program = schedule.Compile(p.Schedule)
		if p.Turn > 0 {
			ps.programs[shared] = p.program
		}
	}
	ps.known[key] = p
	return p
}
