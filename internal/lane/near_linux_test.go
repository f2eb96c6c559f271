// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package lane_test

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tutti-go/tutti/internal/lane"
)

// What is under way to a peer of the same machine stays in the processor's cache; to others the system finds out how much fills the distance.
func TestOnlyALaneToTheSameAddressHasABoundedSendBuffer(t *testing.T) {
	const most = 2 * 256 << 10 // the system counts what it needs itself
	for name, to := range map[string]string{"same": "127.0.0.1", "other": "127.0.0.2"} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", net.JoinHostPort(to, "0"))
			require.NoError(t, err)
			defer func() { assert.NoError(t, l.Close()) }()
			from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}
			a, err := from.DialContext(t.Context(), "tcp", l.Addr().String())
			require.NoError(t, err)
			b, err := l.Accept()
			require.NoError(t, err)
			var reader, writers goroutines
			reader.Go(func() { _, _ = io.Copy(io.Discard, b) })
			s := lane.NewSet(1, func() (net.Conn, error) { return a, nil }, writers.start)
			book := newLedger()
			const count, size = 64, 256 << 10
			for i := range count {
				require.NoError(t, s.Send(book.segment(i, size)))
			}
			book.await(count)
			assert.Equal(t, to == "127.0.0.1", sendBuffer(t, a) <= most, "%d bytes", sendBuffer(t, a))
			s.Close(errOver)
			writers.Wait()
			require.NoError(t, a.Close())
			reader.Wait()
			require.NoError(t, b.Close())
		})
	}
}

func sendBuffer(t *testing.T, nc net.Conn) int {
	t.Helper()
	tcp, ok := nc.(*net.TCPConn)
	require.True(t, ok)
	raw, err := tcp.SyscallConn()
	require.NoError(t, err)
	var size int
	require.NoError(t, raw.Control(func(fd uintptr) { size, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF) }))
	require.NoError(t, err)
	return size
}
