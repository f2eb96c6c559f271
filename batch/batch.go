// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tutti-go/tutti/core"
)

// Option configures a Remote or a call. What is given to a call goes before what was given to New.
type Option interface{ apply(*options) }

type options struct {
	call    []core.CallOption
	timeout time.Duration
}

type callOption struct{ core.CallOption }

func (c callOption) apply(o *options) { o.call = append(o.call, c.CallOption) }

// The policies and modes of a call. Of the policies, FailFast, BestEffort and Quorum, the last one given counts.
//
//nolint:gochecknoglobals // constants, but for their type
var (
	// FailFast stops a submission at the first node that cannot be reached. It is the default.
	FailFast Option = callOption{core.FailFast}
	// BestEffort submits to every node that can be reached and leaves errors to the slots.
	BestEffort Option = callOption{core.BestEffort}
	// NoReply makes the call a cast: no answers travel, and the slots succeed with zero values once the call was submitted. What fails at the
	// actors is logged at their nodes and counted; see core.NoReply.
	NoReply Option = callOption{core.NoReply()}
	// Idempotent lets calls whose actor dies run again on its next incarnation; see core.Idempotent.
	Idempotent Option = callOption{core.Idempotent()}
)

// Quorum submits to every node that can be reached, and fails if fewer than m actors were submitted to. m must be between 1 and the
// number of actors. Together with Refs.First(ctx, m) it asks for any m answers; with Refs.Succeeded(ctx, m), for m that are no errors.
func Quorum(m int) Option { return callOption{core.Quorum(m)} }

// FanOut bounds how many messages the driver, and every relay, sends to other hosts for the call; see core.FanOut. k must be 2 at least.
func FanOut(k int) Option { return callOption{core.FanOut(k)} }

type timeoutOption time.Duration

func (t timeoutOption) apply(o *options) { o.timeout = time.Duration(t) }

// Timeout bounds the time from the call to its last answer. Slots without an answer then fail with
// context.DeadlineExceeded. The default is the deadline of the call's context, if it has one. d must be positive.
func Timeout(d time.Duration) Option { return timeoutOption(d) }

func (o options) with(opts []Option) (options, error) {
	o.call = slices.Clip(o.call) // what is appended is not the Remote's
	for _, opt := range opts {
		if opt == nil {
			return o, fmt.Errorf("batch: %w: nil option", core.ErrInvalid)
		}
		opt.apply(&o)
		if t, ok := opt.(timeoutOption); ok && t <= 0 {
			return o, fmt.Errorf("batch: %w: Timeout(%v), must be positive", core.ErrInvalid, time.Duration(t))
		}
	}
	return o, nil
}

// Remote stands for a fixed list of actors of one kind that are called together. It is immutable and safe for
// concurrent use; making one groups the actors by node, once for all calls.
type Remote[A any] struct {
	targets *core.Targets
	options options
	err     error // reported by every call, so that New can be used in an expression
}

// New makes a Remote of the actors, in this order. If they cannot be called together - there are none, one is nil, or they
// differ in kind or system - every call on the Remote fails with the reason: core.ErrNoActors, core.ErrInvalid or core.ErrMixed.
func New[A any](actors []*core.Handle[A], opts ...Option) *Remote[A] {
	r := &Remote[A]{}
	if r.options, r.err = r.options.with(opts); r.err == nil {
		r.targets, r.err = core.NewTargets(actors)
	}
	return r
}

// Len returns the number of actors.
func (r *Remote[A]) Len() int {
	if r.targets == nil {
		return 0
	}
	return r.targets.Len()
}

// Call calls method m of all actors with the same argument. See the package documentation for what is returned when.
func Call[A, In, Out any](
	ctx context.Context, r *Remote[A], m func(A, context.Context, In) (Out, error), in In, opts ...Option,
) (*Refs[Out], error) {
	return submit[A, Out](ctx, r, opts, func(ctx context.Context, o []core.CallOption) (*core.Slots, error) {
		return core.Submit(ctx, r.targets, m, in, o...)
	})
}

// CallRef calls method m of all actors with the same object, passed by reference: the value of a core.Put, or the
// result of an earlier call, for which CallRef waits.
func CallRef[A, In, Out any](
	ctx context.Context, r *Remote[A], m func(A, context.Context, In) (Out, error), ref *core.Ref[In], opts ...Option,
) (*Refs[Out], error) {
	return submit[A, Out](ctx, r, opts, func(ctx context.Context, o []core.CallOption) (*core.Slots, error) {
		return core.SubmitRef(ctx, r.targets, m, ref, o...)
	})
}

// CallEach calls method m with ins[i] on the i-th actor: an argument of its own for each, but still one message to each node. There
// must be as many arguments as actors; a wrong number matches core.ErrInvalid.
func CallEach[A, In, Out any](
	ctx context.Context, r *Remote[A], m func(A, context.Context, In) (Out, error), ins []In, opts ...Option,
) (*Refs[Out], error) {
	return submit[A, Out](ctx, r, opts, func(ctx context.Context, o []core.CallOption) (*core.Slots, error) {
		return core.SubmitEach(ctx, r.targets, m, ins, o...)
	})
}

// Named is a method of all actors, chosen by name.
type Named[A any] struct {
	remote *Remote[A]
	name   string
}

// Method chooses a method by its registered name, for tools and for methods that have no Go name.
func (r *Remote[A]) Method(name string) Named[A] { return Named[A]{r, name} }

// Remote calls the method on all actors. An argument of another type than the method's, or a name that is not registered, fails
// before anything is sent, with core.ErrInvalid or core.ErrNoMethod.
func (n Named[A]) Remote(ctx context.Context, in any, opts ...Option) (*Refs[any], error) {
	return submit[A, any](ctx, n.remote, opts, func(ctx context.Context, o []core.CallOption) (*core.Slots, error) {
		return core.SubmitNamed(ctx, n.remote.targets, n.name, in, o...)
	})
}

func submit[A, Out any](
	ctx context.Context, r *Remote[A], opts []Option, send func(context.Context, []core.CallOption) (*core.Slots, error),
) (*Refs[Out], error) {
	if r == nil {
		return nil, fmt.Errorf("batch: %w: nil Remote", core.ErrInvalid)
	}
	if r.err != nil {
		return nil, r.err
	}
	o, err := r.options.with(opts)
	if err != nil {
		return nil, err
	}
	cancel := func() {}
	if o.timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
	}
	slots, err := send(ctx, o.call)
	if slots == nil {
		cancel()
		return nil, err
	}
	slots.OnDone(cancel)
	return &Refs[Out]{slots}, err
}
