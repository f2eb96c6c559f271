// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"

	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/internal/scope"
)

// gatherLimit is up to how many bytes, over all members, an all-reduce collects all contributions everywhere and sums them in
// each place, which takes half the rounds. Measured with BenchmarkAllReduce on two cores: the two meet between 16 and 64 KiB for
// 8, 64 and 400 members on 8 nodes.
const gatherLimit = 16 << 10

// AllReduce combines buf of all members, element by element, and puts the same result, bit for bit, into buf of all members. All
// must call it with the same length, element type and op. buf is the member's own until the call returns, and holds
// nothing of use after an error. Errors: *Error, ErrNotMember, ErrArgument for an unknown op.
func AllReduce[T Float](ctx context.Context, g *Group, buf []T, op Op) error {
	if op == 0 || op >= reductionEnd {
		return fmt.Errorf("%w: AllReduce with %v", ErrArgument, op)
	}
	d := descriptor{op: opAllReduce, how: op, kind: kindOf[T](), count: uint64(len(buf))}
	return g.operate(ctx, d, func(ctx context.Context, x *execution) error {
		x.buf = bufferOf(buf)
		math := arithmeticOf[T]()
		if g.Size()*len(x.buf.bytes) <= gatherLimit {
			return x.gatherAndReduce(ctx, g, op, math)
		}
		return x.reduceAndGather(ctx, g, op, math)
	})
}

// gatherAndReduce copies all contributions to all members, each of which sums them in the order of ranks.
func (x *execution) gatherAndReduce(ctx context.Context, g *Group, op Op, math arithmetic) error {
	n, result := g.Size(), x.buf.bytes
	x.buf.bytes = make([]byte, n*len(result))
	x.buf.count *= n
	x.buf.blocks = n
	copy(x.buf.block(g.Rank()), result)
	if err := x.run(ctx, schedule.CirculantAllGather(n, g.Rank())); err != nil {
		return err
	}
	copy(result, x.buf.block(0))
	for rank := 1; rank < n; rank++ {
		math.add(result, x.buf.block(rank))
	}
	if op == Avg {
		math.div(result, n)
	}
	return nil
}

// reduceAndGather sums each block at one member, which then gives it to all.
func (x *execution) reduceAndGather(ctx context.Context, g *Group, op Op, math arithmetic) error {
	n := g.Size()
	reduce := schedule.CirculantAllReduce(n, g.Rank())
	gather := reduce
	reduce.Steps, gather.Steps = reduce.Steps[:schedule.Rounds(n)], reduce.Steps[schedule.Rounds(n):]
	x.add = math.add
	if err := x.run(ctx, reduce); err != nil {
		return err
	}
	if op == Avg {
		math.div(x.buf.block(g.Rank()), n)
	}
	return x.run(ctx, gather)
}

// Broadcast copies buf of the member with rank root into buf of all others. All must call it with the same length, element type
// and root. buf is the member's own until the call returns; at other members than the root it holds nothing of use after an
// error. The root does not wait for the others, so that its nil does not mean that they have the data. Errors: *Error,
// ErrNotMember, ErrArgument for a root that is no rank.
func Broadcast[T Numeric](ctx context.Context, g *Group, buf []T, root int) error {
	if root < 0 || root >= g.Size() {
		return fmt.Errorf("%w: Broadcast from root %d in a group of %d", ErrArgument, root, g.Size())
	}
	d := descriptor{op: opBroadcast, kind: kindOf[T](), root: uint32(root), count: uint64(len(buf))}
	return g.operate(ctx, d, func(ctx context.Context, x *execution) error {
		x.buf = bufferOf(buf)
		return x.run(ctx, schedule.BinomialBroadcast(g.Size(), g.Rank(), root))
	})
}

// Barrier returns when all members have called it. Errors: *Error, ErrNotMember.
func Barrier(ctx context.Context, g *Group) error {
	return g.operate(ctx, descriptor{op: opBarrier}, func(ctx context.Context, x *execution) error {
		return x.run(ctx, schedule.DisseminationBarrier(g.Size(), g.Rank()))
	})
}

func bufferOf[T Numeric](s []T) buffer {
	b := bytesOf(s)
	return buffer{bytes: b, size: len(b) / max(len(s), 1), count: len(s)}
}

// operate runs one operation: it waits for its turn, bounds its time, and turns every failure into the end of the epoch.
func (g *Group) operate(ctx context.Context, d descriptor, do func(context.Context, *execution) error) error {
	if err := g.admit(ctx, d); err != nil {
		return err
	}
	s, m := g.m.s, g.m
	ctx, cancel := s.bound(ctx)
	defer cancel()
	seq, err := m.take(ctx, d)
	if err == nil {
		defer m.release()
		err = do(ctx, &execution{peers: m, head: d.append(nil)})
	}
	if err == nil {
		err = m.finish()
	}
	if err != nil {
		// Whatever it was: this member does not take part, and the others would wait for it in vain.
		s.abort(m.endingOf(ctx, err))
		return s.failure(m.rank, seq, d)
	}
	return nil
}

// take waits until the member may begin an operation, and begins it. Without an error, release must be called.
func (m *member) take(ctx context.Context, d descriptor) (seq uint64, err error) {
	if ctx.Err() != nil {
		return 0, fmt.Errorf("was done before: %w", stopped(ctx))
	}
	select {
	case <-m.turn:
	case <-ctx.Done():
		return 0, fmt.Errorf("waited for the operation before it: %w", stopped(ctx))
	}
	select {
	case <-m.s.opened:
		seq, err = m.begin(d)
	case <-ctx.Done():
		err = fmt.Errorf("waited for the others to join: %w", stopped(ctx))
	}
	if err != nil {
		m.release()
	}
	return seq, err
}

func (m *member) release() { m.turn <- struct{}{} }

// admit checks whether the caller may operate on the group at all.
func (g *Group) admit(ctx context.Context, d descriptor) error {
	if g.m == nil {
		return fmt.Errorf("%w: %v by the creator of group %q", ErrNotMember, d, g.Name())
	}
	if sc, ok := scope.From(ctx); ok && sc.Actor != g.m.actor {
		return fmt.Errorf("%w: %v by actor %x on the group %q of actor %x", ErrNotMember, d, sc.Actor, g.Name(), g.m.actor)
	}
	if g.m.s.ended() != nil {
		return g.m.s.failure(g.m.rank, 0, d)
	}
	return nil
}

// bound derives the context of an operation: it ends with the epoch, and after the group's timeout if ctx has no deadline.
func (s *session) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancelCause := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ctx, func() { cancelCause(s.ended()) })
	cancel := func() {
		stop()
		cancelCause(nil)
	}
	if _, ok := ctx.Deadline(); ok {
		return ctx, cancel
	}
	timed, cancelTimer := context.WithTimeout(ctx, s.timeout)
	return timed, func() {
		cancelTimer()
		cancel()
	}
}

// failure is what an operation returns once the epoch is over.
func (s *session) failure(rank int, seq uint64, d descriptor) error {
	end := s.ended()
	return &Error{Group: s.name, Epoch: s.epoch, Seq: seq, Op: d.String(), Rank: rank, Failed: end.failed, Reason: end}
}
