// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

// Unix is the transport over Unix stream sockets. Addresses are paths, at most about 100
// bytes long; a socket is created with mode 0600.
type Unix struct{}

var _ Transport = Unix{}

// Listen creates the socket at addr, which must not exist yet.
func (Unix) Listen(addr string) (Listener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: addr, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("link: listen on %s: %w", addr, err)
	}
	if err := os.Chmod(addr, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("link: listen on %s: %w", addr, err), l.Close())
	}
	return unixListener{l}, nil
}

// Dial connects to the socket at addr.
func (Unix) Dial(ctx context.Context, addr string) (Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", addr)
	if err != nil {
		return nil, fmt.Errorf("link: dial %s: %w", addr, err)
	}
	return newStream(nc), nil
}

type unixListener struct{ l *net.UnixListener }

func (l unixListener) Accept() (Conn, error) {
	nc, err := l.l.Accept()
	if err != nil {
		return nil, fmt.Errorf("%w: accept: %w", ErrClosed, err)
	}
	return newStream(nc), nil
}

func (l unixListener) Close() error { return l.l.Close() }
