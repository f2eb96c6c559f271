// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/certs"
	"github.com/tutti-go/tutti/internal/handshake"
	"github.com/tutti-go/tutti/internal/lane"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

// sent is an owner of segments that passes on what becomes of them.
type sent chan error

func (s sent) Sent(_ *lane.Segment, err error) { s <- err }

// eachTCP runs a test over TCP, in the clear and encrypted.
func eachTCP(t *testing.T, test func(t *testing.T, c cluster)) {
	t.Helper()
	t.Run("link=tcp", func(t *testing.T) { test(t, newTCPCluster()) })
	t.Run("link=tls", func(t *testing.T) {
		files, err := certs.Make(t.TempDir(), certs.Name)
		require.NoError(t, err)
		cfg, err := certs.Load(files)
		require.NoError(t, err)
		test(t, cluster{transport: link.TCP{TLS: cfg}, ports: new(sync.Map)})
	})
}

// reading makes a node read lanes to their ends, and returns how many bytes came from whom, lane by lane.
func reading(m *mesh.Mesh) chan [2]int {
	came := make(chan [2]int, 100)
	m.HandleLanes(func(from mesh.NodeID, nc net.Conn) error {
		b := make([]byte, 3)
		n, err := io.ReadFull(nc, b)
		came <- [2]int{int(from), n}
		if err == nil {
			_, err = nc.Read(b)
		}
		return err
	})
	return came
}

func TestLanesAreOpenedWhenThereIsSomethingToSend(t *testing.T) {
	eachTCP(t, func(t *testing.T, c cluster) {
		a, b := c.node(t, 0), c.node(t, 1)
		came, lost := reading(b), deaths(a)
		assert.Nil(t, a.Lanes(1, 2), "there is no link yet")
		require.NoError(t, a.Connect(t.Context(), 1))
		s := a.Lanes(1, 2)
		require.NotNil(t, s)
		assert.Same(t, s, a.Lanes(1, 2))
		assert.Zero(t, s.Lanes())
		told := make(sent, 1)
		require.NoError(t, s.Send(&lane.Segment{Owner: told, Head: []byte{1}, Body: [][]byte{{2}, {3}}}))
		require.NoError(t, <-told)
		assert.Equal(t, [2]int{0, 3}, <-came)
		assert.Equal(t, 1, s.Lanes())

		require.NoError(t, b.Close())
		e := <-lost
		assert.ErrorIs(t, e, link.ErrClosed, "the link ended, too, and is heard first")
		require.ErrorIs(t, s.Send(&lane.Segment{Owner: told}), e)
	})
}

func TestLinksWithinAHostNeedNoLanes(t *testing.T) {
	for name, c := range map[string]cluster{"memory": {transport: new(link.Memory)}, "unix": unixCluster(t)} {
		t.Run(name, func(t *testing.T) {
			a, b := c.node(t, 0), c.node(t, 1)
			reading(b)
			require.NoError(t, a.Connect(t.Context(), 1))
			assert.Nil(t, a.Lanes(1, 2))
		})
	}
}

func TestANodeWithoutAHandlerTakesNoLanes(t *testing.T) {
	c := newTCPCluster()
	a := c.node(t, 0)
	c.node(t, 1)
	require.NoError(t, a.Connect(t.Context(), 1))
	told := make(sent, 1)
	require.NoError(t, a.Lanes(1, 2).Send(&lane.Segment{Owner: told}))
	var refused *mesh.RefusedError
	err := <-told
	require.ErrorAs(t, err, &refused)
	require.ErrorContains(t, err, "node 1 takes no lanes")
	require.Nil(t, a.IsLost(1), "the link is as good as before")
}

// Who opens a lane proves what who opens a link proves.
func TestALaneOfAStrangerIsRefused(t *testing.T) {
	eachTCP(t, func(t *testing.T, c cluster) {
		b := c.node(t, 1)
		came := reading(b)
		h := hello(7)
		h.Purpose = wire.PurposeLane
		conn := c.dial(t, 1)
		_, err := handshake.Party{Hello: h, Secret: []byte("another secret, as long as it is")}.Dial(t.Context(), conn, nil)
		require.Error(t, err)
		assert.Empty(t, came)
	})
}

// A lane that ends by itself has lost what was on it. Both ends find that the other is lost, though the link would last.
func TestTheEndOfALaneIsTheEndOfTheNode(t *testing.T) {
	for _, side := range []string{"who sends", "who receives"} {
		t.Run(side, func(t *testing.T) {
			c := newTCPCluster()
			a, b := c.node(t, 0), c.node(t, 1)
			conns := make(chan net.Conn, 1)
			ended := errors.New("enough")
			b.HandleLanes(func(_ mesh.NodeID, nc net.Conn) error {
				conns <- nc
				if side == "who receives" {
					return ended
				}
				_, err := io.Copy(io.Discard, nc)
				return errors.Join(err, io.EOF)
			})
			lostA, lostB := deaths(a), deaths(b)
			require.NoError(t, a.Connect(t.Context(), 1))
			told := make(sent, 1)
			require.NoError(t, a.Lanes(1, 1).Send(&lane.Segment{Owner: told, Head: []byte{1}}))
			_, nc := <-told, <-conns // it may be out before the end
			if side == "who sends" {
				require.NoError(t, nc.Close())
			}
			first, second := <-lostA, <-lostB
			assert.EqualValues(t, 1, first.Node)
			assert.EqualValues(t, 0, second.Node)
			// Who finds it first closes the link, which may be what the other finds.
			causes := errors.Join(first, second).Error()
			assert.Contains(t, causes, "a lane ended")
		})
	}
}
