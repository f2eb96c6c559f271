// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"sync"
	"time"
)

// batchContext is the context of one call message at a node. It ends with the deadline, the caller's cancellation, or the node. Most
// calls end before anybody asks, so what that takes is made at the first request.
type batchContext struct {
	parent  context.Context //nolint:containedctx // of the node
	expires time.Time       // zero if there is no deadline

	mu struct {
		sync.Mutex
		cause  error           // why it was cancelled; nil if it was not
		ctx    context.Context //nolint:containedctx // nil until somebody asks
		cancel context.CancelCauseFunc
		stop   context.CancelFunc // of the deadline
	}
}

func (b *batchContext) begin(parent context.Context, expires time.Time) {
	b.parent, b.expires = parent, expires
}

// get returns the context.
func (b *batchContext) get() context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.ctx == nil {
		b.mu.ctx, b.mu.cancel = context.WithCancelCause(b.parent) //nolint:fatcontext // made once
		if !b.expires.IsZero() {
			b.mu.ctx, b.mu.stop = context.WithDeadline(b.mu.ctx, b.expires)
		}
		if b.mu.cause != nil {
			b.endLocked()
		}
	}
	return b.mu.ctx
}

// end cancels the context. Only the first cause counts; nil stands for context.Canceled.
func (b *batchContext) end(cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.cause != nil {
		return
	}
	b.mu.cause = cause
	if cause == nil {
		b.mu.cause = context.Canceled
	}
	if b.mu.ctx != nil {
		b.endLocked()
	}
}

func (b *batchContext) endLocked() {
	b.mu.cancel(b.mu.cause)
	if b.mu.stop != nil {
		b.mu.stop()
	}
}

// ended returns why the call is over, or nil. Of the end of the node it may not know: an actor's own context does.
func (b *batchContext) ended() error {
	if !b.expires.IsZero() {
		return context.Cause(b.get())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.cause
}

// causeOf is context.Cause, for a context that has most likely not ended.
func causeOf(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}

func (b *batchContext) deadline() (time.Time, bool) { return b.expires, !b.expires.IsZero() }
