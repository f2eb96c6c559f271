// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tutti-go/tutti/internal/wire"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

const (
	// maxMessage bounds a control message, in bytes. Configurations that exceed 100 KiB travel
	// through the object store, so that a control message is small.
	maxMessage = 4 << 20
	// readyTimeout bounds how long a node that was admitted may take to serve.
	readyTimeout = time.Minute
)

// ErrSessionEnded says that a node's control session is over.
var ErrSessionEnded = errors.New("cluster: session ended")

// ServerConfig is what a driver's control server needs. All fields but Joined, Heartbeat and Logger are required.
type ServerConfig struct {
	Listener net.Listener // of connections whose peers have proved that they belong to the cluster
	// Admit checks a node that wants to join, and says how it is to serve and under which number. An error refuses it and is told to it.
	Admit func(*controlpb.Join) (*controlpb.Welcome, error)
	// Joined is told of every node that serves. It must not block.
	Joined    func(*Session)
	Heartbeat Heartbeat
	Logger    *slog.Logger
}

// Server is the driver's side of the control plane.
type Server struct {
	controlpb.UnimplementedControlServer
	cfg    ServerConfig
	grpc   *grpc.Server
	ctx    context.Context //nolint:containedctx // ends with the server; parent of its sessions
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	mu struct {
		sync.Mutex
		sessions map[uint32]*Session
		failed   map[uint32]error // nodes that were refused or died before they joined
		changed  chan struct{}    // closed and replaced when sessions or failed change
	}
}

// Serve starts the control server. It ends with ctx or with Close; Close must be called in any case.
func Serve(ctx context.Context, cfg ServerConfig) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, grpc: grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.WaitForHandlers(true))}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.mu.sessions = map[uint32]*Session{}
	s.mu.failed = map[uint32]error{}
	s.mu.changed = make(chan struct{})
	controlpb.RegisterControlServer(s.grpc, s)
	s.wg.Go(func() {
		if err := s.grpc.Serve(cfg.Listener); err != nil && s.ctx.Err() == nil {
			cfg.Logger.Error("control server ended", "err", err)
		}
	})
	return s
}

// Close ends all sessions and waits for them.
func (s *Server) Close() {
	s.cancel(ErrSessionEnded)
	s.grpc.Stop()
	s.wg.Wait()
}

// Session implements the service: it is the life of one node's session.
func (s *Server) Session(stream grpc.BidiStreamingServer[controlpb.FromNode, controlpb.ToNode]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	join := first.GetJoin()
	if join == nil {
		return status.Error(codes.InvalidArgument, "a session starts with Join")
	}
	welcome, err := s.admit(join)
	if err != nil {
		f := wire.Fault{Code: wire.FaultBuild, Message: err.Error()}
		s.Fail(join.GetNode(), err)
		return stream.Send(&controlpb.ToNode{Kind: &controlpb.ToNode_Welcome{Welcome: &controlpb.Welcome{Fault: f.Append(nil)}}})
	}
	session := newSession(s.ctx, welcome.GetNode(), join, stream, s.cfg.Heartbeat)
	if err := session.send(&controlpb.ToNode{Kind: &controlpb.ToNode_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	ready, err := s.awaitReady(stream)
	if err != nil {
		return err
	}
	session.Host = ready.GetHost()
	if err := s.add(session); err != nil {
		return status.Error(codes.AlreadyExists, err.Error())
	}
	session.run(&s.wg)
	return nil
}

// awaitReady waits until the node serves. Only the return of the handler interrupts a stream's Recv.
func (s *Server) awaitReady(stream grpc.BidiStreamingServer[controlpb.FromNode, controlpb.ToNode]) (*controlpb.Ready, error) {
	type message struct {
		m   *controlpb.FromNode
		err error
	}
	came := make(chan message, 1)
	s.wg.Go(func() {
		m, err := stream.Recv()
		came <- message{m, err}
	})
	t := time.NewTimer(readyTimeout)
	defer t.Stop()
	select {
	case c := <-came:
		if c.err == nil && c.m.GetReady() == nil {
			return nil, status.Error(codes.InvalidArgument, "Welcome is answered with Ready")
		}
		return c.m.GetReady(), c.err
	case <-t.C:
		return nil, status.Errorf(codes.DeadlineExceeded, "not ready within %v", readyTimeout)
	case <-s.ctx.Done():
		return nil, status.Error(codes.Canceled, context.Cause(s.ctx).Error())
	}
}

func (s *Server) admit(join *controlpb.Join) (*controlpb.Welcome, error) {
	if v := join.GetWireVersion(); v != wire.Version {
		return nil, fmt.Errorf("node %d: %w", join.GetNode(), &wire.VersionError{Got: uint8(min(v, 255)), Want: wire.Version})
	}
	return s.cfg.Admit(join)
}

// add takes a session in. Joined has been told of it before Wait returns it.
func (s *Server) add(session *Session) error {
	s.mu.Lock()
	_, taken := s.mu.sessions[session.Node]
	if !taken {
		s.mu.sessions[session.Node] = nil // to hold the place
	}
	s.mu.Unlock()
	if taken {
		return fmt.Errorf("node %d has joined already", session.Node)
	}
	if s.cfg.Joined != nil {
		s.cfg.Joined(session)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.sessions[session.Node] = session
	s.announceLocked()
	return nil
}

// Fail makes Wait for a node return err: it was refused, or its process ended before it joined.
func (s *Server) Fail(node uint32, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.failed[node] == nil {
		s.mu.failed[node] = err
		s.announceLocked()
	}
}

func (s *Server) announceLocked() {
	close(s.mu.changed)
	s.mu.changed = make(chan struct{})
}

// Wait returns the session of a node, waiting until it has joined, or why it cannot join.
func (s *Server) Wait(ctx context.Context, node uint32) (*Session, error) {
	for {
		s.mu.Lock()
		session, failed, changed := s.mu.sessions[node], s.mu.failed[node], s.mu.changed
		s.mu.Unlock()
		switch {
		case session != nil:
			return session, nil
		case failed != nil:
			return nil, failed
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			return nil, context.Cause(s.ctx)
		case <-ctx.Done():
			return nil, fmt.Errorf("node %d has not joined: %w", node, context.Cause(ctx))
		}
	}
}
