// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// maxPath is the longest path of a socket, in bytes. The kernel keeps it with a zero byte behind it.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// Unix is the transport over Unix stream sockets. Addresses are paths, at most 107 bytes long on Linux and
// 103 elsewhere; a socket is created with mode 0600. It has the mode of the umask for a moment before,
// so that its directory should keep strangers out.
type Unix struct{}

var _ Transport = Unix{}

// Listen creates the socket at addr, which must not exist yet.
func (Unix) Listen(addr string) (Listener, error) {
	l, err := listenUnix(addr)
	if err != nil {
		return nil, err
	}
	return unixListener{l}, nil
}

func listenUnix(addr string) (*net.UnixListener, error) {
	if err := checkPath(addr); err != nil {
		return nil, fmt.Errorf("link: listen on %s: %w", addr, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: addr, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("link: listen on %s: %w", addr, err)
	}
	if err := os.Chmod(addr, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("link: listen on %s: %w", addr, err), l.Close())
	}
	return l, nil
}

// Dial connects to the socket at addr.
func (Unix) Dial(ctx context.Context, addr string) (Conn, error) {
	nc, err := dialUnix(ctx, addr)
	if err != nil {
		return nil, err
	}
	return newStream(nc), nil
}

func dialUnix(ctx context.Context, addr string) (*net.UnixConn, error) {
	if err := checkPath(addr); err != nil {
		return nil, fmt.Errorf("link: dial %s: %w", addr, err)
	}
	var d net.Dialer
	for pause := time.Millisecond; ; pause = min(2*pause, 64*time.Millisecond) {
		nc, err := d.DialUnix(ctx, "unix", nil, &net.UnixAddr{Name: addr, Net: "unix"})
		switch {
		case err == nil:
			return nc, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("link: dial %s: %w", addr, context.Cause(ctx))
		case !errors.Is(err, syscall.EAGAIN):
			return nil, fmt.Errorf("link: dial %s: %w", addr, err)
		}
		// So many dial at once that the listener's queue is full, and the kernel does not wait for room.
		wait(ctx, pause)
	}
}

// wait waits for d or for the end of ctx.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

type unixListener struct{ l *net.UnixListener }

func (l unixListener) Accept() (Conn, error) {
	nc, err := l.accept()
	if err != nil {
		return nil, err
	}
	return newStream(nc), nil
}

func (l unixListener) accept() (*net.UnixConn, error) {
	nc, err := l.l.AcceptUnix()
	switch {
	case errors.Is(err, net.ErrClosed):
		return nil, fmt.Errorf("%w: %w", ErrClosed, err)
	case err != nil:
		return nil, fmt.Errorf("link: accept: %w", err)
	}
	return nc, nil
}

func (l unixListener) Addr() string { return l.l.Addr().String() }

func (l unixListener) Close() error {
	if err := l.l.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// checkPath says in words what the kernel would call an invalid argument.
func checkPath(addr string) error {
	if len(addr) > maxPath {
		return fmt.Errorf("the path of a socket may have %d bytes, this one has %d; choose a shorter directory", maxPath, len(addr))
	}
	return nil
}
