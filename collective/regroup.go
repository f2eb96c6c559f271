// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
)

// Revoke ends the group's epoch for all its members: their pending and later operations return an *Error that matches ErrRevoked and
// has the reason in its text. It is for members that find out by themselves that the others cannot go on, so that all come to
// Shrink. A member or the creator may call it. It does not block; a group that is over already is left as it is.
func (g *Group) Revoke(reason string) {
	g.s.abort(&ending{code: codeRevoked, text: fmt.Sprintf("%v by %s: %s", ErrRevoked, g.who(), reason)})
}

// Shrink makes the group's next epoch, of the members that are left in their order, and returns it; FromContext finds it from then on. It
// leaves out those whose nodes or actors are lost, those that a failed operation named in Error.Failed, and those whose nodes give no sign
// of life. The epoch before it is over, if it was not.
//
// All members that are left must call it, as often as each other and as they call Agree. It waits for them, and for those that are lost
// meanwhile as long as it takes to find out; without a deadline of ctx it waits as long as Stall. It takes two messages for each
// member over the lowest rank that is left, and as many again when that is lost, and a broadcast of the new table of algorithms.
//
// The creator's Shrink needs nothing of the members but that they serve calls: it makes the next epoch by a batch call of those that are
// left. Members must then not call it for the same failure.
//
// Errors: ErrNotMember; an *Error that matches ErrExcluded where the others have left the caller out, context.DeadlineExceeded with the
// ranks that have not called it, ErrMemberLost where the caller's own node has ended, or ErrClosed after a Close. The group is then as before, and
// Shrink may be called again.
func (g *Group) Shrink(ctx context.Context) (*Group, error) {
	if end := g.s.ended(); end != nil && (end.code == codeClosed || end.code == codeReplaced) {
		return nil, g.s.failure(g.Rank(), 0, "Shrink")
	}
	if g.m == nil {
		return g.shrinkByCreator(ctx)
	}
	if err := g.checkMember(ctx, named("Shrink")); err != nil {
		return nil, err
	}
	v, err := g.m.decide(ctx, matterShrink, true)
	if err != nil {
		return nil, err
	}
	c := charter{Name: g.s.name, Group: v.group, Epoch: v.epoch, Owner: g.s.owner, Bounds: g.s.bounds}
	for rank, actor := range g.s.members {
		if _, out := slices.BinarySearch(v.out, rank); !out {
			c.add(g.s, rank, actor)
		}
	}
	return g.settle(ctx, c)
}

// Agree returns, at all members that are left, the same: whether all of them gave a flag that is true. It works on an epoch that is over,
// so that members can find out whether an operation that failed at some succeeded everywhere. Members that are lost do not count.
// All that are left must call it, as often as each other and as they call Shrink; it waits, and fails, like Shrink.
func (g *Group) Agree(ctx context.Context, flag bool) (bool, error) {
	if err := g.checkMember(ctx, named("Agree")); err != nil {
		return false, err
	}
	v, err := g.m.decide(ctx, matterAgree, flag)
	if err != nil {
		return false, err
	}
	return v.flag, nil
}

// Split makes groups of the members that give the same color, from 0 to 1<<31-1, in the order of their keys and, where these are equal, of
// their ranks. All members must call it, like an operation. It returns the group that the caller is in, whose name is the group's with
// "/" and the color behind it; FromContext finds it, and an earlier group of that name ends. A member that gives a color below 0 is in
// none and gets nil. The group that was split goes on by itself. It takes one AllGather of 32 bytes, and in each new group a broadcast
// of its table of algorithms.
func (g *Group) Split(ctx context.Context, color, key int) (*Group, error) {
	const fields = 4
	if color > math.MaxInt32 {
		return nil, fmt.Errorf("%w: Split: color is %d, want at most %d", ErrArgument, color, math.MaxInt32)
	}
	if err := g.admit(ctx, named("Split")); err != nil {
		return nil, err
	}
	c := charter{Name: fmt.Sprintf("%s/%d", g.s.name, color), Bounds: g.s.bounds}
	if color >= 0 {
		g.s.hub.number(&c)
	}
	all := make([]int64, fields*g.Size())
	if err := AllGather(ctx, g, []int64{int64(color), int64(key), int64(c.Group), int64(c.Epoch)}, all); err != nil {
		return nil, err
	}
	if color < 0 {
		return nil, nil //nolint:nilnil // the caller has asked for no group
	}
	var ranks []int
	for r := range g.Size() {
		if all[fields*r] == int64(color) {
			ranks = append(ranks, r)
		}
	}
	slices.SortStableFunc(ranks, func(a, b int) int {
		switch ka, kb := all[fields*a+1], all[fields*b+1]; {
		case ka < kb:
			return -1
		case ka > kb:
			return 1
		}
		return 0
	})
	c.Group, c.Owner = uint64(all[fields*ranks[0]+2]), g.s.nodeOf(ranks[0]) // as the first member has numbered it
	for _, r := range ranks {
		c.add(g.s, r, g.s.members[r])
		c.Epoch = max(c.Epoch, uint32(all[fields*r+3]))
	}
	return g.settle(ctx, c)
}

// add puts a member of another group behind the members.
func (c *charter) add(s *session, rank int, actor uint64) {
	c.Members = append(c.Members, actor)
	if len(s.hosts) > 0 {
		c.Hosts = append(c.Hosts, s.hosts[rank])
	}
}

// named is a call that has a name only.
type named string

// String returns the name.
func (n named) String() string { return string(n) }

// shrinkByCreator makes the next epoch by a batch call, and again without those that it finds dead.
func (g *Group) shrinkByCreator(ctx context.Context) (*Group, error) {
	keep := slices.Repeat([]bool{true}, g.Size())
	for {
		for _, rank := range g.s.lostRanks() {
			keep[rank] = false
		}
		ranks := ranksKept(keep)
		if len(ranks) == 0 {
			return nil, fmt.Errorf("%w: shrink group %q: no member is left", ErrMemberLost, g.Name())
		}
		next, err := g.again(ctx, ranks)
		if err == nil {
			return next, nil
		}
		failed, ok := errors.AsType[*batch.Error](err)
		if !ok && len(g.s.lostRanks()) == g.Size()-len(ranks) {
			return nil, err
		}
		if ok && !strike(keep, ranks, failed) {
			return nil, err
		}
	}
}

func ranksKept(keep []bool) []int {
	var ranks []int
	for rank, k := range keep {
		if k {
			ranks = append(ranks, rank)
		}
	}
	return ranks
}

// strike takes out the ranks whose actors or nodes a batch call found gone, and reports whether there were any.
func strike(keep []bool, ranks []int, failed *batch.Error) (found bool) {
	for _, f := range failed.Failures {
		if errors.Is(f.Err, core.ErrActorDead) || errors.Is(f.Err, core.ErrNodeLost) {
			keep[ranks[f.Index]], found = false, true
		}
	}
	return found
}

// Grow makes the next epoch of a group, of its members that are left and, behind them, of more actors. It is called by the creator of g,
// which must be its latest epoch; g may be over. It is one batch call, like NewGroup, and has its errors; ErrNotMember if g is
// not the creator's, and ErrArgument if the actors of g have another type.
func Grow[A any](ctx context.Context, g *Group, more []*core.Handle[A]) (*Group, error) {
	if g.handles == nil {
		return nil, fmt.Errorf("%w: Grow of group %q by one that is not its creator", ErrNotMember, g.Name())
	}
	old, ok := g.handles.([]*core.Handle[A])
	if !ok {
		return nil, fmt.Errorf("%w: Grow of group %q of %T by %T", ErrArgument, g.Name(), g.handles, more)
	}
	lost := g.s.lostRanks()
	var handles []*core.Handle[A]
	for rank, h := range old {
		if _, out := slices.BinarySearch(lost, rank); !out {
			handles = append(handles, h)
		}
	}
	return newGroup(ctx, charter{Name: g.Name(), Epoch: g.Epoch() + 1, Bounds: g.s.bounds}, append(handles, more...))
}
