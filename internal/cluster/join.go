// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/tutti-go/tutti/internal/wire"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// RefusedError says that the driver did not admit this node.
type RefusedError struct{ Fault wire.Fault }

// Error implements error.
func (e *RefusedError) Error() string { return "the driver refused this node: " + e.Fault.Message }

// JoinConfig is what a node needs to join its driver. All fields are required.
type JoinConfig struct {
	Dial   func(context.Context) (net.Conn, error) // connects to the driver's listener
	Secret []byte
	Join   *controlpb.Join
	// Handle answers a request. Requests run side by side; their contexts end with the session.
	Handle func(context.Context, *controlpb.Request) *controlpb.Reply
	// Grace is how long Join waits, when the session has ended, for requests that do not end with their contexts. What
	// still runs then is abandoned, for the process is about to end.
	Grace time.Duration
	// Lost is told of other nodes that are gone. It must not block.
	Lost func(node uint32, cause string)
}

// Join joins the driver and serves its requests until the session ends: by ctx, by the driver's orderly
// end, or by its death. It returns nil for the first two and a *RefusedError if it was not admitted.
func Join(ctx context.Context, cfg JoinConfig) error {
	conn, err := grpc.NewClient("passthrough:driver",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return cfg.Dial(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, secretKey, string(cfg.Secret)))
	defer cancel()
	m := &member{cfg: cfg, ctx: ctx}
	err = m.serve(controlpb.NewControlClient(conn))
	cancel()
	return errors.Join(err, conn.Close(), m.wait())
}

// wait waits for the requests under way, with the patience of Grace.
func (m *member) wait() error {
	done := make(chan struct{})
	go func() {
		m.wg.Wait()
		close(done)
	}()
	t := time.NewTimer(m.cfg.Grace)
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-t.C:
		return fmt.Errorf("requests of the driver still run after %v", m.cfg.Grace)
	}
}

// member is the node's side of a session.
type member struct {
	cfg    JoinConfig
	ctx    context.Context //nolint:containedctx // of the session
	stream grpc.BidiStreamingClient[controlpb.FromNode, controlpb.ToNode]
	sendMu sync.Mutex
	wg     sync.WaitGroup
}

func (m *member) serve(client controlpb.ControlClient) error {
	stream, err := client.Session(m.ctx)
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	m.stream = stream
	// io.EOF says that the driver has ended the stream already; why is for Recv to say.
	if err := m.send(&controlpb.FromNode{Kind: &controlpb.FromNode_Join{Join: m.cfg.Join}}); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("join: %w", err)
	}
	first, err := stream.Recv()
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if f := first.GetWelcome().GetFault(); len(f) > 0 {
		fault, err := wire.ParseFault(f)
		if err != nil {
			return fmt.Errorf("join: %w", err)
		}
		return &RefusedError{fault}
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			if m.ctx.Err() != nil {
				return nil //nolint:nilerr // ended from this side, in order
			}
			return fmt.Errorf("%w: the driver is gone: %w", ErrSessionEnded, err)
		}
		m.take(msg)
	}
}

func (m *member) take(msg *controlpb.ToNode) {
	switch k := msg.GetKind().(type) {
	case *controlpb.ToNode_Ping:
		// A failure shows at the next Recv.
		_ = m.send(&controlpb.FromNode{Kind: &controlpb.FromNode_Pong{Pong: &controlpb.Pong{Number: k.Ping.GetNumber()}}})
	case *controlpb.ToNode_NodeLost:
		m.cfg.Lost(k.NodeLost.GetNode(), k.NodeLost.GetCause())
	case *controlpb.ToNode_Request:
		m.wg.Go(func() {
			reply := m.cfg.Handle(m.ctx, k.Request)
			if m.ctx.Err() != nil {
				return // an answer that only says so is none
			}
			reply.Id = k.Request.GetId()
			_ = m.send(&controlpb.FromNode{Kind: &controlpb.FromNode_Reply{Reply: reply}})
		})
	}
}

func (m *member) send(msg *controlpb.FromNode) error {
	m.sendMu.Lock()
	defer m.sendMu.Unlock()
	return m.stream.Send(msg)
}
