// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tutti-go/tutti/internal/scope"
)

// Arguments are checked before anything is sent: one that is wrong in itself leaves the group as it is.

func (g *Group) checkRoot(op operation, root int) error {
	if root < 0 || root >= g.Size() {
		return fmt.Errorf("%w: %v: root is %d, want 0 to %d", ErrArgument, op, root, g.Size()-1)
	}
	return nil
}

// checkLength compares the length of the buffer of a name with the one that follows from other arguments. why says how, with values.
func checkLength(op operation, name string, got, want int, why string, values ...int) error {
	if got == want {
		return nil
	}
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = v
	}
	return fmt.Errorf("%w: %v: %s has %d elements, want %d: %s", ErrArgument, op, name, got, want, fmt.Sprintf(why, all...))
}

// operate runs one operation: it waits for its turn, bounds its time, and turns every failure into the end of the epoch. do is for
// members that have messages only. If it does not return, for a function of the caller's panicked or its buffer cannot be written, the others
// would wait in vain: that is the end of the epoch before the panic goes on.
func (g *Group) operate(ctx context.Context, c invocation, do func(context.Context, *execution) error) (result error) {
	d := c.descriptor
	if !g.admits(ctx) { // apart from admit, for which the descriptor would have to be on the heap
		return g.admit(ctx, d)
	}
	s, m := g.m.s, g.m
	result = errUnreturned
	defer func() {
		if result == errUnreturned { //nolint:errorlint // it is this one or another
			p := recover()
			s.abort(panicked(m.rank, unreturned(d, p)))
			if p != nil {
				panic(p)
			}
		}
	}()
	if s.heap.takes(d.op) {
		return m.operateInProcess(ctx, c)
	}
	if m.host.takes(d.op, &c.math) {
		return g.operateOnHost(ctx, &c, do)
	}
	stall := s.stallOf(ctx)
	ctx, cancel := s.bound(ctx)
	defer cancel()
	l := m.lineFor(ctx)
	seq, err := m.take(ctx, l, d)
	if err == nil {
		defer m.release(l)
		m.guarded(stall)
		err = g.carryOut(ctx, &c, seq, do)
	}
	if err == nil {
		err = m.finish()
	}
	return m.outcome(ctx, seq, d, err)
}

// errUnreturned is the result of an operation that has not returned.
var errUnreturned = errors.New("it ended its goroutine with runtime.Goexit")

// unreturned says why a call did not return: it panicked with p or, without one, ended its goroutine.
func unreturned(call fmt.Stringer, p any) error {
	if p == nil {
		return fmt.Errorf("%v: %w", call, errUnreturned)
	}
	if _, fault := p.(interface{ Addr() uintptr }); fault {
		return fmt.Errorf("%v: memory that it was given cannot be read or written: %v", call, p)
	}
	return fmt.Errorf("%v panicked: %v", call, p)
}

// panicked is the end of an epoch because something at a rank panicked: its reason says what.
func panicked(rank int, reason error) *ending {
	return &ending{code: codePanicked, failed: []int{rank}, text: fmt.Sprintf("rank %d: %v", rank, reason)}
}

// outcome turns the failure of an operation into the end of the epoch.
func (m *member) outcome(ctx context.Context, seq uint64, d descriptor, err error) error {
	if err == nil {
		return nil
	}
	// Whatever it was: this member does not take part, and the others would wait for it in vain.
	m.s.abort(m.endingOf(ctx, err))
	return m.s.failure(m.rank, seq, d.String())
}

// carryOut runs an operation by messages, or by what the members of a host have in common.
func (g *Group) carryOut(ctx context.Context, c *invocation, seq uint64, do func(context.Context, *execution) error) error {
	s, m := g.s, g.m
	x := &execution{peers: m, head: c.append(nil)}
	if s.host != nil && !c.op.isPoint() {
		if !m.host.met.Load() {
			if err := x.meet(ctx, g); err != nil {
				return err
			}
		}
		if c.op.isShared() && m.hosts == nil {
			h, err := x.hostsOf(ctx, g)
			if err != nil {
				return err
			}
			m.host.shares.Store(len(h.ranks) == 1)
		}
		if m.host.takes(c.op, &c.math) {
			return s.host.run(ctx, g, c, seq, true, do) // whose stall follows from the caller's context, which has no other deadline than this
		}
		if m.host.tier.Load().takes(c.op, &c.math) {
			return x.operateInTiers(ctx, g, c, seq)
		}
	}
	return do(ctx, x)
}

// take waits in a line until the member may begin an operation, and begins it. Without an error, release must be called.
func (m *member) take(ctx context.Context, l *line, d descriptor) (seq uint64, err error) {
	if ctx.Err() != nil {
		return 0, fmt.Errorf("was done before: %w", stopped(ctx))
	}
	if !l.await(ctx, l.join()) {
		return 0, fmt.Errorf("waited for the operation before it: %w", stopped(ctx))
	}
	if seq, err = m.begin(d); err != nil {
		m.release(l)
	}
	return seq, err
}

func (m *member) release(l *line) {
	if m.mu.guard.runs.Load() {
		m.mu.Lock()
		m.unguardLocked()
		m.mu.Unlock()
	}
	l.leave()
}

// admit checks whether the caller may operate on the group at all.
func (g *Group) admit(ctx context.Context, what fmt.Stringer) error {
	if err := g.checkMember(ctx, what); err != nil {
		return err
	}
	if g.s.ended() != nil {
		return g.s.failure(g.m.rank, 0, what.String())
	}
	return nil
}

// admits returns whether admit returns nil.
func (g *Group) admits(ctx context.Context) bool {
	if g.m == nil || g.s.ended() != nil {
		return false
	}
	sc, ok := scope.From(ctx)
	return !ok || sc.Actor == g.m.sc.Actor
}

// checkMember checks whether the caller is the member that it speaks for.
func (g *Group) checkMember(ctx context.Context, what fmt.Stringer) error {
	if g.m == nil {
		return fmt.Errorf("%w: %v by the creator of group %q", ErrNotMember, what, g.Name())
	}
	if sc, ok := scope.From(ctx); ok && sc.Actor != g.m.sc.Actor {
		return fmt.Errorf("%w: %v by actor %x on the group %q of actor %x", ErrNotMember, what, sc.Actor, g.Name(), g.m.sc.Actor)
	}
	return nil
}

// stallOf is how long an operation under ctx may wait while nothing moves; 0 means as long as ctx lasts.
func (s *session) stallOf(ctx context.Context) time.Duration {
	if _, ok := ctx.Deadline(); ok && !s.bounds.Strict {
		return 0
	}
	return s.bounds.Stall
}

// bound derives the context of an operation: it ends with the epoch, and after the group's timeout if ctx has no deadline.
func (s *session) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return s.boundUntil(ctx, time.Now().Add(s.bounds.Timeout))
}

// boundUntil is bound of an operation whose timeout passes at a time.
func (s *session) boundUntil(ctx context.Context, until time.Time) (context.Context, context.CancelFunc) {
	ctx, cancelCause := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ctx, func() { cancelCause(s.ended()) })
	cancel := func() {
		stop()
		cancelCause(nil)
	}
	if _, ok := ctx.Deadline(); ok {
		return ctx, cancel
	}
	timed, cancelTimer := context.WithDeadline(ctx, until)
	return timed, func() {
		cancelTimer()
		cancel()
	}
}

// failure is what an operation returns once the epoch is over.
func (s *session) failure(rank int, seq uint64, op string) error {
	end := s.ended()
	return &Error{Group: s.name, Epoch: s.epoch, Seq: seq, Op: op, Rank: rank, Failed: end.failed, Reason: end}
}
