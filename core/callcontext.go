// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"sync"
	"time"

	"github.com/tutti-go/tutti/internal/scope"
)

// callContext is the context of one call. It ends with the batch that the call belongs to and with the actor, and
// leads to the actor's scope. Most methods never ask for its end, so what that takes is made at the first request.
type callContext struct {
	node  *node
	life  *incarnation
	call  *inbound // not to be touched when mu.ended is set: it may be another call then
	key   inboundKey
	slot  uint32
	place int // among the actor's active calls; guarded by the actor

	mu struct {
		sync.Mutex
		ended   bool
		derived context.Context //nolint:containedctx // nil until somebody asks
		cancel  context.CancelCauseFunc
		stop    func() bool
	}
}

func (c *callContext) derive() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deriveLocked()
}

// interrupt ends the context while the call runs.
func (c *callContext) interrupt(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deriveLocked()
	c.mu.cancel(cause)
}

func (c *callContext) deriveLocked() context.Context {
	if c.mu.derived == nil {
		parent := c.life.ctx
		if !c.mu.ended {
			parent = c.call.batch.get()
		}
		c.mu.derived, c.mu.cancel = context.WithCancelCause(parent) //nolint:fatcontext // made once
		cancel := c.mu.cancel
		c.mu.stop = context.AfterFunc(c.life.ctx, func() { cancel(context.Cause(c.life.ctx)) })
		if c.mu.ended {
			c.mu.stop()
			c.mu.cancel(context.Canceled)
		}
	}
	return c.mu.derived
}

// Deadline implements context.Context.
func (c *callContext) Deadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.mu.derived != nil:
		return c.mu.derived.Deadline()
	case c.mu.ended:
		return time.Time{}, false
	}
	return c.call.batch.deadline()
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
	c.mu.ended = true
	if c.mu.derived != nil {
		c.mu.stop()
		c.mu.cancel(context.Canceled)
	}
}
