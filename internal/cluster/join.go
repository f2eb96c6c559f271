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
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tutti-go/tutti/internal/wire"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// RefusedError says that the driver did not admit this node.
type RefusedError struct{ Fault wire.Fault }

// Error implements error.
func (e *RefusedError) Error() string { return "the driver refused this node: " + e.Fault.Message }

// JoinConfig is what a node needs to join its driver. All fields are required.
type JoinConfig struct {
	Dial func(context.Context) (net.Conn, error) // connects to the driver, which has proved itself
	Join *controlpb.Join
	// Setup takes the node into service when it is admitted. An error ends Join.
	Setup func(*controlpb.Welcome) (*controlpb.Ready, error)
	// Handle answers a request. Requests run side by side; their contexts end with the session.
	Handle func(context.Context, *controlpb.Request) *controlpb.Reply
	// Grace is how long Join waits, when the session has ended, for requests that do not end with their contexts. What
	// still runs then is abandoned, for the process is about to end.
	Grace time.Duration
	// Lost is told of other nodes that are gone. It must not block.
	Lost func(node uint32, cause string)
	// Members is told where other nodes are. It must not block.
	Members func([]*controlpb.Member)
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
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m := &member{cfg: cfg, ctx: ctx, cancel: cancel}
	err = m.serve(controlpb.NewControlClient(conn))
	cancel(nil)
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
	cancel context.CancelCauseFunc
	heard  atomic.Bool // something came since the last tick
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
	welcome := first.GetWelcome()
	if f := welcome.GetFault(); len(f) > 0 {
		fault, err := wire.ParseFault(f)
		if err != nil {
			return fmt.Errorf("join: %w", err)
		}
		return &RefusedError{fault}
	}
	ready, err := m.cfg.Setup(welcome)
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if err := m.send(&controlpb.FromNode{Kind: &controlpb.FromNode_Ready{Ready: ready}}); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("join: %w", err)
	}
	if interval := time.Duration(welcome.GetInterval()); interval > 0 && welcome.GetSilence() > 0 {
		m.wg.Go(func() { m.watch(interval, time.Duration(welcome.GetSilence())) })
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			if cause := context.Cause(m.ctx); errors.Is(cause, ErrSessionEnded) {
				return cause
			}
			if m.ctx.Err() != nil {
				return nil //nolint:nilerr // ended from this side, in order
			}
			return fmt.Errorf("%w: the driver is gone: %w", ErrSessionEnded, err)
		}
		m.take(msg)
	}
}

// watch ends the session when the driver has been silent for too long. It counts the ticks that this process has lived through, as the
// driver does.
func (m *member) watch(interval, silence time.Duration) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for missed := 0; ; {
		select {
		case <-m.ctx.Done():
			return
		case <-t.C:
		}
		if m.heard.Swap(false) {
			missed = 0
			continue
		}
		missed++
		if silent := time.Duration(missed) * interval; silent >= silence {
			m.cancel(fmt.Errorf("%w: the driver is silent for %v", ErrSessionEnded, silent))
			return
		}
	}
}

func (m *member) take(msg *controlpb.ToNode) {
	m.heard.Store(true)
	switch k := msg.GetKind().(type) {
	case *controlpb.ToNode_Ping:
		// A failure shows at the next Recv.
		_ = m.send(&controlpb.FromNode{Kind: &controlpb.FromNode_Pong{Pong: &controlpb.Pong{Number: k.Ping.GetNumber()}}})
	case *controlpb.ToNode_NodeLost:
		m.cfg.Lost(k.NodeLost.GetNode(), k.NodeLost.GetCause())
	case *controlpb.ToNode_Members:
		m.cfg.Members(k.Members.GetMembers())
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
