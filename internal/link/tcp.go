// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	// tcpIdle is how long a connection may be idle before the kernel asks whether the peer's host is still there, and how
	// often it asks again; tcpProbes is how often in vain.
	tcpIdle   = 10 * time.Second
	tcpPause  = 5 * time.Second
	tcpProbes = 4
	// tcpUserTimeout is how long bytes may go unacknowledged before the connection ends, where the system knows such a
	// bound. The heartbeat of the control plane is usually faster.
	tcpUserTimeout = 30 * time.Second
)

// TCP is the transport between hosts. Addresses are "host:port", where host is a name, an IPv4 address or an IPv6 address in
// brackets; a listener takes an empty host for all addresses of both families, and port 0 for any free one.
//
// With TLS every connection is encrypted. Its configuration is for both sides, so that it has certificates, roots, and client authorities; see
// package certs. Before Trust a peer can make the handshake of TLS read at most [MaxStrangerTLS] bytes.
type TCP struct {
	TLS *tls.Config // nil: plain
}

var _ Transport = TCP{}

// Listen implements Transport.
func (t TCP) Listen(addr string) (Listener, error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	var l *net.TCPListener
	if err == nil {
		l, err = net.ListenTCP("tcp", a)
	}
	if err != nil {
		return nil, fmt.Errorf("link: listen on %s: %w", addr, err)
	}
	return tcpListener{l, t.TLS}, nil
}

// Dial implements Transport. With TLS it returns when the listener has proved itself.
func (t TCP) Dial(ctx context.Context, addr string) (Conn, error) {
	var d net.Dialer
	d.SetMultipathTCP(false) // options of the socket would not reach its subflows
	nc, err := d.DialContext(ctx, "tcp", addr)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("link: dial %s: %w", addr, context.Cause(ctx))
	case err != nil:
		return nil, fmt.Errorf("link: dial %s: %w", addr, err)
	}
	s, err := newTCPStream(nc, t.TLS, tls.Client)
	if err == nil && t.TLS != nil {
		err = shakeHands(ctx, s.nc)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("link: dial %s: %w", addr, err), nc.Close())
	}
	return s, nil
}

func shakeHands(ctx context.Context, nc net.Conn) error {
	conn, ok := nc.(*tls.Conn)
	if !ok {
		return nil
	}
	err := conn.HandshakeContext(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

type tcpListener struct {
	l   net.Listener
	tls *tls.Config
}

func (l tcpListener) Accept() (Conn, error) {
	nc, err := l.l.Accept()
	switch {
	case errors.Is(err, net.ErrClosed):
		return nil, fmt.Errorf("%w: %w", ErrClosed, err)
	case err != nil:
		return nil, fmt.Errorf("link: accept: %w", err)
	}
	s, err := newTCPStream(nc, l.tls, tls.Server) // which shakes hands at the first Recv, for Accept must not wait
	if err != nil {
		return nil, errors.Join(fmt.Errorf("link: accept: %w", err), nc.Close())
	}
	return s, nil
}

func (l tcpListener) Addr() string { return l.l.Addr().String() }

func (l tcpListener) Close() error {
	if err := l.l.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// newTCPStream makes a connection of a socket.
func newTCPStream(nc net.Conn, cfg *tls.Config, side func(net.Conn, *tls.Config) *tls.Conn) (*stream, error) {
	if tcp, ok := nc.(*net.TCPConn); ok {
		alive := net.KeepAliveConfig{Enable: true, Idle: tcpIdle, Interval: tcpPause, Count: tcpProbes}
		err := errors.Join(tcp.SetNoDelay(true), tcp.SetKeepAliveConfig(alive), setUserTimeout(tcp, tcpUserTimeout))
		if err != nil {
			return nil, err
		}
	}
	if cfg == nil {
		return newStream(nc), nil
	}
	allowance := newAllowance(nc, MaxStrangerTLS)
	s := &stream{nc: side(allowance, cfg), end: nc, tls: true, trust: allowance.lift}
	return s, nil
}

// Local returns the address of this side of a connection, or "" if it has none.
func Local(c Conn) string {
	if s, ok := c.(*stream); ok {
		return s.nc.LocalAddr().String()
	}
	return ""
}

// IsTCP tells whether a connection is one of TCP's.
func IsTCP(c Conn) bool {
	s, ok := c.(*stream)
	if !ok {
		return false
	}
	end := s.end
	_, ok = end.(*net.TCPConn)
	return ok
}

// ByAddress is the transport that looks at the address: one with a path separator in it is a Unix socket's, any other
// is TCP's.
type ByAddress struct {
	Local Transport // of paths
	TCP   TCP
}

var _ Transport = ByAddress{}

func (t ByAddress) of(addr string) Transport {
	if IsPath(addr) {
		return t.Local
	}
	return t.TCP
}

// Listen implements Transport.
func (t ByAddress) Listen(addr string) (Listener, error) { return t.of(addr).Listen(addr) }

// Dial implements Transport.
func (t ByAddress) Dial(ctx context.Context, addr string) (Conn, error) {
	return t.of(addr).Dial(ctx, addr)
}

// IsPath tells whether an address is that of a Unix socket.
func IsPath(addr string) bool { return strings.ContainsRune(addr, os.PathSeparator) }

// IsRefused tells whether a failure to dial says that nobody listens there, or not yet: a host that is there and has closed the
// port, or a name or a way that does not exist.
func IsRefused(err error) bool {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) ||
		errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ETIMEDOUT)
}
