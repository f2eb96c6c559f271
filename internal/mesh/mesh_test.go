// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/handshake"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

func TestFirstSendDialsOnceForAllCallers(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		g := &gated{Transport: c.transport, gate: make(chan struct{})}
		b := c.node(t, 1)
		in := collect(b, wire.KindCall)
		c.transport = g
		a := c.node(t, 0)
		assert.Zero(t, g.dials(), "nothing is dialled before it is needed")

		const callers = 50
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() { assert.NoError(t, a.Send(t.Context(), 1, call(i), []byte{byte(i)})) })
		}
		close(g.gate)
		wg.Wait()
		seen := map[uint64]bool{}
		for range callers {
			f := <-in
			assert.Zero(t, f.from)
			seen[f.Seq] = true
		}
		assert.Len(t, seen, callers)
		require.NoError(t, a.Connect(t.Context(), 1))
		require.NoError(t, b.Send(t.Context(), 0, call(0)), "the answer goes back over the same connection")
		assert.Equal(t, 1, g.dials())
	})
}

func TestCallerWhoGivesUpDoesNotEndTheDialForOthers(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		c.node(t, 1)
		g := &gated{Transport: c.transport, gate: make(chan struct{})}
		c.transport = g
		a := c.node(t, 0)
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("no patience")
		cancel(cause)
		require.ErrorIs(t, a.Send(ctx, 1, call(1)), cause)
		close(g.gate)
		require.NoError(t, a.Send(t.Context(), 1, call(2)))
		assert.Equal(t, 1, g.dials())
	})
}

// Both sides dial at the same time, so that there are two connections. No frame may be lost, and those of
// one sender must arrive in the order in which it sent them, though the first waited for a dial and the
// others found the peer's connection.
func TestBothSidesDialAtOnce(t *testing.T) {
	const rounds, senders, frames = 20, 4, 50
	eachTransport(t, func(t *testing.T, c cluster) {
		plain := c.transport
		for round := range rounds {
			bar := &barrier{Transport: plain}
			bar.arrived.Add(2)
			c.transport = bar
			nodes := []*mesh.Mesh{c.node(t, 0), c.node(t, 1)}
			var inboxes []inbox
			for _, m := range nodes {
				inboxes = append(inboxes, collect(m, wire.KindCall))
			}
			var wg sync.WaitGroup
			for self, m := range nodes {
				for s := range senders {
					wg.Go(func() {
						for i := range frames {
							h := call(i)
							h.Caller = uint64(s)
							if !assert.NoError(t, m.Send(t.Context(), mesh.NodeID(1-self), h)) {
								return
							}
						}
					})
				}
			}
			wg.Wait()
			for self, in := range inboxes {
				next := make([]uint64, senders)
				for range senders * frames {
					f := <-in
					require.EqualValues(t, 1-self, f.from)
					require.Equal(t, next[f.Caller], f.Seq, "round %d: node %d, sender %d", round, f.from, f.Caller)
					next[f.Caller]++
				}
			}
			for _, m := range nodes {
				require.NoError(t, m.Close())
			}
		}
	})
}

// A peer may send frames right behind its hello, and an acceptor right behind its answer.
func TestFramesDirectlyBehindTheHandshakeAreHandledInOrder(t *testing.T) {
	const frames = 500
	eachTransport(t, func(t *testing.T, c cluster) {
		c.host(t, 7, func(conn link.Conn) {
			_, err := handshake.Party{Hello: hello(7), Secret: []byte(secret)}.Accept(t.Context(), conn, nil)
			assert.NoError(t, err)
			for i := range frames {
				assert.NoError(t, conn.Send(t.Context(), call(i)))
			}
			drain(conn)
		})
		m := c.node(t, 0)
		in := collect(m, wire.KindCall)
		require.NoError(t, m.Connect(t.Context(), 7))
		for i := range frames {
			f := <-in
			require.EqualValues(t, 7, f.from)
			require.EqualValues(t, i, f.Seq)
		}
		conn := c.accepted(t, hello(8))
		for i := range frames {
			require.NoError(t, conn.Send(t.Context(), call(i)))
		}
		for i := range frames {
			f := <-in
			require.EqualValues(t, 8, f.from)
			require.EqualValues(t, i, f.Seq)
		}
		require.NoError(t, m.Close())
	})
}

func TestSendToSelfRunsTheHandlerInPlace(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		m := c.node(t, 3)
		var got received
		m.Handle(wire.KindCall, func(from mesh.NodeID, f wire.Frame) { got = received{from, f} })
		require.NoError(t, m.Connect(t.Context(), 3))

		h := call(1)
		require.NoError(t, m.Send(t.Context(), 3, h, []byte("in "), nil, []byte("parts")))
		assert.Equal(t, "in parts", string(got.Body))
		assert.EqualValues(t, 3, got.from)
		assert.EqualValues(t, 8, got.Length)
		assert.EqualValues(t, 8, h.Length, "as over a link")

		require.NoError(t, m.Send(t.Context(), 3, &wire.Header{Kind: wire.KindCall, Deadline: -1}))
		assert.EqualValues(t, 1, got.Deadline, "passed, not lifted")

		require.NoError(t, m.Send(t.Context(), 3, call(2)))
		assert.Nil(t, got.Body)

		whole := append(make([]byte, 0, 64), "whole"...)
		require.NoError(t, m.Send(t.Context(), 3, call(3), whole))
		assert.Equal(t, "whole", string(got.Body))
		assert.Equal(t, 5, cap(got.Body), "what lies behind the body is the sender's")

		mib := make([]byte, 1<<20)
		err := m.Send(t.Context(), 3, call(4), slices.Repeat([][]byte{mib}, wire.MaxBody>>20+1)...)
		require.ErrorIs(t, err, link.ErrTooLarge, "a bound that holds between nodes holds here too")
		assert.EqualValues(t, 3, got.Seq)

		require.NoError(t, m.Close())
		require.ErrorIs(t, m.Send(t.Context(), 3, call(5)), mesh.ErrClosed)
		assert.EqualValues(t, 3, got.Seq)
	})
}

func TestTooLargeBodyDoesNotCostTheConnection(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		a, b := c.node(t, 0), c.node(t, 1)
		in := collect(b, wire.KindCall)
		mib := make([]byte, 1<<20)
		err := a.Send(t.Context(), 1, call(1), slices.Repeat([][]byte{mib}, wire.MaxBody>>20+1)...)
		require.ErrorIs(t, err, link.ErrTooLarge)
		require.ErrorContains(t, err, "send a call frame to node 1")
		require.NoError(t, a.Send(t.Context(), 1, call(2)))
		assert.EqualValues(t, 2, (<-in).Seq)
	})
}

func TestFrameWithoutHandlerIsDroppedWithAWarning(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		log := new(logBuffer)
		cfg := c.config(1)
		cfg.Logger = log.logger()
		b := c.open(t, cfg)
		in := collect(b, wire.KindReply)
		b.Start()
		a := c.node(t, 0)
		require.NoError(t, a.Send(t.Context(), 1, call(1)))
		require.NoError(t, a.Send(t.Context(), 1, &wire.Header{Kind: wire.KindReply, Seq: 2}))
		assert.EqualValues(t, 2, (<-in).Seq, "the link goes on")
		assert.Contains(t, log.String(), `msg="no handler for frame" kind=call peer=0`)
	})
}

func TestHandlersMayBeReplacedWhileFramesArrive(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		a, b := c.node(t, 0), c.node(t, 1)
		in := collect(b, wire.KindCall)
		const frames = 200
		for i := range frames {
			require.NoError(t, a.Send(t.Context(), 1, call(i)))
			b.Handle(wire.KindCall, func(from mesh.NodeID, f wire.Frame) { in <- received{from, f} })
		}
		for i := range frames {
			require.EqualValues(t, i, (<-in).Seq)
		}
	})
}

func TestConnectToNobodyFailsAndMayBeTriedAgain(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		a := c.node(t, 0)
		lost := deaths(a)
		err := a.Send(t.Context(), 1, call(1))
		require.ErrorContains(t, err, "connect to node 1: link: dial "+c.address(1))
		var le *mesh.LostError
		require.NotErrorAs(t, err, &le)
		assert.Nil(t, a.IsLost(1))
		b := c.node(t, 1)
		in := collect(b, wire.KindCall)
		require.NoError(t, a.Send(t.Context(), 1, call(2)))
		assert.EqualValues(t, 2, (<-in).Seq)
		assert.Empty(t, lost)
	})
}

func TestCloseWhileDialling(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		for _, phase := range []string{"dial", "handshake"} {
			t.Run("phase="+phase, func(t *testing.T) {
				reached := make(chan struct{})
				cfg := c.config(0)
				node := mesh.NodeID(1)
				if phase == "dial" {
					cfg.Transport = &reporting{c.transport, reached}
				} else {
					node = 2
					c.host(t, 2, func(conn link.Conn) {
						_, err := conn.Recv()
						assert.NoError(t, err)
						close(reached)
						drain(conn) // says nothing
					})
				}
				a := c.open(t, cfg)
				a.Start()
				result := make(chan error, 1)
				go func() { result <- a.Send(t.Context(), node, call(1)) }()
				<-reached
				require.NoError(t, a.Close())
				require.ErrorIs(t, <-result, mesh.ErrClosed)
				require.ErrorIs(t, a.Send(t.Context(), node, call(1)), mesh.ErrClosed)
				require.NoError(t, a.Close(), "again")
			})
		}
	})
}

// reporting is a transport whose dials do not come back before their context ends.
type reporting struct {
	link.Transport
	reached chan struct{}
}

func (r *reporting) Dial(ctx context.Context, _ string) (link.Conn, error) {
	close(r.reached)
	<-ctx.Done()
	return nil, errors.New("some network error")
}

func TestCloseWaitsForHandlers(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		for _, from := range []mesh.NodeID{0, 1} { // over a link, and to itself
			b := c.node(t, 1)
			a := c.node(t, 0)
			entered, leave := make(chan struct{}), make(chan struct{})
			var running atomic.Int32
			b.Handle(wire.KindCall, func(mesh.NodeID, wire.Frame) {
				if running.Add(1) == 1 {
					close(entered)
				}
				<-leave
				running.Add(-1)
			})
			sender := a
			if from == 1 {
				sender = b
			}
			go func() { _ = sender.Send(t.Context(), 1, call(1)) }() // the handler says whether it arrived
			<-entered
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				assert.NoError(t, b.Close())
				assert.Zero(t, running.Load(), "a handler runs after Close")
			}()
			close(leave)
			<-closed
			require.NoError(t, a.Close())
		}
	})
}

// The end of the context that New got is the end of the mesh.
func TestMeshEndsWithItsContext(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		ctx, cancel := context.WithCancel(t.Context())
		a := c.mesh(ctx, t, c.config(0))
		a.Start()
		lostOnA := deaths(a)
		b := c.node(t, 1)
		lostOnB := deaths(b)
		require.NoError(t, a.Connect(t.Context(), 1))
		require.NoError(t, b.Connect(t.Context(), 0))
		cancel()
		assert.EqualValues(t, 0, (<-lostOnB).Node, "its peers see it go")
		require.ErrorIs(t, a.Send(t.Context(), 1, call(1)), mesh.ErrClosed)
		require.ErrorIs(t, a.Send(t.Context(), 0, call(1)), mesh.ErrClosed)
		require.NoError(t, a.Close())
		assert.Empty(t, lostOnA, "its own end is nobody's death")
	})
}

// Close on both sides at once, with senders on both, must end.
func TestEverybodyClosesAtOnce(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		const nodes = 4
		for range 10 {
			meshes := make([]*mesh.Mesh, nodes)
			for i := range meshes {
				meshes[i] = c.node(t, mesh.NodeID(i))
				collect(meshes[i], wire.KindCall)
				m := meshes[i]
				m.OnLost(func(e *mesh.LostError) { // callbacks may ask the mesh
					assert.NotNil(t, m.IsLost(e.Node))
					assert.Error(t, m.Send(t.Context(), e.Node, call(0)))
					m.OnLost(func(*mesh.LostError) {})()
				})
			}
			var wg sync.WaitGroup
			for i, m := range meshes {
				for j := range meshes {
					wg.Go(func() {
						for k := 0; ; k++ {
							if err := m.Send(t.Context(), mesh.NodeID(j), call(k), make([]byte, 100)); err != nil {
								return
							}
							if k == 50 && i == j {
								break
							}
						}
						assert.NoError(t, m.Close())
					})
				}
			}
			wg.Wait()
		}
	})
}

func TestCloseWaitsForWhatGoStarted(t *testing.T) {
	c := cluster{transport: &link.Memory{}}
	m := c.open(t, c.config(1))
	begun, ended := make(chan struct{}), false
	require.True(t, m.Go(func() {
		close(begun)
		err := m.Connect(t.Context(), 2) // nobody is there, or the mesh ends
		assert.Error(t, err)
		ended = true
	}))
	<-begun
	require.NoError(t, m.Close())
	require.True(t, ended)
	require.False(t, m.Go(func() { t.Error("ran after the end") }))
}
