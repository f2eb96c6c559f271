// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// maxGuests is how many connections may be in the handshake at once; others wait in the kernel's queue.
	maxGuests = 512
	// guestPatience is how long a connection has at least for its handshake when others wait. Those who belong here are
	// done in a few milliseconds, so that strangers who only hold places give way to them.
	guestPatience = 3 * time.Second
)

// errCrowded ends a handshake.
var errCrowded = errors.New("others wait, and this connection has not proved itself yet")

// guest is a connection that has not proved itself.
type guest struct {
	ctx    context.Context //nolint:containedctx // of the handshake; ends when others need the place
	cancel context.CancelCauseFunc
	since  time.Time
}

// door bounds the guests. The zero value is ready.
type door struct {
	mu struct {
		sync.Mutex
		guests []*guest      // oldest first
		left   chan struct{} // closed and forgotten when a guest leaves; nil while nobody waits
	}
}

// enter waits for a place. It takes that of the oldest guest when its patience is over. When ctx ends it does not wait any more, and the
// guest's context has ended, too.
func (d *door) enter(ctx context.Context, log *slog.Logger) *guest {
	g := &guest{}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	for {
		d.mu.Lock()
		if len(d.mu.guests) < maxGuests || ctx.Err() != nil {
			g.since = time.Now()
			d.mu.guests = append(d.mu.guests, g)
			d.mu.Unlock()
			return g
		}
		if d.mu.left == nil {
			d.mu.left = make(chan struct{})
		}
		left, oldest := d.mu.left, d.mu.guests[0]
		d.mu.Unlock()
		rest := time.Until(oldest.since.Add(guestPatience))
		if rest <= 0 && oldest.ctx.Err() == nil {
			log.Warn("too many connections at once that do not prove themselves, dropping the oldest", "bound", maxGuests)
			oldest.cancel(errCrowded)
		}
		awaitPlace(ctx, left, rest)
	}
}

// awaitPlace waits until a guest has left, ctx ends, or, if it is positive, d has passed.
func awaitPlace(ctx context.Context, left <-chan struct{}, d time.Duration) {
	var over <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-left:
	case <-over:
	case <-ctx.Done():
	}
}

func (d *door) leave(g *guest) {
	g.cancel(nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.Index(d.mu.guests, g); i >= 0 {
		d.mu.guests = slices.Delete(d.mu.guests, i, i+1)
	}
	if d.mu.left != nil {
		close(d.mu.left)
		d.mu.left = nil
	}
}
