// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"fmt"

	"github.com/tutti-go/tutti/collective/schedule"
)

// Predict returns what the group's cost model says of all algorithms of an operation of which the larger buffer of a member has
// some bytes, the fastest first. The larger buffer is the only one, or the one with a part for each member. It may take some
// milliseconds, and as long for each 100 members. Errors: ErrArgument for an operation that has no algorithms, a size below 0, or
// a group without a model, which NewGroup does not make. What members do in memory that they share is no algorithm of
// these, and is not predicted: Explain says whether they do.
func (g *Group) Predict(op schedule.Op, bytes int) ([]schedule.Prediction, error) {
	switch {
	case len(schedule.Algorithms(op)) == 0:
		return nil, fmt.Errorf("%w: predict: there is no %v", ErrArgument, op)
	case bytes < 0:
		return nil, fmt.Errorf("%w: predict: %d bytes, want 0 or more", ErrArgument, bytes)
	case g.chooser().model == nil:
		return nil, fmt.Errorf("%w: predict: the group has no model", ErrArgument)
	}
	return g.chooser().model.Rank(op, g.Size(), bytes), nil
}

// Explain prints what Predict returns, with the model, with the rounds, messages and bytes of each algorithm, and with which one is
// taken and why; and whether members go through memory instead, that of a process, a machine or each of several hosts. Processes find out in their first
// operation whether they share memory. Reductions by a function of the caller's do not go through that. Errors: those of Predict, but a group without a model is none.
func (g *Group) Explain(op schedule.Op, bytes int) (string, error) {
	c := g.chooser()
	all, err := g.Predict(op, bytes)
	if err != nil && (c.model != nil || bytes < 0 || len(schedule.Algorithms(op)) == 0) {
		return "", err
	}
	choice, why := c.choose(op, bytes)
	if other := g.sharing(op, bytes); other != "" {
		why += "; but " + other
	}
	if c.model == nil {
		return fmt.Sprintf("%v, %d ranks, %d bytes: %v, %s", op, g.Size(), bytes, choice, why), nil
	}
	return fmt.Sprintf("%v\n%s", c.model, schedule.Explanation(op, g.Size(), bytes, all, choice, why)), nil
}

// sharing says how members carry an operation out in memory instead of by messages, or nothing if they do not.
func (g *Group) sharing(op schedule.Op, bytes int) string {
	named := operationOf(op)
	switch s := g.s; {
	case s.bounds.Select.byMessages():
		return ""
	case s.inOneProcess():
		return "all members live in one process and use its memory instead of messages"
	case s.host == nil:
		return ""
	case g.m == nil || !g.m.host.met.Load():
		return "where the members of a machine share memory, which they find out in their first operation, they use that first"
	case g.m.host.takes(named, &arithmetic{}):
		return "all members share the memory of their machine and use it instead of messages"
	}
	t := g.m.host.tier.Load()
	if !t.takes(named, &arithmetic{}) {
		return ""
	}
	choice := t.choice(g, named, min(bytes, tierBytes))
	return fmt.Sprintf("the members of each of %d hosts use its memory, and one of each exchanges messages with the others, %d KiB at a time, by %v of %v",
		t.heads.Size(), tierBytes>>10, choice, choice.Algorithm.Op)
}

// operationOf returns the operation that algorithms are for.
func operationOf(op schedule.Op) operation {
	return map[schedule.Op]operation{
		schedule.AllReduce: opAllReduce, schedule.ReduceScatter: opReduceScatter, schedule.AllGather: opAllGather, schedule.Broadcast: opBroadcast,
		schedule.Reduce: opReduce, schedule.Gather: opGather, schedule.Scatter: opScatter, schedule.AllToAll: opAllToAll, schedule.Barrier: opBarrier,
	}[op]
}
