// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/internal/scope"
)

// callContext is the context of one call. It ends with the batch that the call belongs to and with the actor, and
// leads to the actor's scope. Most methods never ask for its end, so what that takes is made at the first request. It is small, for every call of every
// actor has one that the collector must find, as a method may keep it.
type callContext struct {
	life  *incarnation
	slot  uint32
	place uint32 // among the actor's active calls; guarded by the actor

	derived atomic.Pointer[derivedContext] // nil until somebody asks; set under the lock, and read without, for a method may ask all the time

	mu struct {
		sync.Mutex
		call *inbound // nil when the call has ended: it may be another call then
	}
}

// derivedContext is what the end of a call's context takes.
type derivedContext struct {
	context.Context //nolint:containedctx // of the call

	cancel context.CancelCauseFunc
	stop   func() bool
}

func (c *callContext) derive() context.Context {
	if d := c.derived.Load(); d != nil {
		return d
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deriveLocked()
}

// interrupt ends the context of one slot of a call while that runs, and reports whether it is this one.
func (c *callContext) interrupt(key inboundKey, slot uint32, cause error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.slot != slot || c.mu.call == nil || c.mu.call.key != key {
		return false
	}
	c.deriveLocked().cancel(cause)
	return true
}

func (c *callContext) deriveLocked() *derivedContext {
	if d := c.derived.Load(); d != nil {
		return d
	}
	parent := c.life.ctx
	if c.mu.call != nil {
		parent = c.mu.call.batch.get()
	}
	d, life := new(derivedContext), c.life.ctx
	d.Context, d.cancel = context.WithCancelCause(parent)
	d.stop = context.AfterFunc(life, func() { d.cancel(context.Cause(life)) })
	if c.mu.call == nil {
		d.end()
	}
	c.derived.Store(d)
	return d
}

func (d *derivedContext) end() {
	d.stop()
	d.cancel(context.Canceled)
}

// Deadline implements context.Context.
func (c *callContext) Deadline() (time.Time, bool) {
	if d := c.derived.Load(); d != nil {
		return d.Deadline()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.call == nil {
		return time.Time{}, false
	}
	return c.mu.call.batch.deadline()
}

// Done implements context.Context.
func (c *callContext) Done() <-chan struct{} { return c.derive().Done() }

// Err implements context.Context.
func (c *callContext) Err() error { return c.derive().Err() }

// Value implements context.Context.
func (c *callContext) Value(key any) any {
	if scope.IsKey(key) {
		return c.life.scope
	}
	if key == (callKey{}) {
		return c
	}
	// Package context finds here that Done is the channel of a context of its own, and spares a goroutine, and the cause of its end.
	return c.derive().Value(key)
}

// end cancels the context when the call has returned.
func (c *callContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.call = nil
	if d := c.derived.Load(); d != nil {
		d.end()
	}
}
