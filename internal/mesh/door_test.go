// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh_test

import (
	"context"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/handshake"
	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

// The bounds of connections that have not proved themselves.
const (
	maxGuests     = 512
	guestPatience = 3 * time.Second
)

// Strangers who fill all places keep out a node that belongs here no longer than the oldest of them has patience.
func TestStrangersGiveTheirPlacesToWhoComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster{transport: new(link.Memory)}
		log := new(logBuffer)
		cfg := c.config(1)
		cfg.Logger = log.logger()
		m := c.open(t, cfg)
		m.Start()
		strangers := make([]link.Conn, maxGuests)
		for i := range strangers {
			strangers[i] = c.dial(t, 1)
			if i == 0 {
				time.Sleep(guestPatience / 2)
			}
		}
		a := c.node(t, 0)
		start := time.Now()
		require.NoError(t, a.Connect(t.Context(), 1))
		assert.Equal(t, guestPatience/2, time.Since(start), "the oldest had half its patience left")
		_, err := strangers[0].Recv()
		require.ErrorIs(t, err, link.ErrClosed, "the oldest went")
		synctest.Wait()
		assert.Contains(t, log.String(), "too many connections at once")

		// The others stay until their time is over.
		ended := make(chan time.Duration, maxGuests)
		for _, s := range strangers[1:] {
			go func() {
				_, err := s.Recv()
				assert.ErrorIs(t, err, link.ErrClosed)
				ended <- time.Since(start)
			}()
		}
		for range strangers[1:] {
			assert.Equal(t, handshakeTimeout, <-ended)
		}
		require.NoError(t, a.Close())
		require.NoError(t, m.Close())
	})
}

func TestCloseDoesNotWaitForThoseAtTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster{transport: new(link.Memory)}
		m := c.node(t, 1)
		for range maxGuests + 1 {
			c.dial(t, 1)
		}
		synctest.Wait()
		start := time.Now()
		require.NoError(t, m.Close())
		assert.Zero(t, time.Since(start))
	})
}

// Thousands of strangers over TCP, who say nothing, half a header, or the header of a large frame, cost little and do not keep
// a node out that belongs here.
func TestAFloodOfStrangersIsBounded(t *testing.T) {
	leakcheck.Check(t)
	const strangers = 2000
	c := newTCPCluster()
	m := c.node(t, 1)
	header := call(1)
	header.Length = 60 << 20
	greetings := [][]byte{nil, header.Append(nil)[:20], header.Append(nil), make([]byte, 4<<10)}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	conns := make([]net.Conn, 0, strangers)
	defer func() {
		for _, nc := range conns {
			_ = nc.Close()
		}
	}()
	for i := range strangers {
		nc, err := net.Dial("tcp", c.address(1))
		require.NoError(t, err)
		conns = append(conns, nc)
		_, _ = nc.Write(greetings[i%len(greetings)]) // it may have been hung up on already
	}
	a := c.node(t, 0)
	require.NoError(t, a.Connect(t.Context(), 1))
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	assert.Less(t, grown, int64(strangers*8<<10), "both ends of all of them are in this process")
	require.NoError(t, m.Close())
}

func TestAnAddressThatIsSomebodyElsesByNow(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		c.node(t, 1)
		moved := c.config(0)
		address := moved.Address
		moved.Address = func(ctx context.Context, _ mesh.NodeID) (string, error) { return address(ctx, 1) }
		a := c.open(t, moved)
		a.Start()
		err := a.Send(t.Context(), 2, call(1))
		require.EqualError(t, err, "introduce to node 2: node 1 answers at its address")
		assert.Nil(t, a.IsLost(2), "it is not reached, not lost")
		require.NoError(t, a.Connect(t.Context(), 1))
	})
}

// A node without a secret, or with another than the listener's, finds that out before it believes anything.
func TestAListenerThatDoesNotKnowTheSecretIsNotBelieved(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		c.host(t, 1, func(conn link.Conn) {
			_, err := conn.Recv()
			assert.NoError(t, err)
			own := hello(1)
			assert.NoError(t, conn.Send(t.Context(), &wire.Header{Kind: wire.KindHello}, own.Append(nil)))
			f, err := conn.Recv() // the proof of the dialler, which it cannot use for its own
			assert.NoError(t, err)
			assert.NoError(t, conn.Send(t.Context(), &wire.Header{Kind: wire.KindAccept}, f.Body))
			drain(conn)
		})
		a := c.node(t, 0)
		err := a.Send(t.Context(), 1, call(1))
		require.ErrorIs(t, err, handshake.ErrUnauthorized)
		require.ErrorContains(t, err, "introduce to node 1: wrong cluster secret")
	})
}

func TestARequestToJoinWhoeverIsNotTheDriver(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		c.node(t, 1)
		h := hello(wire.NoNode)
		h.Purpose = wire.PurposeControl
		_, fault := c.refused(t, h, secret)
		assert.Equal(t, "node 1 is not the driver", fault.Message)
	})
}

// Whoever asks for the control plane goes on with bytes, in both directions.
func TestControlConnectionsAreHandedOver(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		if c.dir == "" && c.ports == nil {
			t.Log("a link in memory carries frames only, and says so")
		}
		handed := make(chan net.Conn, 1)
		cfg := c.config(0)
		cfg.Control = func(nc net.Conn) { handed <- nc }
		m := c.open(t, cfg)
		m.Start()
		lost := deaths(m)
		h := hello(wire.NoNode)
		h.Purpose = wire.PurposeControl
		conn := c.accepted(t, h)
		d, ok := conn.(link.Detacher)
		if !ok {
			_, err := conn.Recv()
			require.ErrorIs(t, err, link.ErrClosed)
			return
		}
		here, err := d.Detach()
		require.NoError(t, err)
		there := <-handed
		_, err = here.Write([]byte("ping"))
		require.NoError(t, err)
		got := make([]byte, 4)
		_, err = io.ReadFull(there, got)
		require.NoError(t, err)
		assert.Equal(t, "ping", string(got))
		_, err = there.Write([]byte("pong"))
		require.NoError(t, err)
		_, err = io.ReadFull(here, got)
		require.NoError(t, err)
		assert.Equal(t, "pong", string(got))
		require.NoError(t, there.Close())
		require.NoError(t, m.Close())
		assert.Empty(t, lost, "it is no node's link")
	})
}
