// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tutti-go/tutti/internal/cluster"
	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/wire"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

func TestMain(m *testing.M) {
	if os.Getenv(cluster.EnvRole) == cluster.RoleNode {
		os.Exit(beNode())
	}
	os.Exit(leakcheck.Run(m))
}

// pipes is a listener in memory, which may be used in a bubble.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// fixture is a server with nodes that join it, all in one bubble.
type fixture struct {
	t      *testing.T
	pipes  *pipes
	server *cluster.Server
	joined chan *cluster.Session // room for all that a test lets join
}

func newFixture(t *testing.T, beat cluster.Heartbeat) *fixture {
	t.Helper()
	f := &fixture{t: t, pipes: newPipes(), joined: make(chan *cluster.Session, 16)}
	f.server = cluster.Serve(t.Context(), cluster.ServerConfig{
		Listener: f.pipes, Heartbeat: beat,
		Admit: func(j *controlpb.Join) (*controlpb.Welcome, error) {
			if j.GetBuild() == "other" {
				return nil, errBuild
			}
			w := &controlpb.Welcome{Node: j.GetNode(), StoreLimit: 77}
			if w.GetNode() == wire.NoNode {
				w.Node, w.Interval, w.Silence = 40, int64(time.Second), int64(5*time.Second)
			}
			return w, nil
		},
		Joined: func(s *cluster.Session) { f.joined <- s },
	})
	t.Cleanup(f.server.Close)
	return f
}

// node is one that has tried to join.
type node struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of Join, valid when ended

	lost    chan uint32
	members chan []*controlpb.Member
	welcome *controlpb.Welcome // valid once it has joined
}

func (f *fixture) join(number uint32, change func(*cluster.JoinConfig), handle func(context.Context, *controlpb.Request) *controlpb.Reply) *node {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	n := &node{cancel: cancel, ended: make(chan struct{}), lost: make(chan uint32, 8), members: make(chan []*controlpb.Member, 8)} // room for all that a test tells
	cfg := cluster.JoinConfig{
		Dial: f.pipes.dial, Grace: time.Second,
		Setup: func(w *controlpb.Welcome) (*controlpb.Ready, error) {
			n.welcome = w
			return &controlpb.Ready{Host: "here"}, nil
		},
		Members: func(m []*controlpb.Member) { n.members <- m },
		Join:    &controlpb.Join{Node: number, WireVersion: wire.Version, Build: "this", Pid: int64(number) + 1000, Incarnation: 9},
		Handle:  handle,
		Lost:    func(node uint32, _ string) { n.lost <- node },
	}
	if change != nil {
		change(&cfg)
	}
	go func() {
		defer close(n.ended)
		n.err = cluster.Join(ctx, cfg)
	}()
	f.t.Cleanup(func() {
		cancel()
		<-n.ended
	})
	return n
}

func echo(_ context.Context, req *controlpb.Request) *controlpb.Reply {
	return &controlpb.Reply{Fault: []byte{byte(len(req.GetKill().GetSerials()))}}
}

func kill(n int) *controlpb.Request {
	return &controlpb.Request{Kind: &controlpb.Request_Kill{Kill: &controlpb.Kill{Serials: make([]uint32, n)}}}
}

// hold lasts until its context ends.
func hold(ctx context.Context, _ *controlpb.Request) *controlpb.Reply {
	<-ctx.Done()
	return &controlpb.Reply{}
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// stream opens a session by hand.
func (f *fixture) stream() grpc.BidiStreamingClient[controlpb.FromNode, controlpb.ToNode] {
	f.t.Helper()
	conn, err := grpc.NewClient("passthrough:driver", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return f.pipes.dial(ctx) }))
	require.NoError(f.t, err)
	f.t.Cleanup(func() { require.NoError(f.t, conn.Close()) })
	stream, err := controlpb.NewControlClient(conn).Session(f.t.Context())
	require.NoError(f.t, err)
	return stream
}

// silent joins as a node that reads nothing and says nothing more.
func (f *fixture) silent(number uint32) {
	f.t.Helper()
	stream := f.stream()
	join := &controlpb.Join{Node: number, WireVersion: wire.Version}
	require.NoError(f.t, stream.Send(&controlpb.FromNode{Kind: &controlpb.FromNode_Join{Join: join}}))
	require.NoError(f.t, stream.Send(&controlpb.FromNode{Kind: &controlpb.FromNode_Ready{Ready: &controlpb.Ready{}}}))
}

// beNode is this binary as a process that Launch has started.
func beNode() int {
	switch os.Getenv(cluster.EnvNode) {
	case "7":
		return 0
	case "8":
		return 3
	}
	for { // until it is killed; with nothing to wait for, the runtime would call it a deadlock
		time.Sleep(time.Hour)
	}
}
