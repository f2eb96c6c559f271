// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

func TestListenersAndDials(t *testing.T) {
	for name, tr := range map[string]link.Transport{"unix": link.Unix{}, "memory": new(link.Memory)} {
		t.Run("link="+name, func(t *testing.T) {
			leakcheck.Check(t)
			addr := socketPath(t)
			_, err := tr.Dial(t.Context(), addr)
			require.ErrorContains(t, err, "link: dial "+addr, "nobody listens yet")

			l, err := tr.Listen(addr)
			require.NoError(t, err)
			_, err = tr.Listen(addr)
			require.ErrorContains(t, err, "in use")

			accepted := make(chan error, 1)
			go func() {
				_, err := l.Accept()
				accepted <- err
			}()
			require.NoError(t, l.Close())
			require.ErrorIs(t, <-accepted, link.ErrClosed)
			require.NoError(t, l.Close(), "again")
			_, err = l.Accept()
			require.ErrorIs(t, err, link.ErrClosed)
			_, err = tr.Dial(t.Context(), addr)
			require.Error(t, err)

			again, err := tr.Listen(addr)
			require.NoError(t, err, "the address is free again")
			require.NoError(t, again.Close())
		})
	}
}

func TestDialStopsWithItsContext(t *testing.T) {
	m := new(link.Memory)
	l, err := m.Listen("busy") // nobody accepts
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("changed my mind")
	cancel(cause)
	_, err = m.Dial(ctx, "busy")
	require.ErrorIs(t, err, cause)
	require.NoError(t, l.Close())

	addr := socketPath(t)
	l, err = link.Unix{}.Listen(addr)
	require.NoError(t, err)
	_, err = link.Unix{}.Dial(ctx, addr)
	require.ErrorIs(t, err, cause)
	require.NoError(t, l.Close())
}

func TestManyConnectionsOnOneListener(t *testing.T) {
	const conns = 64
	for name, tr := range map[string]link.Transport{"unix": link.Unix{}, "memory": new(link.Memory)} {
		t.Run("link="+name, func(t *testing.T) {
			leakcheck.Check(t)
			addr := socketPath(t)
			l, err := tr.Listen(addr)
			require.NoError(t, err)
			var wg sync.WaitGroup
			wg.Go(func() { // echoes one frame per connection
				for range conns {
					c, err := l.Accept()
					if !assert.NoError(t, err) {
						return
					}
					wg.Go(func() {
						f, err := c.Recv()
						assert.NoError(t, err)
						assert.NoError(t, c.Send(t.Context(), &f.Header, f.Body))
						_, err = c.Recv()
						assert.ErrorIs(t, err, link.ErrClosed)
						assert.NoError(t, c.Close())
					})
				}
			})
			for i := range conns {
				wg.Go(func() {
					c, err := tr.Dial(t.Context(), addr)
					if !assert.NoError(t, err) {
						return
					}
					assert.NoError(t, c.Send(t.Context(), &wire.Header{Kind: wire.KindCall}, fmt.Append(nil, i)))
					f, err := c.Recv()
					assert.NoError(t, err)
					assert.Equal(t, strconv.Itoa(i), string(f.Body))
					assert.NoError(t, c.Close())
				})
			}
			wg.Wait()
			require.NoError(t, l.Close())
		})
	}
}
