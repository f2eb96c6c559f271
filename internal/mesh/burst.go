// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"context"
	"errors"
	"slices"

	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

// Burst sends frames to many nodes. To wake a node costs many times what it costs to leave it a frame, and the node that
// wakes takes the processor from who wakes it: so all get their frames first, and whoever waits is woken afterwards, beside the
// caller. A Burst is for one goroutine.
type Burst struct {
	m    *Mesh
	held []link.Holder
}

// Burst returns a burst of up to n frames. End must follow.
func (m *Mesh) Burst(n int) *Burst {
	b, ok := m.bursts.Get().(*Burst)
	if !ok {
		b = &Burst{m: m}
	}
	b.held = slices.Grow(b.held, n)
	return b
}

// Send is Mesh.Send. Where it has to wait, for a connection or for room, nobody waits for End.
func (b *Burst) Send(ctx context.Context, to NodeID, h *wire.Header, body ...[]byte) error {
	if to != b.m.cfg.Self {
		b.m.mu.Lock()
		known, err := b.m.knownLocked(to)
		b.m.mu.Unlock()
		if err != nil {
			return err
		}
		if known.holder != nil {
			err := known.holder.Hold(h, body...)
			if err == nil {
				b.held = append(b.held, known.holder)
				return nil
			}
			if !errors.Is(err, link.ErrNoRoom) {
				return b.m.sendError(to, h, err)
			}
		}
	}
	b.ring()
	return b.m.Send(ctx, to, h, body...)
}

// fewToWake is how many nodes one goroutine wakes.
const fewToWake = 100

// End wakes the nodes that wait for what was sent. The burst must not be used afterwards. Of many nodes, several goroutines wake a part each: the
// nodes that are awake take the processor from one that wakes others, and no node should wait behind all before it.
func (b *Burst) End() {
	for n := len(b.held); n > fewToWake; n = len(b.held) {
		part := b.m.Burst(fewToWake)
		part.held = append(part.held, b.held[n-fewToWake:]...)
		clear(b.held[n-fewToWake:])
		b.held = b.held[:n-fewToWake]
		part.End()
	}
	if len(b.held) < 2 || !b.m.Go(b.end) {
		b.end()
	}
}

func (b *Burst) end() {
	b.ring()
	b.m.bursts.Put(b)
}

func (b *Burst) ring() {
	for _, c := range b.held {
		c.Ring()
	}
	clear(b.held)
	b.held = b.held[:0]
}

// TrySend is Send where that does not wait, and reports whether the frame is on its way.
func (m *Mesh) TrySend(to NodeID, h *wire.Header, body ...[]byte) bool {
	m.mu.Lock()
	known, err := m.knownLocked(to)
	m.mu.Unlock()
	if err != nil || known.holder == nil || known.holder.Hold(h, body...) != nil {
		return false
	}
	known.holder.Ring()
	return true
}
