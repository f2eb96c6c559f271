// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/link"
)

// shortQueue listens on a socket that keeps one connection waiting, not thousands as package net asks for.
func shortQueue(t *testing.T) (addr string, l net.Listener) {
	t.Helper()
	addr = socketPath(t)
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: addr}))
	require.NoError(t, syscall.Listen(fd, 1))
	f := os.NewFile(uintptr(fd), addr)
	l, err = net.FileListener(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
	return addr, l
}

// When hundreds of nodes dial one at once, its queue may be full. That is no reason to fail.
func TestDialWaitsForAFullQueue(t *testing.T) {
	leakcheck.Check(t)
	addr, l := shortQueue(t)
	const conns = 20
	var wg sync.WaitGroup
	for range conns {
		wg.Go(func() {
			c, err := link.Unix{}.Dial(t.Context(), addr)
			if assert.NoError(t, err) {
				assert.NoError(t, c.Close())
			}
		})
	}
	for range conns {
		c, err := l.Accept()
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	wg.Wait()
}

func TestDialGivesUpOnAFullQueueWithItsContext(t *testing.T) {
	leakcheck.Check(t)
	addr, _ := shortQueue(t)
	cause := errors.New("no patience")
	ctx, cancel := context.WithCancelCause(t.Context())
	timer := time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
	defer timer.Stop()
	for {
		c, err := link.Unix{}.Dial(ctx, addr)
		if err != nil {
			require.ErrorContains(t, err, "link: dial "+addr)
			require.ErrorIs(t, err, cause)
			return
		}
		require.NoError(t, c.Close()) // waits in the queue all the same
	}
}
