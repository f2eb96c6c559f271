// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/handshake"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

func TestDeathOfAPeerIsToldOnceAndFailsSends(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		a, b := c.node(t, 0), c.node(t, 1)
		lost, other := deaths(a), deaths(a)
		cancelled := 0
		a.OnLost(func(*mesh.LostError) { cancelled++ })()
		require.NoError(t, a.Connect(t.Context(), 1))
		require.Nil(t, a.IsLost(1))
		require.NoError(t, b.Close())

		e := <-lost
		assert.EqualValues(t, 1, e.Node)
		assert.ErrorIs(t, e, link.ErrClosed)
		assert.ErrorContains(t, e, "node 1 is lost: link: closed")
		assert.Same(t, e, <-other)
		assert.Same(t, e, a.IsLost(1))
		var le *mesh.LostError
		require.ErrorAs(t, a.Send(t.Context(), 1, call(1)), &le)
		assert.Same(t, e, le)
		require.ErrorAs(t, a.Connect(t.Context(), 1), &le)
		require.NoError(t, a.Close())
		assert.Empty(t, lost)
		assert.Zero(t, cancelled)
	})
}

func TestOwnCloseIsNobodysDeath(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		a := c.node(t, 0)
		c.node(t, 1)
		lost := deaths(a)
		require.NoError(t, a.Connect(t.Context(), 1))
		require.NoError(t, a.Close())
		assert.Empty(t, lost)
	})
}

// silent accepts the handshake and then does not read. It hangs up when told to.
func silent(t *testing.T, c cluster, node mesh.NodeID) (hangUp func()) {
	t.Helper()
	stop := make(chan struct{})
	once := sync.OnceFunc(func() { close(stop) })
	t.Cleanup(once)
	c.host(t, node, func(conn link.Conn) {
		_, err := handshake.Party{Hello: hello(node), Secret: []byte(secret)}.Accept(t.Context(), conn, nil)
		assert.NoError(t, err)
		<-stop
	})
	t.Cleanup(once) // before the host's own
	return once
}

// A Send that waits for room learns of a death as well, whoever says so: the link, this side, or Close.
func TestSendBlockedForRoomEndsWithThePeer(t *testing.T) {
	for _, end := range []string{"peer", "verdict", "close"} {
		t.Run("end="+end, func(t *testing.T) {
			eachTransport(t, func(t *testing.T, c cluster) {
				hangUp := silent(t, c, 1)
				a := c.node(t, 0)
				lost := deaths(a)
				require.NoError(t, a.Connect(t.Context(), 1))
				const senders = 3
				results := make(chan error, senders)
				for range senders {
					go func() {
						for {
							if err := a.Send(t.Context(), 1, call(1), make([]byte, 4<<20)); err != nil {
								results <- err
								return
							}
						}
					}()
				}
				select {
				case err := <-results:
					require.NoError(t, err, "must block")
				case <-time.After(50 * time.Millisecond):
				}
				switch end {
				case "peer":
					hangUp()
				case "verdict":
					a.Lost(1, errors.New("missed its heartbeats"))
				case "close":
					require.NoError(t, a.Close())
				}
				for range senders {
					err := <-results
					if end == "close" {
						require.ErrorIs(t, err, mesh.ErrClosed)
						continue
					}
					var le *mesh.LostError
					require.ErrorAs(t, err, &le)
					assert.EqualValues(t, 1, le.Node)
					if end == "verdict" {
						assert.EqualError(t, le, "node 1 is lost: missed its heartbeats")
					}
				}
				if end != "close" {
					assert.EqualValues(t, 1, (<-lost).Node)
				}
				require.NoError(t, a.Close())
				assert.Empty(t, lost)
			})
		})
	}
}

// A node answers and ends, while this side is busy and then sends to it. The Send fails, but the answers, which have
// arrived, are handled before the node is declared lost.
func TestWhatALostNodeSentBeforeIsHandledFirst(t *testing.T) {
	const frames = 100
	eachTransport(t, func(t *testing.T, c cluster) {
		m := c.node(t, 0)
		busy, entered := make(chan struct{}), make(chan struct{}, frames)
		var handled atomic.Int32
		m.Handle(wire.KindReply, func(mesh.NodeID, wire.Frame) {
			entered <- struct{}{}
			<-busy
			handled.Add(1)
		})
		handledWhenLost := make(chan int32, 1)
		m.OnLost(func(*mesh.LostError) { handledWhenLost <- handled.Load() })
		conn := c.accepted(t, hello(1))
		for i := range frames {
			require.NoError(t, conn.Send(t.Context(), &wire.Header{Kind: wire.KindReply, Seq: uint64(i)}))
		}
		<-entered
		require.NoError(t, conn.Close())
		for {
			err := m.Send(t.Context(), 1, call(1)) // the first may be taken before the end is noticed
			if err == nil {
				continue
			}
			var le *mesh.LostError
			require.ErrorAs(t, err, &le)
			assert.EqualValues(t, 1, le.Node)
			break
		}
		close(busy)
		assert.EqualValues(t, frames, <-handledWhenLost)
		require.NoError(t, m.Close())
	})
}

// Whoever waits for a dial learns at once that the node was found to be dead meanwhile.
func TestVerdictEndsADial(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		reached, ended := make(chan struct{}), make(chan struct{})
		c.host(t, 1, func(conn link.Conn) {
			_, err := conn.Recv()
			assert.NoError(t, err)
			close(reached)
			drain(conn)
			close(ended)
		})
		a := c.node(t, 0)
		result := make(chan error, 1)
		go func() { result <- a.Send(t.Context(), 1, call(1)) }()
		<-reached
		start := time.Now()
		e := a.Lost(1, errors.New("its process has ended"))
		var le *mesh.LostError
		require.ErrorAs(t, <-result, &le)
		assert.Same(t, e, le)
		<-ended
		assert.Less(t, time.Since(start), handshakeTimeout/2)
	})
}

// Two connections with one node are one node: when one ends, so does the other.
func TestSecondConnectionOfALostNodeIsClosed(t *testing.T) {
	for _, end := range []string{"first", "second", "verdict"} {
		t.Run("end="+end, func(t *testing.T) {
			eachTransport(t, func(t *testing.T, c cluster) {
				m := c.node(t, 0)
				in := collect(m, wire.KindCall)
				lost := deaths(m)
				first := c.accepted(t, hello(1))
				require.NoError(t, first.Send(t.Context(), call(1)))
				assert.EqualValues(t, 1, (<-in).Seq)
				second := c.accepted(t, hello(1))
				require.NoError(t, second.Send(t.Context(), call(2)))
				assert.EqualValues(t, 2, (<-in).Seq)

				for i := range 3 { // all on the first
					require.NoError(t, m.Send(t.Context(), 1, call(i)))
					f, err := first.Recv()
					require.NoError(t, err)
					require.EqualValues(t, i, f.Seq)
				}
				open := []link.Conn{first, second}
				switch end {
				case "first":
					require.NoError(t, first.Close())
					open = open[1:]
				case "second":
					require.NoError(t, second.Close())
					open = open[:1]
				default:
					m.Lost(1, errors.New("missed its heartbeats"))
				}
				for _, conn := range open {
					_, err := conn.Recv()
					require.ErrorIs(t, err, link.ErrClosed)
				}
				assert.EqualValues(t, 1, (<-lost).Node)
				require.NoError(t, m.Close())
				assert.Empty(t, lost)
			})
		})
	}
}

// The first cause is the one that is kept: a bad frame, not the closing that follows it.
func TestBadFrameIsTheCauseOfTheLoss(t *testing.T) {
	c := unixCluster(t)
	log := new(logBuffer)
	cfg := c.config(0)
	cfg.Logger = log.logger()
	m := c.open(t, cfg)
	m.Start()
	lost := deaths(m)
	conn := c.accepted(t, hello(1))
	raw, err := conn.(link.Detacher).Detach() //nolint:errcheck,forcetypeassert // a Unix socket can
	require.NoError(t, err)
	_, err = raw.Write(make([]byte, wire.HeaderSize))
	require.NoError(t, err)
	e := <-lost
	require.ErrorIs(t, e, wire.ErrFrame)
	assert.ErrorContains(t, e, "node 1 is lost: wire: malformed frame: starts with 00 00")
	require.NoError(t, m.Close())
	assert.Contains(t, log.String(), "bad frame, closing the link")
}

// A peer that speaks another version is told which one this is.
func TestOtherVersionIsAnsweredWithABuildFault(t *testing.T) {
	c := unixCluster(t)
	m := c.node(t, 0)
	raw := dialRaw(t, c.address(0))
	other := (&wire.Header{Kind: wire.KindHello}).Append(nil)
	other[2] = wire.Version + 1
	_, err := raw.Write(other)
	require.NoError(t, err)
	answer := readFrame(t, raw)
	assert.Equal(t, wire.KindAccept, answer.Kind)
	accept, err := wire.ParseAccept(answer.Body)
	require.NoError(t, err)
	require.NotNil(t, accept.Fault)
	assert.Equal(t, wire.FaultBuild, accept.Fault.Code)
	assert.Contains(t, accept.Fault.Message, fmt.Sprintf("peer speaks frame version %d, this build speaks %d", wire.Version+1, wire.Version))
	require.NoError(t, raw.CloseWrite())
	require.NoError(t, m.Close())
}

func TestGarbageOnTheSocketHarmsNobody(t *testing.T) {
	c := unixCluster(t)
	m := c.node(t, 0)
	lost := deaths(m)
	for _, garbage := range []string{"", "x", "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: somebody\r\nAccept: */*\r\n\r\n"} {
		raw := dialRaw(t, c.address(0))
		_, err := raw.Write([]byte(garbage))
		require.NoError(t, err)
		require.NoError(t, raw.CloseWrite())
		_, err = raw.Read(make([]byte, 1))
		require.Error(t, err, "hung up")
	}
	c.accepted(t, hello(1))
	require.NoError(t, m.Close())
	assert.Empty(t, lost)
}
