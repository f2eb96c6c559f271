// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
)

// Operations that the creator of a group calls on references. One batch call takes the same order to all members, and to each the
// reference that is its input; the members run the operation among themselves, and what each returns stays in the store of its host.

// RefElement is what operations over references are for: every Element that has no name of its own, but uintptr, which no value may hold.
type RefElement interface {
	bool |
		int | int8 | int16 | int32 | int64 |
		uint | uint8 | uint16 | uint32 | uint64 |
		float32 | float64 | complex64 | complex128 |
		Float16 | BFloat16
}

// refsMethods is the beginning of the names of the methods that every actor has for operations over references, one for each element type.
const refsMethods = "tutti.collective.refs."

// order is what the creator has the members do.
type order struct {
	Group string
	Epoch uint32
	What  operation
	How   Op
	Root  int
}

// onRefs is the method of an element type.
func onRefs[T RefElement]() core.MethodOf[any] {
	return core.NamedMethod(refsMethods+kindOf[T]().String(), func(_ any, ctx context.Context, l core.Lent[order, []T]) ([]T, error) {
		return obey(ctx, l)
	})
}

var _ = core.RegisterForAll(
	onRefs[bool](), onRefs[int](), onRefs[int8](), onRefs[int16](), onRefs[int32](), onRefs[int64](),
	onRefs[uint](), onRefs[uint8](), onRefs[uint16](), onRefs[uint32](), onRefs[uint64](),
	onRefs[float32](), onRefs[float64](), onRefs[complex64](), onRefs[complex128](), onRefs[Float16](), onRefs[BFloat16](),
)

// AllReduceRefs combines what refs refer to, refs[i] being the input of rank i, and returns a reference to the result for each rank: all have the same
// bits. It is called by the group's creator. All values must have the same length; they are read in place, and each member makes a copy. The
// members need to do nothing but serve calls: it is one batch call, which waits in their mailboxes like any other. References to
// results of calls that still run are waited for.
//
// Results of more than core.InlineMax bytes stay in the object stores of their members' hosts, until Release of the Refs or of a
// Ref, or until nothing refers to them. At(i) and Refs give inputs of further calls and operations, which need not pass through the driver.
//
// One operation over references runs on a group at a time, and further ones wait. A member whose own methods run operations on the group
// takes part in calls in the order of its mailbox.
//
// Errors: ErrNotMember if g is not its creator's, ErrArgument for a nil reference, a wrong number of them, or an op that is not
// for T; those of a reference, such as core.ErrObjectLost, with its index; then nothing was sent. An *Error if the epoch is over. A *batch.Error
// names what each rank failed with, its Index: an *Error's text for those that took part, which matches ErrMismatch, ErrMemberLost and the like. The
// epoch is then over for all, as after any failure of an operation, and no result is kept; so it is when ctx ends first, whose error is returned.
func AllReduceRefs[T RefElement](ctx context.Context, g *Group, refs []*core.Ref[[]T], op Op) (*batch.Refs[[]T], error) {
	if _, err := arithmeticOf[T](opAllReduce, op); err != nil {
		return nil, err
	}
	return overRefs(ctx, g, order{What: opAllReduce, How: op}, refs)
}

// ReduceScatterRefs is AllReduceRefs, but that rank i gets the i-th of Size equal parts of the result. Size must divide the length, or each member
// returns ErrArgument.
func ReduceScatterRefs[T RefElement](ctx context.Context, g *Group, refs []*core.Ref[[]T], op Op) (*batch.Refs[[]T], error) {
	if _, err := arithmeticOf[T](opReduceScatter, op); err != nil {
		return nil, err
	}
	return overRefs(ctx, g, order{What: opReduceScatter, How: op}, refs)
}

// AllGatherRefs puts what refs refer to, in the order of ranks, into one slice at every member, Size times as long. All values must have the same
// length. All else is as with AllReduceRefs.
func AllGatherRefs[T RefElement](ctx context.Context, g *Group, refs []*core.Ref[[]T]) (*batch.Refs[[]T], error) {
	return overRefs(ctx, g, order{What: opAllGather}, refs)
}

// BroadcastRefs has the member with rank root open ref, and send its value to all: two broadcasts, the first of the length. The result
// of each rank is a copy. Errors are those of AllReduceRefs, and ErrArgument for a root that is no rank.
func BroadcastRefs[T RefElement](ctx context.Context, g *Group, ref *core.Ref[[]T], root int) (*batch.Refs[[]T], error) {
	if err := g.checkRoot(opBroadcast, root); err != nil {
		return nil, err
	}
	if ref == nil {
		return nil, fmt.Errorf("%w: %v: the reference is nil", ErrArgument, opBroadcast)
	}
	refs := make([]*core.Ref[[]T], g.Size())
	refs[root] = ref
	return overRefs(ctx, g, order{What: opBroadcast, Root: root}, refs)
}

// overRefs gives an order to all members, and waits until all have carried it out.
func overRefs[T RefElement](ctx context.Context, g *Group, o order, refs []*core.Ref[[]T]) (*batch.Refs[[]T], error) {
	if g.targets == nil {
		return nil, fmt.Errorf("%w: %v over references, on group %q by one that is not its creator", ErrNotMember, o.What, g.Name())
	}
	if len(refs) != g.Size() {
		return nil, fmt.Errorf("%w: %v: %d references for %d members", ErrArgument, o.What, len(refs), g.Size())
	}
	if i := slices.Index(refs, nil); i >= 0 && o.What != opBroadcast {
		return nil, fmt.Errorf("%w: %v: reference %d is nil", ErrArgument, o.What, i)
	}
	select {
	case g.ordering <- struct{}{}: // so that all members get orders in one order
		defer func() { <-g.ordering }()
	case <-ctx.Done():
		return nil, fmt.Errorf("collective: %v over references: waited for the operation before it: %w", o.What, stopped(ctx))
	}
	if g.s.ended() != nil {
		return nil, g.s.failure(g.Rank(), 0, o.What.String())
	}
	targets, err := g.targets()
	if err != nil {
		return nil, fmt.Errorf("collective: %v over references: %w", o.What, err)
	}
	o.Group, o.Epoch = g.Name(), g.Epoch()
	slots, err := core.SubmitLent(ctx, targets, refsMethods+kindOf[T]().String(), o, refs)
	if slots == nil {
		return nil, fmt.Errorf("collective: %v over references: %w", o.What, err)
	}
	results := batch.RefsOf[[]T](slots)
	err = g.await(ctx, slots)
	if err == nil {
		err = results.Err(ctx)
	}
	if err != nil {
		results.Cancel()
		results.Release()
		return nil, err
	}
	return results, nil
}

// await waits for the answers of all members. If one did not take part, the others are told, who would wait for it in vain.
func (g *Group) await(ctx context.Context, slots *core.Slots) error {
	for k := range slots.Len() {
		if err := slots.Wait(ctx, k+1); err != nil {
			g.Revoke(fmt.Sprintf("an operation over references was given up: %v", err))
			return fmt.Errorf("collective: operation over references: %w", err)
		}
		rank, _ := slots.Completed(k)
		if err := slots.Err(rank); err != nil && !heard(err) {
			g.Revoke(fmt.Sprintf("rank %d did not take part: %v", rank, err))
		}
	}
	return nil
}

// heard says whether the members find out by themselves what an order to one of them failed with.
func heard(err error) bool {
	return errors.Is(err, ErrAborted) || errors.Is(err, core.ErrNodeLost) || errors.Is(err, core.ErrActorDead)
}

// obey is what a member does with an order of the creator's.
func obey[T RefElement](ctx context.Context, l core.Lent[order, []T]) ([]T, error) {
	o := l.With
	g, err := FromContext(ctx, o.Group)
	if err != nil {
		return nil, err
	}
	if g.Epoch() != o.Epoch {
		return nil, fmt.Errorf("%w: %v over references in epoch %d, the member is in epoch %d", ErrReplaced, o.What, o.Epoch, g.Epoch())
	}
	var in []T
	if l.Has {
		value, done, err := l.Open(ctx)
		if err != nil {
			return nil, err
		}
		defer done()
		in = value
	}
	switch o.What {
	case opAllReduce:
		buf := slices.Clone(in)
		return buf, AllReduce(ctx, g, buf, o.How)
	case opReduceScatter:
		n := g.Size()
		if len(in)%n != 0 {
			return nil, fmt.Errorf("%w: %v: the value has %d elements, which %d members cannot share equally", ErrArgument, o.What, len(in), n)
		}
		out := make([]T, len(in)/n)
		return out, ReduceScatter(ctx, g, in, out, o.How)
	case opAllGather:
		out := make([]T, g.Size()*len(in))
		return out, AllGather(ctx, g, in, out)
	case opBroadcast:
		length := []int{len(in)}
		if err := Broadcast(ctx, g, length, o.Root); err != nil {
			return nil, err
		}
		buf := slices.Clone(in) // algorithms write there, and in belongs to the reference
		if g.Rank() != o.Root {
			buf = make([]T, length[0])
		}
		return buf, Broadcast(ctx, g, buf, o.Root)
	default:
		return nil, fmt.Errorf("%w: %v over references", ErrArgument, o.What)
	}
}
