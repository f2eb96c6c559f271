// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"slices"

	"github.com/tutti-go/tutti/collective/schedule"
)

// team is some of the members of a group, who run schedules among themselves.
type team struct {
	ranks []int // in the group
	at    int   // place of the caller among them; -1 if it is not one of them
	plans map[planKey]plan
}

func newTeam(ranks []int, rank int) *team {
	return &team{ranks: ranks, at: slices.Index(ranks, rank), plans: map[planKey]plan{}}
}

// Size returns the number of members.
func (t *team) Size() int { return len(t.ranks) }

// Rank returns the place of the caller.
func (t *team) Rank() int { return t.at }

// plan returns the caller's part in an operation of the team. root is a place in it.
func (t *team) plan(c schedule.Choice, root int) plan {
	key := planKey{c.Algorithm, root, c.Parts}
	p, ok := t.plans[key]
	if !ok {
		if len(t.plans) >= maxPlans {
			clear(t.plans)
		}
		p.Schedule = c.Algorithm.Plan(len(t.ranks), t.at, root, c.Parts)
		p.program = schedule.Compile(p.Schedule)
		t.plans[key] = p
	}
	return p
}

// runAmong runs the plan of a team.
func (x *execution) runAmong(ctx context.Context, t *team, p plan, buf memory) error {
	x.buf, x.ranks = buf, t.ranks
	defer func() { x.ranks = nil }()
	return x.run(ctx, p)
}
