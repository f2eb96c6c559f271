// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
)

// MaxStrangerTLS is how many bytes the TLS of a connection reads before Trust: a chain of certificates and the handshake behind
// it must fit.
const MaxStrangerTLS = 16 << 10

// errAllowance ends a connection whose peer sends more than a handshake.
var errAllowance = fmt.Errorf("link: peer has sent %d bytes and not proved itself", MaxStrangerTLS)

// bindingLabel and bindingSize describe the exported key material, see RFC 9266 for the idea.
const (
	bindingLabel = "EXPORTER-tutti-handshake"
	bindingSize  = 32
)

// allowance is a connection on which a stranger has only so many bytes to send.
type allowance struct {
	net.Conn
	left   int // used by the reader
	lifted atomic.Bool
}

func newAllowance(nc net.Conn, n int) *allowance { return &allowance{Conn: nc, left: n} }

func (a *allowance) lift() { a.lifted.Store(true) }

// Read implements net.Conn.
func (a *allowance) Read(b []byte) (int, error) {
	if a.lifted.Load() {
		return a.Conn.Read(b)
	}
	if a.left == 0 {
		return 0, errAllowance
	}
	n, err := a.Conn.Read(b[:min(len(b), a.left)])
	a.left -= n
	return n, err
}

// binding returns key material of a connection that is encrypted.
func binding(nc net.Conn) ([]byte, error) {
	conn, ok := nc.(*tls.Conn)
	if !ok {
		return nil, nil
	}
	state := conn.ConnectionState()
	if !state.HandshakeComplete {
		return nil, errors.New("link: binding before the first frame")
	}
	return state.ExportKeyingMaterial(bindingLabel, nil, bindingSize)
}
