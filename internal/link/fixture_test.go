// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"bytes"
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/certs"
	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

// socketPath returns a path that is short enough for a socket, which t.TempDir's need not be.
func socketPath(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "link") //nolint:usetesting // t.TempDir contains the name of the test, which may be too long
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, os.RemoveAll(dir)) })
	return filepath.Join(dir, "s")
}

// tlsConfig returns certificates that fit each other.
func tlsConfig(tb testing.TB) *tls.Config {
	tb.Helper()
	files, err := certs.Make(tb.TempDir(), certs.Name)
	require.NoError(tb, err)
	cfg, err := certs.Load(files)
	require.NoError(tb, err)
	return cfg
}

// dialled returns the two ends of a connection through a transport.
func dialled(tb testing.TB, tr link.Transport, addr string) (link.Conn, link.Conn) {
	tb.Helper()
	l, err := tr.Listen(addr)
	require.NoError(tb, err)
	type accepted struct {
		conn link.Conn
		err  error
	}
	got := make(chan accepted, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = c.Recv() // TLS shakes hands here, and through shared memory the sides agree
		}
		got <- accepted{c, err}
	}()
	a, err := tr.Dial(tb.Context(), l.Addr())
	require.NoError(tb, err)
	require.NoError(tb, a.Send(tb.Context(), &wire.Header{Kind: wire.KindHello}))
	b := <-got
	require.NoError(tb, b.err)
	a.Trust()
	b.conn.Trust()
	require.NoError(tb, l.Close())
	tb.Cleanup(func() {
		assert.NoError(tb, a.Close())
		assert.NoError(tb, b.conn.Close())
	})
	return a, b.conn
}

// twins are the connections that must behave alike.
var twins = []struct {
	name string
	pair func(testing.TB) (link.Conn, link.Conn)
}{
	{"unix", func(tb testing.TB) (link.Conn, link.Conn) { return dialled(tb, link.Unix{}, socketPath(tb)) }},
	{"shared", func(tb testing.TB) (link.Conn, link.Conn) { return dialled(tb, link.Shared{}, socketPath(tb)) }},
	{"tcp", func(tb testing.TB) (link.Conn, link.Conn) { return dialled(tb, link.TCP{}, "127.0.0.1:0") }},
	{"tls", func(tb testing.TB) (link.Conn, link.Conn) {
		return dialled(tb, link.TCP{TLS: tlsConfig(tb)}, "127.0.0.1:0")
	}},
	{"memory", func(tb testing.TB) (link.Conn, link.Conn) { return dialled(tb, new(link.Memory), "here") }},
	{"pipe", func(tb testing.TB) (link.Conn, link.Conn) {
		a, b := link.Pipe()
		a.Trust()
		b.Trust()
		tb.Cleanup(func() {
			assert.NoError(tb, a.Close())
			assert.NoError(tb, b.Close())
		})
		return a, b
	}},
}

// eachTwin runs a test over every kind of connection and in both directions.
func eachTwin(t *testing.T, test func(t *testing.T, a, b link.Conn)) {
	t.Helper()
	eachOf(t, func(string) bool { return true }, test)
}

// eachLocalTwin leaves out those that reach other hosts.
func eachLocalTwin(t *testing.T, test func(t *testing.T, a, b link.Conn)) {
	t.Helper()
	eachOf(t, func(name string) bool { return name != "tcp" && name != "tls" }, test)
}

func eachOf(t *testing.T, wanted func(name string) bool, test func(t *testing.T, a, b link.Conn)) {
	t.Helper()
	for _, tw := range twins {
		if !wanted(tw.name) {
			continue
		}
		t.Run("link="+tw.name+"/from=dialler", func(t *testing.T) {
			leakcheck.Check(t)
			a, b := tw.pair(t)
			test(t, a, b)
		})
		if tw.name == "pipe" {
			continue // its ends do not differ
		}
		t.Run("link="+tw.name+"/from=listener", func(t *testing.T) {
			leakcheck.Check(t)
			a, b := tw.pair(t)
			test(t, b, a)
		})
	}
}

// pattern returns n bytes that tell sender, number and position, so that a wrong byte says where it is from.
func pattern(sender, number, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(sender*131 + number*31 + i*7 + i>>8)
	}
	return b
}

// checkPattern fails if body is not pattern(sender, number, len(body)).
func checkPattern(t *testing.T, sender, number int, body []byte) {
	t.Helper()
	if bytes.Equal(body, pattern(sender, number, len(body))) {
		return
	}
	for i, v := range body {
		if want := byte(sender*131 + number*31 + i*7 + i>>8); v != want {
			require.Failf(t, "wrong byte", "sender %d, frame %d of %d bytes: byte %d is %#x, want %#x", sender, number, len(body), i, v, want)
		}
	}
}
