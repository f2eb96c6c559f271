// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// Heartbeat says how often a node is asked for a sign of life, and how long it may be silent. A process that
// ends is noticed at once without it; it is for nodes that are stopped or cut off.
type Heartbeat struct {
	Interval time.Duration // default 1 s
	Timeout  time.Duration // default 30 s
}

func (h Heartbeat) withDefaults() Heartbeat {
	if h.Interval <= 0 {
		h.Interval = time.Second
	}
	if h.Timeout <= 0 {
		h.Timeout = 30 * time.Second
	}
	return h
}

// Session is the driver's control connection to one node.
type Session struct {
	Node        uint32
	Incarnation uint64
	PID         int
	Host        string // nodes with the same share an object store
	Address     string // where nodes of other hosts reach it

	stream grpc.BidiStreamingServer[controlpb.FromNode, controlpb.ToNode]
	beat   Heartbeat
	ctx    context.Context //nolint:containedctx // ends with the session
	cancel context.CancelCauseFunc
	turn   chan struct{} // holds a token while somebody sends: a stream takes one Send at a time, which may last

	mu struct {
		sync.Mutex
		next    uint64
		waiting map[uint64]chan *controlpb.Reply // each of size 1, answered once
		heard   bool                             // something came since the last tick
		missed  int                              // ticks since something came
	}
}

func newSession(ctx context.Context, node uint32, join *controlpb.Join, stream grpc.BidiStreamingServer[controlpb.FromNode, controlpb.ToNode], beat Heartbeat) *Session {
	s := &Session{
		Node: node, Incarnation: join.GetIncarnation(), PID: int(join.GetPid()), Address: join.GetAddress(),
		stream: stream, beat: beat.withDefaults(),
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.turn = make(chan struct{}, 1)
	s.mu.waiting = map[uint64]chan *controlpb.Reply{}
	s.mu.heard = true // the request to join
	return s
}

// Done closes when the session has ended. Err then says why.
func (s *Session) Done() <-chan struct{} { return s.ctx.Done() }

// End ends the session; the node is told nothing but that.
func (s *Session) End(cause error) { s.cancel(cause) }

// Err returns why the session ended, or nil while it lasts.
func (s *Session) Err() error {
	if s.ctx.Err() == nil {
		return nil
	}
	return context.Cause(s.ctx)
}

// run lasts as long as the session, on the goroutine of the stream's handler. Only the handler's return
// interrupts the stream's Recv and Send, so those who call them are left to whoever waits for the server.
func (s *Session) run(rest *sync.WaitGroup) {
	pings := make(chan uint64, 1)
	rest.Go(func() { s.cancel(s.receive()) })
	rest.Go(func() { s.ping(pings) })
	s.watch(pings)
}

func (s *Session) receive() error {
	for {
		m, err := s.stream.Recv()
		if err != nil {
			return fmt.Errorf("%w: node %d: %w", ErrSessionEnded, s.Node, err)
		}
		s.mu.Lock()
		s.mu.heard = true
		var answered chan *controlpb.Reply
		if r := m.GetReply(); r != nil {
			answered = s.mu.waiting[r.GetId()]
			delete(s.mu.waiting, r.GetId())
		}
		s.mu.Unlock()
		if answered != nil {
			answered <- m.GetReply()
		}
	}
}

// watch asks for signs of life and ends the session when they fail to come. It never sends itself: to a node that does not read,
// Send may block for ever.
func (s *Session) watch(pings chan<- uint64) {
	t := time.NewTicker(s.beat.Interval)
	defer t.Stop()
	for n := uint64(1); ; n++ {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
		}
		if silent := s.silence(); silent >= s.beat.Timeout {
			s.cancel(fmt.Errorf("%w: node %d is silent for %v", ErrSessionEnded, s.Node, silent))
			return
		}
		select {
		case pings <- n:
		default: // the last one is still on its way
		}
	}
}

// ping sends the pings that watch wants.
func (s *Session) ping(pings <-chan uint64) {
	for {
		select {
		case n := <-pings:
			if err := s.send(&controlpb.ToNode{Kind: &controlpb.ToNode_Ping{Ping: &controlpb.Ping{Number: n}}}); err != nil {
				s.cancel(err)
				return
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// silence is how long nothing has been heard, as the driver has lived through it: it counts the ticks that passed without a
// sign of life. By the clock alone, a driver that was itself stopped or starved would take all its nodes for dead.
func (s *Session) silence() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.heard {
		s.mu.heard, s.mu.missed = false, 0
	} else {
		s.mu.missed++
	}
	return time.Duration(s.mu.missed) * s.beat.Interval
}

// Silent returns how long nothing has been heard of the node, in whole intervals: 0 for one that answers in time.
func (s *Session) Silent() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.mu.missed) * s.beat.Interval
}

func (s *Session) send(m *controlpb.ToNode) error {
	select {
	case s.turn <- struct{}{}:
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
	defer func() { <-s.turn }()
	if err := s.stream.Send(m); err != nil {
		return fmt.Errorf("%w: node %d: %w", ErrSessionEnded, s.Node, err)
	}
	return nil
}

// Tell sends a message that has no answer.
func (s *Session) Tell(m *controlpb.ToNode) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return s.send(m)
}

// Do sends a request, setting its id, and waits for the reply.
func (s *Session) Do(ctx context.Context, req *controlpb.Request) (*controlpb.Reply, error) {
	ch := make(chan *controlpb.Reply, 1)
	s.mu.Lock()
	s.mu.next++
	req.Id = s.mu.next
	s.mu.waiting[req.GetId()] = ch
	s.mu.Unlock()
	// A node that does not read blocks Send, which knows no context. It ends with the session at the latest.
	sent := make(chan error, 1)
	go func() { sent <- s.Tell(&controlpb.ToNode{Kind: &controlpb.ToNode_Request{Request: req}}) }()
	var err error
	for err == nil {
		select {
		case err = <-sent:
			sent = nil
		case r := <-ch:
			return r, nil
		case <-s.ctx.Done():
			err = context.Cause(s.ctx)
		case <-ctx.Done():
			err = fmt.Errorf("node %d: no answer: %w", s.Node, context.Cause(ctx))
		}
	}
	s.mu.Lock()
	delete(s.mu.waiting, req.GetId())
	s.mu.Unlock()
	if !errors.Is(err, ErrSessionEnded) && s.ctx.Err() != nil {
		err = errors.Join(err, context.Cause(s.ctx))
	}
	return nil, err
}
