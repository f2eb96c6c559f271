// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

// handshakeTimeout bounds the time that a new connection may take to say who it is.
const handshakeTimeout = 10 * time.Second

// errSlow ends a handshake. It is not context.DeadlineExceeded, which would look like the caller's deadline.
var errSlow = fmt.Errorf("no handshake within %v", handshakeTimeout)

// dial opens a connection, proves who dials, and returns the connection that Send is to use: this one,
// or one on which the peer was faster.
func (m *Mesh) dial(ctx context.Context, to NodeID) (link.Conn, error) {
	conn, err := m.cfg.Transport.Dial(ctx, m.cfg.Address(to))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("connect to node %d: %w", to, context.Cause(ctx))
	case err != nil:
		return nil, fmt.Errorf("connect to node %d: %w", to, err)
	}
	// Recv takes no context: closing the connection ends it.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = m.introduce(ctx, to, conn)
	if !stop() && err == nil {
		err = fmt.Errorf("connect to node %d: %w", to, context.Cause(ctx))
	}
	var use link.Conn
	if err == nil {
		use, err = m.adopt(to, conn)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return use, nil
}

func (m *Mesh) introduce(ctx context.Context, to NodeID, conn link.Conn) error {
	hello := wire.Hello{Node: m.cfg.Self, Incarnation: m.cfg.Incarnation, Secret: m.cfg.Secret, Table: m.cfg.Table}
	if err := conn.Send(ctx, &wire.Header{Kind: wire.KindHello}, hello.Append(nil)); err != nil {
		return fmt.Errorf("introduce to node %d: %w", to, err)
	}
	f, err := conn.Recv()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("introduce to node %d: no answer: %w", to, context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("introduce to node %d: %w", to, err)
	case f.Kind != wire.KindAccept:
		return fmt.Errorf("introduce to node %d: %w: answered with a %v frame", to, wire.ErrFrame, f.Kind)
	case len(f.Body) == 0:
		return nil
	}
	fault, err := wire.ParseFault(f.Body)
	if err != nil {
		return fmt.Errorf("introduce to node %d: %w", to, err)
	}
	return &RefusedError{Node: to, Fault: fault}
}

func (m *Mesh) acceptLoop() {
	pause := minPause
	for {
		conn, err := m.listener.Accept()
		switch {
		case err == nil:
			pause = minPause
			m.wg.Go(func() { m.admit(conn) })
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

// admit checks who is at the other end of a new connection and answers.
func (m *Mesh) admit(conn link.Conn) {
	ctx, cancel := context.WithTimeoutCause(m.ctx, handshakeTimeout, errSlow)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	node, fault, err := m.examine(conn)
	switch {
	case err != nil:
	case fault != nil:
		err = errors.Join(errors.New(fault.Message), turnAway(ctx, conn, fault))
	default:
		err = conn.Send(ctx, &wire.Header{Kind: wire.KindAccept})
		if err == nil && !stop() {
			err = context.Cause(ctx)
		}
		if err == nil {
			_, err = m.adopt(node, conn)
		}
	}
	if err == nil {
		return
	}
	_ = conn.Close() // refused anyway; the error says why
	if m.ctx.Err() == nil {
		m.cfg.Logger.Warn("refused a connection", "peer", node, "err", errors.Join(err, context.Cause(ctx)))
	}
}

// turnAway tells a peer why it is refused. It then waits for the peer to close first, as long as ctx lasts:
// a connection that is closed at once may take its last words with it.
func turnAway(ctx context.Context, conn link.Conn, fault *wire.Fault) error {
	if err := conn.Send(ctx, &wire.Header{Kind: wire.KindAccept}, fault.Append(nil)); err != nil {
		return err
	}
	for {
		if _, err := conn.Recv(); err != nil {
			return nil //nolint:nilerr // the peer has closed, which is what was waited for
		}
	}
}

// examine reads the first frame of a connection. The fault says why the peer is refused.
func (m *Mesh) examine(conn link.Conn) (NodeID, *wire.Fault, error) {
	f, err := conn.Recv()
	if err != nil {
		if version, ok := errors.AsType[*wire.VersionError](err); ok {
			return 0, &wire.Fault{Code: wire.FaultBuild, Message: version.Error()}, nil
		}
		return 0, nil, err
	}
	if f.Kind != wire.KindHello {
		return 0, nil, fmt.Errorf("%w: a link starts with a %v frame", wire.ErrFrame, f.Kind)
	}
	hello, err := wire.ParseHello(f.Body)
	if err != nil {
		return 0, nil, err
	}
	if !m.secretMatches(hello.Secret) {
		return hello.Node, &wire.Fault{Code: wire.FaultUnauthorized, Message: "wrong cluster secret"}, nil
	}
	if hello.Table != m.cfg.Table {
		return hello.Node, &wire.Fault{
			Code: wire.FaultBuild,
			Message: fmt.Sprintf("different builds: the method table of node %d has hash %016x, that of node %d has %016x",
				hello.Node, hello.Table, m.cfg.Self, m.cfg.Table),
		}, nil
	}
	if hello.Node == m.cfg.Self {
		return hello.Node, &wire.Fault{Message: fmt.Sprintf("node %d has this number already", m.cfg.Self)}, nil
	}
	// Said here, for once accepted a peer believes that its frames are read.
	if e := m.IsLost(hello.Node); e != nil {
		return hello.Node, &wire.Fault{Message: fmt.Sprintf("%v; it cannot come back under its number", e)}, nil
	}
	return hello.Node, nil, nil
}
