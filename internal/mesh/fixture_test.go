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
}

func (c cluster) address(n mesh.NodeID) string { return filepath.Join(c.dir, fmt.Sprintf("n%d", n)) }

// config returns the configuration of a node that fits the others.
func (c cluster) config(self mesh.NodeID) mesh.Config {
	return mesh.Config{
		Self: self, Incarnation: uint64(self) + 1000, Secret: []byte(secret), Table: table,
		Transport: c.transport, Address: c.address,
	}
}

// node listens and starts, and is closed with the test.
func (c cluster) node(t *testing.T, self mesh.NodeID) *mesh.Mesh {
	t.Helper()
	m := open(t, c.config(self))
	m.Start()
	return m
}

func open(t *testing.T, cfg mesh.Config) *mesh.Mesh {
	t.Helper()
	m, err := mesh.Listen(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	return m
}

// eachTransport runs a test over every transport.
func eachTransport(t *testing.T, test func(t *testing.T, c cluster)) {
	t.Helper()
	t.Run("link=memory", func(t *testing.T) {
		leakcheck.Check(t)
		test(t, cluster{transport: new(link.Memory)})
	})
	t.Run("link=unix", func(t *testing.T) { test(t, unixCluster(t)) })
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
	return wire.Hello{Node: node, Incarnation: 5, Secret: []byte(secret), Table: table}
}

// stranger dials a node without a mesh and says h.
func (c cluster) stranger(t *testing.T, to mesh.NodeID, h wire.Hello) link.Conn {
	t.Helper()
	conn, err := c.transport.Dial(t.Context(), c.address(to))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	require.NoError(t, conn.Send(t.Context(), &wire.Header{Kind: wire.KindHello}, h.Append(nil)))
	return conn
}

// accepted is a stranger whom node 0 is expected to accept.
func (c cluster) accepted(t *testing.T, h wire.Hello) link.Conn {
	t.Helper()
	conn := c.stranger(t, 0, h)
	f, err := conn.Recv()
	require.NoError(t, err)
	require.Equal(t, wire.KindAccept, f.Kind)
	require.Empty(t, f.Body)
	return conn
}

// refusal reads the answer to a hello, which must be a fault.
func refusal(t *testing.T, conn link.Conn) wire.Fault {
	t.Helper()
	f, err := conn.Recv()
	require.NoError(t, err)
	require.Equal(t, wire.KindAccept, f.Kind)
	fault, err := wire.ParseFault(f.Body)
	require.NoError(t, err)
	return fault
}

// host stands at a node's address without a mesh; serve gets every connection.
func (c cluster) host(t *testing.T, node mesh.NodeID, serve func(link.Conn)) {
	t.Helper()
	l, err := c.transport.Listen(c.address(node))
	require.NoError(t, err)
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
