// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"sync"

	"github.com/tutti-go/tutti/collective/schedule"
)

// maxPlans bounds how many plans a member keeps: one for each algorithm and root.
const maxPlans = 1 << 10

// plan is one rank's schedule, with what its transfers wait for.
type plan struct {
	schedule.Schedule

	program *schedule.Program
}

// planKey tells the plans of one rank apart.
type planKey struct {
	algorithm   *schedule.Algorithm
	root, parts int
}

// plans are those that a member has used.
type plans struct {
	mu    sync.Mutex
	known map[planKey]plan
}

// programs are those that members of one node share, where all ranks do alike.
type programs struct {
	mu    sync.Mutex
	known map[planKey]*schedule.Program
}

// plan returns the caller's part in an operation.
func (g *Group) plan(c schedule.Choice, root int) plan {
	key := planKey{c.Algorithm, root, c.Parts}
	if !key.algorithm.Rooted {
		key.root = 0
	}
	ps := &g.m.plans
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p, ok := ps.known[key]
	if ok {
		return p
	}
	if ps.known == nil || len(ps.known) >= maxPlans {
		ps.known = map[planKey]plan{}
	}
	p = plan{Schedule: c.Algorithm.Plan(g.Size(), g.Rank(), key.root, c.Parts)}
	p.program = g.m.s.programs.of(key, p.Schedule)
	ps.known[key] = p
	return p
}

// of compiles a schedule, or finds what another member has compiled.
func (ps *programs) of(key planKey, s schedule.Schedule) *schedule.Program {
	if s.Turn == 0 {
		return schedule.Compile(s)
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.known[key]
	if p == nil {
		if ps.known == nil {
			ps.known = map[planKey]*schedule.Program{}
		}
		p = schedule.Compile(s)
		ps.known[key] = p
	}
	return p
}
