// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"context"
	"errors"
	"fmt"

	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

// dial opens a connection and proves who dials.
func (m *Mesh) dial(ctx context.Context, to NodeID) (link.Conn, error) {
	conn, err := m.cfg.Transport.Dial(ctx, m.cfg.Address(to))
	if err != nil {
		return nil, fmt.Errorf("connect to node %d: %w", to, err)
	}
	// Recv takes no context: closing the connection ends it.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = m.introduce(ctx, to, conn)
	if !stop() && err == nil {
		err = fmt.Errorf("connect to node %d: %w", to, context.Cause(ctx))
	}
	if err == nil {
		err = m.adopt(to, conn)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
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
	for {
		conn, err := m.listener.Accept()
		if err != nil {
			if m.ctx.Err() == nil {
				m.cfg.Logger.Error("cannot accept connections any more", "err", err)
			}
			return
		}
		m.wg.Go(func() { m.admit(conn) })
	}
}

// admit checks who is at the other end of a new connection and answers.
func (m *Mesh) admit(conn link.Conn) {
	ctx, cancel := context.WithTimeout(m.ctx, handshakeTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	node, fault, err := m.examine(conn)
	if err == nil {
		var body []byte
		if fault != nil {
			body = fault.Append(nil)
			err = errors.New(fault.Message)
		}
		err = errors.Join(err, conn.Send(ctx, &wire.Header{Kind: wire.KindAccept}, body))
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = m.adopt(node, conn)
	}
	if err != nil {
		m.cfg.Logger.Warn("refused a connection", "peer", node, "err", err)
		m.hangUp(ctx, conn)
	}
}

// hangUp closes a refused connection after its peer has had the chance to read why: it waits for the
// peer to close first, as long as the handshake may last.
func (m *Mesh) hangUp(ctx context.Context, conn link.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	for {
		if _, err := conn.Recv(); err != nil {
			_ = conn.Close() // already refused; nothing more to report
			return
		}
	}
}

// examine reads the first frame of a connection. The fault says why the peer is refused.
func (m *Mesh) examine(conn link.Conn) (NodeID, *wire.Fault, error) {
	f, err := conn.Recv()
	if err != nil {
		var version *wire.VersionError
		if errors.As(err, &version) {
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
	switch {
	case !m.secretMatches(hello.Secret):
		return hello.Node, &wire.Fault{Code: wire.FaultUnauthorized, Message: "wrong cluster secret"}, nil
	case hello.Table != m.cfg.Table:
		return hello.Node, &wire.Fault{
			Code:    wire.FaultBuild,
			Message: fmt.Sprintf("another build: its method table has hash %016x, ours %016x", hello.Table, m.cfg.Table),
		}, nil
	}
	return hello.Node, nil, nil
}
