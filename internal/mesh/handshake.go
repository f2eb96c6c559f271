// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tutti-go/tutti/internal/handshake"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

// handshakeTimeout bounds the time that a new connection may take to say who it is.
const handshakeTimeout = 10 * time.Second

// errSlow ends a handshake. It is not context.DeadlineExceeded, which would look like the caller's deadline.
var errSlow = fmt.Errorf("no handshake within %v", handshakeTimeout)

// party is this side of a handshake for a purpose; who accepts repeats the other's.
func (m *Mesh) party(p wire.Purpose) handshake.Party {
	return handshake.Party{
		Hello:  wire.Hello{Node: m.cfg.Self, Incarnation: m.cfg.Incarnation, Table: m.cfg.Table, Purpose: p},
		Secret: m.cfg.Secret,
	}
}

// dial opens a connection, proves who dials, and returns the connection that Send is to use: this one,
// or one on which the peer was faster.
func (m *Mesh) dial(ctx context.Context, to NodeID) (link.Conn, error) {
	conn, err := m.open(ctx, to, wire.PurposeLink)
	if err != nil {
		return nil, err
	}
	use, err := m.adopt(to, conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return use, nil
}

// open opens a connection for a purpose, on which both sides have proved themselves.
func (m *Mesh) open(ctx context.Context, to NodeID, p wire.Purpose) (link.Conn, error) {
	addr, err := m.cfg.Address(ctx, to)
	var conn link.Conn
	if err == nil {
		conn, err = m.cfg.Transport.Dial(ctx, addr)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("connect to node %d: %w", to, context.Cause(ctx))
	case err != nil:
		return nil, fmt.Errorf("connect to node %d: %w", to, err)
	}
	// Recv takes no context: closing the connection ends it.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = m.introduce(ctx, to, conn, p)
	if !stop() && err == nil {
		err = fmt.Errorf("connect to node %d: %w", to, context.Cause(ctx))
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (m *Mesh) introduce(ctx context.Context, to NodeID, conn link.Conn, p wire.Purpose) error {
	_, err := m.party(p).Dial(ctx, conn, func(peer wire.Hello) error {
		if peer.Node != to { // an address may be somebody else's by now
			return fmt.Errorf("node %d answers at its address", peer.Node)
		}
		return nil
	})
	if refused, ok := errors.AsType[*handshake.RefusedError](err); ok {
		return &RefusedError{Node: to, Fault: refused.Fault}
	}
	if err != nil {
		return fmt.Errorf("introduce to node %d: %w", to, err)
	}
	return nil
}

func (m *Mesh) acceptLoop(l link.Listener) {
	pause := minPause
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = minPause
			g := m.door.enter(m.ctx, m.cfg.Logger)
			m.wg.Go(func() {
				defer m.door.leave(g)
				m.admit(g.ctx, conn)
			})
		case m.ctx.Err() != nil:
			return
		case errors.Is(err, link.ErrClosed):
			m.cfg.Logger.Error("cannot accept connections any more", "err", err)
			return
		default:
			// Mostly a lack of descriptors. Who gives up now is cut off from every peer to come.
			m.cfg.Logger.Error("cannot accept a connection, trying again", "err", err, "pause", pause)
			m.pause(pause)
			pause = min(2*pause, maxPause)
		}
	}
}

// The pause after a failure to accept a connection doubles from the one to the other.
const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

// pause waits for d or for the end of the mesh.
func (m *Mesh) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-m.ctx.Done():
	}
}

// admit finds out who is at the other end of a new connection, and takes it into service or turns it away.
func (m *Mesh) admit(ctx context.Context, conn link.Conn) {
	ctx, cancel := context.WithTimeoutCause(ctx, handshakeTimeout, errSlow)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	peer, err := m.party(wire.PurposeLink).Accept(ctx, conn, m.judge)
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	switch {
	case err != nil:
	case peer.Purpose == wire.PurposeControl:
		err = m.handOver(conn)
	case peer.Purpose == wire.PurposeLane:
		err = m.serveLane(peer.Node, conn)
	default:
		_, err = m.adopt(peer.Node, conn)
	}
	if err == nil {
		return
	}
	_ = conn.Close() // refused anyway; the error says why
	if m.ctx.Err() == nil {
		m.cfg.Logger.Warn("refused a connection", "peer", peer.Node, "err", err)
	}
}

// handOver gives a connection to the control plane.
func (m *Mesh) handOver(conn link.Conn) error {
	d, ok := conn.(link.Detacher)
	if !ok {
		return errors.New("the connection carries frames only")
	}
	nc, err := d.Detach()
	if err == nil {
		m.cfg.Control(nc)
	}
	return err
}

// judge says why a peer that knows the secret is turned away, or nil.
func (m *Mesh) judge(peer wire.Hello) *wire.Fault {
	if peer.Purpose == wire.PurposeControl {
		if m.cfg.Control == nil {
			return &wire.Fault{Message: fmt.Sprintf("node %d is not the driver", m.cfg.Self)}
		}
		return nil
	}
	if peer.Purpose == wire.PurposeLane && m.landings.Load() == nil {
		return &wire.Fault{Message: fmt.Sprintf("node %d takes no lanes", m.cfg.Self)}
	}
	if peer.Table != m.cfg.Table {
		return &wire.Fault{
			Code: wire.FaultBuild,
			Message: fmt.Sprintf("different builds: the method table of node %d has hash %016x, that of node %d has %016x",
				peer.Node, peer.Table, m.cfg.Self, m.cfg.Table),
		}
	}
	if peer.Node == m.cfg.Self {
		return &wire.Fault{Message: fmt.Sprintf("node %d has this number already", m.cfg.Self)}
	}
	// Said here, for once accepted a peer believes that its frames are read.
	if e := m.IsLost(peer.Node); e != nil {
		return &wire.Fault{Message: fmt.Sprintf("%v; it cannot come back under its number", e)}
	}
	return nil
}
