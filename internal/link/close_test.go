// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

func TestFramesSentBeforePeerClosedAreDelivered(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		for i := range 10 {
			require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindReply, Seq: uint64(i)}, pattern(0, i, 100)))
		}
		require.NoError(t, a.Close())
		for i := range 10 {
			f, err := b.Recv()
			require.NoError(t, err)
			require.EqualValues(t, i, f.Seq)
		}
		for range 2 {
			_, err := b.Recv()
			require.ErrorIs(t, err, link.ErrClosed)
			require.NotErrorIs(t, err, wire.ErrFrame, "the stream ended between frames")
		}
	})
}

func TestNothingIsReceivedAfterOwnClose(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		for range 10 {
			require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindReply}))
		}
		_, err := b.Recv() // the others may have been read along with it
		require.NoError(t, err)
		require.NoError(t, b.Close())
		_, err = b.Recv()
		require.ErrorIs(t, err, link.ErrClosed)
		require.ErrorIs(t, b.Send(t.Context(), &wire.Header{Kind: wire.KindReply}), link.ErrClosed)
		require.NoError(t, b.Close(), "again")
	})
}

// A Send blocked for room and a blocked Recv end on both sides, whichever side closes.
func TestCloseUnblocksBothSides(t *testing.T) {
	for _, closer := range []string{"sender", "receiver"} {
		t.Run("closer="+closer, func(t *testing.T) {
			eachTwin(t, func(t *testing.T, a, b link.Conn) {
				fillUp(t, a)
				results := make(chan error, 4)
				for range 3 {
					go func() { results <- a.Send(t.Context(), &wire.Header{Kind: wire.KindBlock}, make([]byte, 1<<20)) }()
				}
				go func() {
					_, err := a.Recv()
					results <- err
				}()
				time.Sleep(5 * time.Millisecond) // so that they are mostly blocked; the outcome is the same if not
				c := a
				if closer == "receiver" {
					c = b
				}
				require.NoError(t, c.Close())
				for range 4 {
					require.ErrorIs(t, <-results, link.ErrClosed)
				}
				for { // what arrived is still there for the other side; then it ends too
					if _, err := b.Recv(); err != nil {
						require.ErrorIs(t, err, link.ErrClosed)
						break
					}
				}
			})
		})
	}
}

func TestConcurrentCloseSendAndRecv(t *testing.T) {
	for _, tw := range twins {
		t.Run("link="+tw.name, func(t *testing.T) {
			leakcheck.Check(t)
			for range 50 {
				a, b := tw.pair(t)
				var wg sync.WaitGroup
				for _, c := range []link.Conn{a, b} {
					for range 2 {
						wg.Go(func() {
							for {
								if err := c.Send(t.Context(), &wire.Header{Kind: wire.KindBlock}, make([]byte, 3000)); err != nil {
									assert.ErrorIs(t, err, link.ErrClosed)
									return
								}
							}
						})
					}
					wg.Go(func() {
						for {
							if _, err := c.Recv(); err != nil {
								assert.ErrorIs(t, err, link.ErrClosed)
								return
							}
						}
					})
				}
				wg.Go(func() { assert.NoError(t, a.Close()) })
				wg.Go(func() { assert.NoError(t, a.Close()) })
				wg.Go(func() { assert.NoError(t, b.Close()) })
				wg.Wait()
			}
		})
	}
}
