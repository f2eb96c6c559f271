// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A host that vanishes between two frames, or with bytes under way, is noticed by the kernel, which keeps its own time.
func TestTheKernelIsToldHowLongAHostMayBeSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	for _, cfg := range []*tls.Config{nil, {MinVersion: tls.VersionTLS13}} {
		nc, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		s, err := newTCPStream(nc, cfg, tls.Client)
		require.NoError(t, err)
		tcp, ok := nc.(*net.TCPConn)
		require.True(t, ok)
		raw, err := tcp.SyscallConn()
		require.NoError(t, err)
		for option, want := range map[int]time.Duration{
			unix.TCP_KEEPIDLE: tcpIdle / time.Second, unix.TCP_KEEPINTVL: tcpPause / time.Second, unix.TCP_KEEPCNT: tcpProbes,
			unix.TCP_USER_TIMEOUT: tcpUserTimeout / time.Millisecond,
		} {
			var got int
			require.NoError(t, raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option) }))
			require.NoError(t, err)
			require.EqualValues(t, want, got, "option %d", option)
		}
		require.NoError(t, s.Close())
	}
}
