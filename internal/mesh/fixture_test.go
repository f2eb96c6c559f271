// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/certs"
	"github.com/tutti-go/tutti/internal/handshake"
	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

const (
	secret = "the secret of the session"
	table  = 0xabcd
)

// cluster is a transport and the addresses on it.
type cluster struct {
	transport link.Transport
	dir       string
	ports     *sync.Map // of nodes that listen, by number, where addresses are not ours to choose
}

func (c cluster) address(n mesh.NodeID) string {
	if c.ports == nil {
		return filepath.Join(c.dir, fmt.Sprintf("n%d", n))
	}
	stored, _ := c.ports.Load(n)
	if addr, ok := stored.(string); ok {
		return addr
	}
	return "127.0.0.1:1" // nobody listens there
}

// listen opens the address of a node.
func (c cluster) listen(t *testing.T, n mesh.NodeID) link.Listener {
	t.Helper()
	addr := c.address(n)
	if c.ports != nil {
		addr = "127.0.0.1:0"
	}
	l, err := c.transport.Listen(addr)
	require.NoError(t, err)
	if c.ports != nil {
		c.ports.Store(n, l.Addr())
	}
	return l
}

// config returns the configuration of a node that fits the others and does not listen.
func (c cluster) config(self mesh.NodeID) mesh.Config {
	return mesh.Config{
		Self: self, Incarnation: uint64(self) + 1000, Secret: []byte(secret), Table: table, Transport: c.transport,
		Address: func(_ context.Context, n mesh.NodeID) (string, error) { return c.address(n), nil },
	}
}

// node listens and starts, and is closed with the test.
func (c cluster) node(t *testing.T, self mesh.NodeID) *mesh.Mesh {
	t.Helper()
	m := c.open(t, c.config(self))
	m.Start()
	return m
}

// open listens, with the transport of the configuration, and is closed with the test.
func (c cluster) open(t *testing.T, cfg mesh.Config) *mesh.Mesh {
	t.Helper()
	m := c.mesh(t.Context(), t, cfg)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	return m
}

func (c cluster) mesh(ctx context.Context, t *testing.T, cfg mesh.Config) *mesh.Mesh {
	t.Helper()
	c.transport = cfg.Transport
	cfg.Listeners = []link.Listener{c.listen(t, cfg.Self)}
	return mesh.New(ctx, cfg)
}

func newTCPCluster() cluster { return cluster{transport: link.TCP{}, ports: new(sync.Map)} }

// eachTransport runs a test over every transport.
func eachTransport(t *testing.T, test func(t *testing.T, c cluster)) {
	t.Helper()
	t.Run("link=memory", func(t *testing.T) {
		leakcheck.Check(t)
		test(t, cluster{transport: new(link.Memory)})
	})
	t.Run("link=unix", func(t *testing.T) { test(t, unixCluster(t)) })
	t.Run("link=tls", func(t *testing.T) {
		leakcheck.Check(t)
		files, err := certs.Make(t.TempDir(), certs.Name)
		require.NoError(t, err)
		cfg, err := certs.Load(files)
		require.NoError(t, err)
		test(t, cluster{transport: link.TCP{TLS: cfg}, ports: new(sync.Map)})
	})
	t.Run("link=shared", func(t *testing.T) {
		c := unixCluster(t)
		c.transport = link.Shared{}
		test(t, c)
	})
}

// inbox collects frames of one kind. Its channel is large, so that the handler does not block.
type inbox chan received

type received struct {
	from mesh.NodeID
	wire.Frame
}

func collect(m *mesh.Mesh, k wire.Kind) inbox {
	in := make(inbox, 1<<16)
	m.Handle(k, func(from mesh.NodeID, f wire.Frame) { in <- received{from, f} })
	return in
}

func call(seq int) *wire.Header { return &wire.Header{Kind: wire.KindCall, Seq: uint64(seq)} }

// deaths collects death notices.
func deaths(m *mesh.Mesh) chan *mesh.LostError {
	lost := make(chan *mesh.LostError, 100)
	m.OnLost(func(e *mesh.LostError) { lost <- e })
	return lost
}

// gated is a transport that counts dials and lets them through only once the gate is open.
type gated struct {
	link.Transport
	gate chan struct{}

	mu struct {
		sync.Mutex
		dials int
	}
}

func (g *gated) Dial(ctx context.Context, addr string) (link.Conn, error) {
	g.mu.Lock()
	g.mu.dials++
	g.mu.Unlock()
	select {
	case <-g.gate:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return g.Transport.Dial(ctx, addr)
}

func (g *gated) dials() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.dials
}

// barrier is a transport whose dials all wait until a number of them are under way.
type barrier struct {
	link.Transport
	arrived sync.WaitGroup
}

func (b *barrier) Dial(ctx context.Context, addr string) (link.Conn, error) {
	b.arrived.Done()
	b.arrived.Wait()
	return b.Transport.Dial(ctx, addr)
}

// hello is what a proper node says first.
func hello(node mesh.NodeID) wire.Hello {
	return wire.Hello{Node: node, Incarnation: 5, Table: table, Purpose: wire.PurposeLink}
}

// dial connects to a node without a mesh.
func (c cluster) dial(t *testing.T, to mesh.NodeID) link.Conn {
	t.Helper()
	conn, err := c.transport.Dial(t.Context(), c.address(to))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	return conn
}

// accepted connects to node 0 without a mesh and is expected to be accepted.
func (c cluster) accepted(t *testing.T, h wire.Hello) link.Conn {
	t.Helper()
	conn := c.dial(t, 0)
	_, err := handshake.Party{Hello: h, Secret: []byte(secret)}.Dial(t.Context(), conn, nil)
	require.NoError(t, err)
	return conn
}

// refused connects to node 1 without a mesh and is expected to be turned away.
func (c cluster) refused(t *testing.T, h wire.Hello, secret string) (link.Conn, wire.Fault) {
	t.Helper()
	conn := c.dial(t, 1)
	_, err := handshake.Party{Hello: h, Secret: []byte(secret)}.Dial(t.Context(), conn, nil)
	var refused *handshake.RefusedError
	require.ErrorAs(t, err, &refused)
	return conn, refused.Fault
}

// host stands at a node's address without a mesh; serve gets every connection.
func (c cluster) host(t *testing.T, node mesh.NodeID, serve func(link.Conn)) {
	t.Helper()
	l := c.listen(t, node)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				serve(conn)
				assert.NoError(t, conn.Close())
			})
		}
	})
	t.Cleanup(func() {
		assert.NoError(t, l.Close())
		wg.Wait()
	})
}

// drain reads until the connection ends.
func drain(conn link.Conn) {
	for {
		if _, err := conn.Recv(); err != nil {
			return
		}
	}
}

// logBuffer keeps what a mesh logs.
type logBuffer struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.Buffer.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.Buffer.String()
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// unixCluster is for tests that write bytes to the socket themselves.
func unixCluster(t *testing.T) cluster {
	t.Helper()
	leakcheck.Check(t)
	dir, err := os.MkdirTemp("", "mesh") //nolint:usetesting // t.TempDir contains the name of the test, too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	return cluster{transport: link.Unix{}, dir: dir}
}

func dialRaw(t *testing.T, addr string) *net.UnixConn {
	t.Helper()
	raw, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: addr, Net: "unix"})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, raw.Close()) })
	return raw
}

func readFrame(t *testing.T, r io.Reader) wire.Frame {
	t.Helper()
	head := make([]byte, wire.HeaderSize)
	_, err := io.ReadFull(r, head)
	require.NoError(t, err)
	h, err := wire.ParseHeader(head, wire.MaxBody)
	require.NoError(t, err)
	body := make([]byte, h.Length)
	_, err = io.ReadFull(r, body)
	require.NoError(t, err)
	return wire.Frame{Header: h, Body: body}
}
