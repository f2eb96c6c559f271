// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package lane

import "net"

// nearBytes is the room for what is sent and not yet read by a peer at the same address. There is no distance to fill, and the system would let so much
// pile up (4 MiB) that the processor's cache has forgotten it when it is read: with a quarter of a MiB, an all-reduce over loopback takes two thirds of the time.
// See docs/decisions/0019-lanes.md.
const nearBytes = 256 << 10

// keepNear bounds what is under way on a connection that does not leave the machine, as far as its addresses tell.
func keepNear(nc net.Conn) {
	if outer, ok := nc.(interface{ NetConn() net.Conn }); ok { // TLS
		nc = outer.NetConn()
	}
	if tcp, ok := nc.(*net.TCPConn); ok && sameAddress(tcp.LocalAddr(), tcp.RemoteAddr()) {
		_ = tcp.SetWriteBuffer(nearBytes) // it works with any
	}
}

func sameAddress(a, b net.Addr) bool {
	one, ok := a.(*net.TCPAddr)
	if !ok {
		return false
	}
	other, ok := b.(*net.TCPAddr)
	return ok && one.IP.Equal(other.IP)
}
