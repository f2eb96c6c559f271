// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tutti-go/tutti/internal/lane"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

// A lane is a connection beside the link to a node, which carries what package lane makes of it, from who dialled to who accepted. Its
// handshake is that of the link. It lives as long as both nodes: a lane that ends, however that is, may have lost what it carried, so that the node
// at its other end is lost. But the link comes first: when a node ends all its connections do, in any order, and what it sent
// on the link before is still to be handled.

// LaneHandler receives what comes over one lane, until it ends, and returns why.
type LaneHandler func(from NodeID, nc net.Conn) error

// laneGrace is how long a link has to end before the end of a lane counts.
const laneGrace = time.Second

// errNoLanes ends a lane.
var errNoLanes = errors.New("the connection cannot be a lane")

// HandleLanes installs the receiver of lanes, in place of an earlier one. Without one they are refused.
func (m *Mesh) HandleLanes(h LaneHandler) { m.landings.Store(&h) }

// Lanes returns the lanes to a node, up to most of them, all of which the first call sets up, or nil where its link is good enough: one that is no TCP
// connection, or not there yet. The node must have a handler for them.
func (m *Mesh) Lanes(to NodeID, most int) *lane.Set {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.mu.sets[to]; s != nil {
		return s
	}
	known, err := m.knownLocked(to)
	if err != nil || known.conn == nil || !link.IsTCP(known.conn) {
		return nil
	}
	s := lane.NewSet(most, func() (net.Conn, error) { return m.openLane(to) }, m.Go)
	m.mu.sets[to] = s
	return s
}

// openLane opens a lane to a node.
func (m *Mesh) openLane(to NodeID) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(m.ctx, handshakeTimeout, errSlow)
	defer cancel()
	conn, err := m.open(ctx, to, wire.PurposeLane)
	if err != nil {
		return nil, err
	}
	// Nothing comes: the end does, sooner than a write that fails would tell.
	return m.adoptLane(to, conn, func(_ NodeID, nc net.Conn) error {
		if n, err := nc.Read(make([]byte, 1)); n == 0 {
			return err
		}
		return fmt.Errorf("%w: bytes on a lane to who sends on it", wire.ErrFrame)
	})
}

// serveLane takes a lane that a node has opened into service.
func (m *Mesh) serveLane(from NodeID, conn link.Conn) error {
	_, err := m.adoptLane(from, conn, *m.landings.Load())
	return err
}

// adoptLane takes a lane into service, and runs serve on it.
func (m *Mesh) adoptLane(node NodeID, conn link.Conn, serve LaneHandler) (net.Conn, error) {
	d, ok := conn.(link.Detacher)
	if !ok {
		return nil, errors.Join(errNoLanes, conn.Close())
	}
	nc, err := d.Detach()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.mu.closed:
		err = ErrClosed
	case m.mu.lost[node] != nil:
		err = m.mu.lost[node]
	}
	if err != nil {
		hangUp(nc)
		return nil, err
	}
	m.mu.lanes[nc] = node
	m.wg.Go(func() {
		err := serve(node, nc)
		if errors.Is(err, io.EOF) {
			err = errors.New("the peer closed it")
		}
		m.retireLane(node, nc, fmt.Errorf("a lane ended: %w", err))
	})
	return nc, nil
}

// retireLane takes a lane out of service, and with it the node at its other end.
func (m *Mesh) retireLane(node NodeID, nc net.Conn, cause error) {
	m.mu.Lock()
	delete(m.mu.lanes, nc)
	known := m.mu.closed || m.mu.lost[node] != nil
	m.mu.Unlock()
	hangUp(nc)
	if known {
		return
	}
	if errors.Is(cause, wire.ErrFrame) && !errors.Is(cause, io.ErrUnexpectedEOF) {
		m.cfg.Logger.Error("bad frame, closing the lane", "peer", node, "err", cause)
	}
	m.pause(laneGrace)
	if m.ctx.Err() == nil {
		_ = m.Lost(node, cause) // if it is lost already, the first cause counts
	}
}

// closeLanes closes the lanes of a node, or all.
func (m *Mesh) closeLanes(of *NodeID, cause error) {
	m.mu.Lock()
	var conns []net.Conn
	for nc, node := range m.mu.lanes {
		if of == nil || node == *of {
			conns = append(conns, nc)
		}
	}
	var sets []*lane.Set
	for node, s := range m.mu.sets {
		if of == nil || node == *of {
			sets = append(sets, s)
		}
	}
	m.mu.Unlock()
	for _, nc := range conns {
		hangUp(nc)
	}
	for _, s := range sets {
		s.Close(cause)
	}
}

// hangUp closes a connection at once: the farewell of TLS might wait for a peer that does not read.
func hangUp(nc net.Conn) {
	if outer, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = outer.NetConn()
	}
	_ = nc.Close() // it is closed, or about to fail anyway
}
