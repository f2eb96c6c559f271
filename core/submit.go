// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"time"

	"github.com/tutti-go/tutti/internal/codec"
)

// Submit sends one call of method f with argument in to all targets: the one way in which calls leave a process. Everything that can
// be checked is checked first; an error with nil Slots means that nothing was sent. Otherwise the Slots hold what was submitted,
// even beside an error, which under FailFast is the first failed submission; the slots that were not submitted then fail with
// ErrNotSubmitted. in may be changed as soon as Submit returns. The end of ctx cancels the calls, its deadline travels with them.
func Submit[A, In, Out any](ctx context.Context, t *Targets, f func(A, context.Context, In) (Out, error), in In, opts ...CallOption) (*Slots, error) {
	m, err := lookup(t.kind, f)
	if err != nil {
		return nil, err
	}
	t, cfg, err := t.configure(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("call %v: %w", m, err)
	}
	v, err := encode(t.sys.codec, in)
	if err != nil {
		return nil, fmt.Errorf("argument of %v: %w", m, err)
	}
	return t.submitValue(ctx, m, v, cfg)
}

// SubmitRef is Submit with an object as the argument: the value of ref, passed by reference. If ref is the result of a call
// that is still running, SubmitRef waits for it.
func SubmitRef[A, In, Out any](ctx context.Context, t *Targets, f func(A, context.Context, In) (Out, error), ref *Ref[In], opts ...CallOption) (*Slots, error) {
	m, err := lookup(t.kind, f)
	if err != nil {
		return nil, err
	}
	t, cfg, err := t.configure(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("call %v: %w", m, err)
	}
	if ref == nil {
		return nil, fmt.Errorf("argument of %v: %w: nil reference", m, ErrInvalid)
	}
	arg, err := ref.argument(ctx, t.sys, t.largest)
	if err != nil {
		return nil, fmt.Errorf("argument of %v: %w", m, err)
	}
	return t.submit(ctx, m, arg, cfg)
}

// SubmitNamed is Submit with the method given by name and the argument's type checked at run time. A mismatch is an error that
// matches ErrInvalid and names both types; nothing is sent.
func SubmitNamed(ctx context.Context, t *Targets, name string, in any, opts ...CallOption) (*Slots, error) {
	m, err := t.sys.table.named(t.kind, name)
	if err != nil {
		return nil, err
	}
	t, cfg, err := t.configure(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("call %v: %w", m, err)
	}
	v, err := m.encode(t.sys.codec, in)
	if err != nil {
		return nil, fmt.Errorf("argument of %v: %w", m, err)
	}
	return t.submitValue(ctx, m, v, cfg)
}

// SubmitEach is Submit with an argument of its own for every target: ins[i] goes to target i. All are still one message to each node.
// There must be as many as targets. Any of them that cannot be encoded is named by its index, and nothing is sent.
func SubmitEach[A, In, Out any](ctx context.Context, t *Targets, f func(A, context.Context, In) (Out, error), ins []In, opts ...CallOption) (*Slots, error) {
	m, err := lookup(t.kind, f)
	if err != nil {
		return nil, err
	}
	t, cfg, err := t.configureEach(ctx, m, opts, len(ins), "arguments")
	if err != nil {
		return nil, err
	}
	args := make([]argument, 0, len(ins))
	release := func() {
		for i := range args {
			args[i].done()
		}
	}
	all := argument{}
	for i := range ins {
		v, err := encode(t.sys.codec, ins[i])
		var arg argument
		if err == nil {
			arg, err = t.sys.argumentOf(v, 1+t.largest*InlineMax/eachMax)
		}
		if err != nil {
			release()
			return nil, fmt.Errorf("argument %d of %v: %w", i, m, err)
		}
		if arg.release != nil {
			all.release = release
		}
		args = append(args, arg)
		all.put += arg.put
	}
	all.each = args
	return t.submit(ctx, m, all, cfg)
}

// configureEach is configure for a call that gives each target something of its own.
func (t *Targets) configureEach(ctx context.Context, m *method, opts []CallOption, given int, of string) (*Targets, callConfig, error) {
	t, cfg, err := t.configure(ctx, opts)
	if err == nil && given != len(t.ids) {
		err = fmt.Errorf("%w: %d %s for %d actors", ErrInvalid, given, of, len(t.ids))
	}
	if err == nil {
		err = t.sys.err()
	}
	if err != nil {
		return nil, callConfig{}, fmt.Errorf("call %v: %w", m, err)
	}
	return t, cfg, nil
}

func (t *Targets) submitValue(ctx context.Context, m *method, v codec.Value, cfg callConfig) (*Slots, error) {
	if err := t.sys.err(); err != nil {
		return nil, fmt.Errorf("call %v: %w", m, err)
	}
	arg, err := t.sys.argumentOf(v, t.largest)
	if err != nil {
		return nil, fmt.Errorf("argument of %v: %w", m, err)
	}
	return t.submit(ctx, m, arg, cfg)
}

// submit takes arg over.
func (t *Targets) submit(ctx context.Context, m *method, arg argument, cfg callConfig) (*Slots, error) {
	s := newSlots(t, m)
	s.arg, s.cfg = arg, cfg
	s.deadline, _ = ctx.Deadline()
	if err := s.admit(ctx); err != nil {
		return nil, fmt.Errorf("call %v: %w", m, err)
	}
	messages, sent, err := s.send(ctx)
	s.mu.Lock()
	s.mu.messages, s.mu.bytes, s.mu.submitted = messages, arg.put+sent, time.Since(s.began)
	s.mu.Unlock()
	if cfg.cast {
		s.castOff()
	} else {
		s.watch(ctx)
	}
	return s, err
}

// admit prepares a submission for being sent, or lets go of its argument.
func (s *Slots) admit(ctx context.Context) error {
	err := ended(ctx)
	if err == nil {
		err = s.chargeAll(ctx)
	}
	if err == nil {
		if err = s.sys.remember(s); err != nil {
			s.uncharge()
		}
	}
	if err != nil {
		s.arg.done()
	}
	return err
}

// watch cancels the calls when ctx ends before they do.
func (s *Slots) watch(ctx context.Context) {
	if ctx.Done() == nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { s.Cancel(ended(ctx)) })
	s.OnDone(func() { stop() })
}
