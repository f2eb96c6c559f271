// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

// In virtual time it can be said exactly when a call is blocked.
func TestMemoryBackpressureInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := link.Pipe()
		a.Trust()
		b.Trust()
		const frames = link.MaxQueued / (1 << 20)
		body := make([]byte, 1<<20-wire.HeaderSize)
		for i := range frames { // exactly full
			require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindBlock, Seq: uint64(i)}, body))
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		err := a.Send(ctx, &wire.Header{Kind: wire.KindCancel})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Hour, time.Since(start), "blocked until the deadline, not a moment longer")

		sent := make(chan error, 1)
		go func() { sent <- a.Send(t.Context(), &wire.Header{Kind: wire.KindBlock, Seq: frames}, body) }()
		synctest.Wait()
		require.Empty(t, sent, "blocked")
		f, err := b.Recv()
		require.NoError(t, err)
		require.Zero(t, f.Seq)
		synctest.Wait()
		require.Len(t, sent, 1, "the room of one frame is room for one frame")
		require.NoError(t, <-sent)
		require.NoError(t, b.Send(t.Context(), &wire.Header{Kind: wire.KindReply}), "the other direction is not concerned")
		require.NoError(t, a.Close())
	})
}

func TestMemoryCloseInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := link.Pipe()
		a.Trust()
		b.Trust()
		results := make(chan error, 2)
		for _, c := range []link.Conn{a, b} {
			go func() {
				_, err := c.Recv()
				results <- err
			}()
		}
		synctest.Wait()
		require.Empty(t, results)
		require.NoError(t, b.Close())
		synctest.Wait()
		require.Len(t, results, 2)
		require.ErrorIs(t, <-results, link.ErrClosed)
		require.ErrorIs(t, <-results, link.ErrClosed)
	})
}

func TestMemoryListenerInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(link.Memory)
		l, err := m.Listen("a")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = m.Dial(ctx, "a") // nobody accepts
		require.ErrorIs(t, err, context.DeadlineExceeded)

		dialled := make(chan error, 1)
		go func() {
			_, err := m.Dial(t.Context(), "a")
			dialled <- err
		}()
		synctest.Wait()
		require.NoError(t, l.Close())
		require.ErrorIs(t, <-dialled, link.ErrClosed)
	})
}
