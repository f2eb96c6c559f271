// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/handshake"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

const handshakeTimeout = 10 * time.Second

func TestPeerWithWrongSecretIsRefused(t *testing.T) {
	for name, wrong := range map[string]string{"other": "another secret", "prefix": secret[:5], "longer": secret + "!"} {
		t.Run("secret="+name, func(t *testing.T) {
			eachTransport(t, func(t *testing.T, c cluster) {
				b := c.node(t, 1)
				lost := deaths(b)
				cfg := c.config(0)
				cfg.Secret = []byte(wrong)
				a := c.open(t, cfg)
				a.Start()
				for range 2 { // a refusal is no death: the second try is refused as well
					err := a.Send(t.Context(), 1, call(1))
					var refused *mesh.RefusedError
					require.ErrorAs(t, err, &refused)
					assert.Equal(t, mesh.RefusedError{Node: 1, Fault: wire.Fault{Code: wire.FaultUnauthorized, Message: "wrong cluster secret"}}, *refused)
					assert.EqualError(t, refused, "node 1 refused the connection: wrong cluster secret")
				}
				assert.Nil(t, a.IsLost(1))
				assert.Empty(t, lost)
			})
		})
	}
}

func TestPeerOfAnotherBuildIsRefusedNamingBoth(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		c.node(t, 1)
		cfg := c.config(0)
		cfg.Table = 0x1234
		a := c.open(t, cfg)
		a.Start()
		err := a.Send(t.Context(), 1, call(1))
		var refused *mesh.RefusedError
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, wire.FaultBuild, refused.Fault.Code)
		assert.Equal(t, "different builds: the method table of node 0 has hash 0000000000001234, that of node 1 has 000000000000abcd",
			refused.Fault.Message)
	})
}

// A wrong secret is said before anything else about this side.
func TestWrongSecretAndOtherBuildIsUnauthorized(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		c.node(t, 1)
		_, fault := c.refused(t, wire.Hello{Node: 1, Table: 9, Purpose: wire.PurposeLink}, "x")
		assert.Equal(t, wire.FaultUnauthorized, fault.Code)
		assert.NotContains(t, fault.Message, "abcd")
	})
}

func TestPeerWithTheOwnNumberIsRefused(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		m := c.node(t, 1)
		lost := deaths(m)
		conn, fault := c.refused(t, hello(1), secret)
		assert.Equal(t, "node 1 has this number already", fault.Message)
		require.NoError(t, conn.Close())
		require.NoError(t, m.Close())
		assert.Empty(t, lost)
	})
}

// Once accepted, a peer believes that its frames are read; so a node that was lost must not be accepted.
func TestLostNodeIsRefusedWhenItComesBack(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		b := c.node(t, 1)
		first := b.Lost(0, errors.New("missed its heartbeats"))
		assert.Same(t, first, b.Lost(0, errors.New("something else")))
		a := c.node(t, 0)
		err := a.Send(t.Context(), 1, call(1))
		var refused *mesh.RefusedError
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, "node 0 is lost: missed its heartbeats; it cannot come back under its number", refused.Fault.Message)
	})
}

func TestBadFirstFrameEndsTheConnectionAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		kind wire.Kind
		body []byte
	}{
		{"another kind", wire.KindCall, []byte("anything")},
		{"accept", wire.KindAccept, nil},
		{"empty hello", wire.KindHello, nil},
		{"hello cut off", wire.KindHello, (&wire.Hello{Node: 5, Table: table, Purpose: wire.PurposeLink}).Append(nil)[:30]},
		{"hello with more", wire.KindHello, append((&wire.Hello{Node: 5, Table: table, Purpose: wire.PurposeLink}).Append(nil), 0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachTransport(t, func(t *testing.T, c cluster) {
				m := c.node(t, 1)
				lost := deaths(m)
				conn, err := c.transport.Dial(t.Context(), c.address(1))
				require.NoError(t, err)
				require.NoError(t, conn.Send(t.Context(), &wire.Header{Kind: tt.kind}, tt.body))
				start := time.Now()
				_, err = conn.Recv()
				require.ErrorIs(t, err, link.ErrClosed)
				assert.Less(t, time.Since(start), handshakeTimeout/2)
				require.NoError(t, conn.Close())
				require.NoError(t, m.Close())
				assert.Empty(t, lost, "it was never a peer")
			})
		})
	}
}

func TestBadAnswerFailsTheDial(t *testing.T) {
	for _, tt := range []struct {
		name string
		kind wire.Kind
		body []byte
		text string
	}{
		{"another kind", wire.KindCall, nil, "a connection starts with a call frame"},
		{"hello cut off", wire.KindHello, []byte{1}, "bad or missing"},
		{"fault cut off", wire.KindAccept, []byte{1}, "bad or missing"},
		{"proof without a hello", wire.KindAccept, (&wire.Accept{}).Append(nil), "a proof without a hello"},
		{"larger than a stranger's may be", wire.KindHello, make([]byte, link.MaxStranger+1), "hello frame has a body of 1025 bytes, the bound is 1024"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachTransport(t, func(t *testing.T, c cluster) {
				c.host(t, 1, func(conn link.Conn) {
					_, err := conn.Recv()
					assert.NoError(t, err)
					assert.NoError(t, conn.Send(t.Context(), &wire.Header{Kind: tt.kind}, tt.body))
					drain(conn)
				})
				m := c.node(t, 0)
				err := m.Send(t.Context(), 1, call(1))
				require.ErrorIs(t, err, wire.ErrFrame)
				require.ErrorContains(t, err, "introduce to node 1")
				require.ErrorContains(t, err, tt.text)
				require.NoError(t, m.Close())
			})
		})
	}
}

func TestPeerThatHangsUpInsteadOfAnswering(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		c.host(t, 1, func(conn link.Conn) { _, _ = conn.Recv() }) // closed on return
		m := c.node(t, 0)
		err := m.Send(t.Context(), 1, call(1))
		require.ErrorIs(t, err, link.ErrClosed)
		require.ErrorContains(t, err, "introduce to node 1")
		assert.Nil(t, m.IsLost(1), "it was never a peer")
	})
}

func TestSilentDiallerIsDroppedAfterTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster{transport: new(link.Memory)}
		log := new(logBuffer)
		cfg := c.config(1)
		cfg.Logger = log.logger()
		m := c.open(t, cfg)
		m.Start()
		conn, err := c.transport.Dial(t.Context(), c.address(1))
		require.NoError(t, err)
		start := time.Now()
		_, err = conn.Recv()
		require.ErrorIs(t, err, link.ErrClosed)
		assert.Equal(t, handshakeTimeout, time.Since(start))
		synctest.Wait()
		assert.Contains(t, log.String(), "no handshake within 10s")
		require.NoError(t, m.Close())
	})
}

func TestSilentAcceptorFailsTheDialAfterTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster{transport: new(link.Memory)}
		c.host(t, 1, drain)
		m := c.node(t, 0)
		start := time.Now()
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("caller's patience"))
		defer cancel()
		require.ErrorContains(t, m.Send(ctx, 1, call(1)), "connect to node 1: caller's patience")
		assert.Equal(t, time.Second, time.Since(start))

		err := m.Send(t.Context(), 1, call(1))
		require.ErrorContains(t, err, "no handshake within 10s")
		require.NotErrorIs(t, err, context.DeadlineExceeded, "no deadline of the caller's has passed")
		assert.Equal(t, handshakeTimeout, time.Since(start))
		require.NoError(t, m.Close())
	})
}

// meddling is a transport that calls a function after every accept that a listener's connection has sent.
type meddling struct {
	link.Transport
	after func()
}

func (m *meddling) Listen(addr string) (link.Listener, error) {
	l, err := m.Transport.Listen(addr)
	return &meddlingListener{l, m}, err
}

type meddlingListener struct {
	link.Listener
	m *meddling
}

func (l *meddlingListener) Accept() (link.Conn, error) {
	c, err := l.Listener.Accept()
	return &meddlingConn{c, l.m}, err
}

type meddlingConn struct {
	link.Conn
	m *meddling
}

func (c *meddlingConn) Send(ctx context.Context, h *wire.Header, body ...[]byte) error {
	err := c.Conn.Send(ctx, h, body...)
	if h.Kind == wire.KindAccept {
		c.m.after()
	}
	return err
}

// A node that is found to be dead, or a mesh that ends, between the accept and what follows: the peer believes that it
// is connected, so the connection must end at once.
func TestAcceptedButNotTakenIntoService(t *testing.T) {
	for _, end := range []string{"verdict", "context"} {
		t.Run("end="+end, func(t *testing.T) {
			eachTransport(t, func(t *testing.T, c cluster) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				cfg := c.config(0)
				between := &meddling{Transport: c.transport, after: cancel}
				cfg.Transport = between
				m := c.mesh(ctx, t, cfg)
				lost := deaths(m)
				if end == "verdict" {
					between.after = func() { m.Lost(1, errors.New("missed its heartbeats")) }
				}
				m.Start()
				conn := c.accepted(t, hello(1))
				start := time.Now()
				_, err := conn.Recv()
				require.ErrorIs(t, err, link.ErrClosed)
				assert.Less(t, time.Since(start), handshakeTimeout/2)
				require.NoError(t, m.Close())
				if end == "verdict" {
					assert.EqualError(t, <-lost, "node 1 is lost: missed its heartbeats")
				}
				assert.Empty(t, lost)
			})
		})
	}
}

func TestHundredsOfNodesDialOneAtOnce(t *testing.T) {
	const nodes = 200
	eachTransport(t, func(t *testing.T, c cluster) {
		m := c.node(t, 0)
		in := collect(m, wire.KindCall)
		lost := deaths(m)
		var wg sync.WaitGroup
		for n := range mesh.NodeID(nodes) {
			wg.Go(func() {
				conn, err := c.transport.Dial(t.Context(), c.address(0))
				if !assert.NoError(t, err) {
					return
				}
				_, err = handshake.Party{Hello: hello(n + 1), Secret: []byte(secret)}.Dial(t.Context(), conn, nil)
				assert.NoError(t, err)
				assert.NoError(t, conn.Send(t.Context(), call(int(n)+1)))
				_, err = conn.Recv()
				assert.NoError(t, err)
				assert.NoError(t, conn.Close())
			})
		}
		for range nodes {
			f := <-in
			require.EqualValues(t, f.from, f.Seq)
			require.NoError(t, m.Send(t.Context(), f.from, call(0)))
		}
		wg.Wait()
		dead := map[mesh.NodeID]bool{}
		for range nodes {
			dead[(<-lost).Node] = true
		}
		assert.Len(t, dead, nodes)
	})
}

// A refused peer that neither reads nor closes is not kept for ever.
func TestRefusedPeerThatStaysIsDroppedAfterTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster{transport: new(link.Memory)}
		m := c.node(t, 1)
		start := time.Now()
		conn, fault := c.refused(t, hello(0), "x")
		assert.Equal(t, wire.FaultUnauthorized, fault.Code)
		_, err := conn.Recv()
		require.ErrorIs(t, err, link.ErrClosed)
		assert.Equal(t, handshakeTimeout, time.Since(start))
		require.NoError(t, m.Close())
	})
}

func TestCloseDoesNotWaitForHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster{transport: new(link.Memory)}
		m := c.node(t, 1)
		_, err := c.transport.Dial(t.Context(), c.address(1)) // silent
		require.NoError(t, err)
		c.refused(t, hello(0), "x") // it, does not hang up
		synctest.Wait()
		start := time.Now()
		require.NoError(t, m.Close())
		assert.Zero(t, time.Since(start))
	})
}

// failing is a transport whose listener fails for a while, as without free descriptors.
type failing struct {
	link.Transport
	left atomic.Int32
}

func (f *failing) Listen(addr string) (link.Listener, error) {
	l, err := f.Transport.Listen(addr)
	return &failingListener{l, f}, err
}

type failingListener struct {
	link.Listener
	f *failing
}

func (l *failingListener) Accept() (link.Conn, error) {
	if l.f.left.Add(-1) >= 0 {
		return nil, errors.New("too many open files")
	}
	return l.Listener.Accept()
}

func TestAcceptGoesOnAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster{transport: new(link.Memory)}
		f := &failing{Transport: c.transport}
		f.left.Store(10)
		cfg := c.config(1)
		cfg.Transport = f
		m := c.open(t, cfg)
		m.Start()
		a := c.node(t, 0)
		start := time.Now()
		require.NoError(t, a.Connect(t.Context(), 1))
		assert.Equal(t, 3275*time.Millisecond, time.Since(start), "5 ms doubled eight times, then twice a second")
		require.NoError(t, a.Close())
		require.NoError(t, m.Close())
	})
}

func TestCloseDoesNotWaitForTheNextAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster{transport: new(link.Memory)}
		f := &failing{Transport: c.transport}
		f.left.Store(1 << 30)
		cfg := c.config(1)
		cfg.Transport = f
		m := c.open(t, cfg)
		m.Start()
		time.Sleep(10500 * time.Millisecond) // virtual
		start := time.Now()
		require.NoError(t, m.Close())
		assert.Zero(t, time.Since(start))
	})
}
