// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"net"
	"sync"
)

// conduit is a listener for the control plane: the connections come from the mesh, where their peers have proved themselves.
type conduit struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newConduit() *conduit {
	return &conduit{conns: make(chan net.Conn, 64), closed: make(chan struct{})}
}

// give hands a connection over. It is hung up on if the control plane has ended or is far behind.
func (c *conduit) give(nc net.Conn) {
	select {
	case c.conns <- nc:
		return
	case <-c.closed:
	default:
	}
	_ = nc.Close() // the peer finds out, and tries again
}

// Accept implements net.Listener.
func (c *conduit) Accept() (net.Conn, error) {
	select {
	case nc := <-c.conns:
		return nc, nil
	case <-c.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (c *conduit) Close() error {
	c.once.Do(func() { close(c.closed) })
	for {
		select {
		case nc := <-c.conns:
			_ = nc.Close() // nobody takes it any more
		default:
			return nil
		}
	}
}

// Addr implements net.Listener.
func (c *conduit) Addr() net.Addr { return &net.UnixAddr{Name: "control", Net: "unix"} }
