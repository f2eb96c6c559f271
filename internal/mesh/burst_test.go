// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

// Frames of bursts arrive, and in order with others, whether the connections were there or not.
func TestBurstsReachAllNodesInOrder(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		a := c.node(t, 0)
		in := []<-chan received{collect(a, wire.KindCall)}
		for id := range mesh.NodeID(3) {
			in = append(in, collect(c.node(t, id+1), wire.KindCall))
		}
		const rounds = 20
		for i := range rounds {
			burst := a.Burst(len(in))
			for to := range in {
				require.NoError(t, burst.Send(t.Context(), mesh.NodeID(to), call(2*i), []byte("held")))
			}
			burst.End()
			for to := range in {
				require.NoError(t, a.Send(t.Context(), mesh.NodeID(to), call(2*i+1)))
			}
		}
		for _, ch := range in {
			for i := range 2 * rounds {
				assert.EqualValues(t, i, (<-ch).Seq)
			}
		}
	})
}

func TestBurstSaysThatANodeIsLost(t *testing.T) {
	eachTransport(t, func(t *testing.T, c cluster) {
		a := c.node(t, 0)
		in := collect(c.node(t, 1), wire.KindCall)
		c.node(t, 2)
		require.NoError(t, a.Connect(t.Context(), 1))
		require.NoError(t, a.Connect(t.Context(), 2))
		a.Lost(2, errors.New("gone"))
		burst := a.Burst(2)
		require.NoError(t, burst.Send(t.Context(), 1, call(5)))
		var lost *mesh.LostError
		require.ErrorAs(t, burst.Send(t.Context(), 2, call(5)), &lost)
		burst.End()
		assert.EqualValues(t, 5, (<-in).Seq, "the others get theirs")
	})
}

// bell counts how often it is rung.
type bell struct{ rung atomic.Int32 }

func (b *bell) Hold(*wire.Header, ...[]byte) error { return nil }
func (b *bell) Ring()                              { b.rung.Add(1) }

// Whether one goroutine wakes all nodes or several do, each is woken once.
func TestABurstWakesEveryNodeOnce(t *testing.T) {
	for _, n := range []int{1, 2, 99, 100, 101, 350} {
		m := mesh.New(t.Context(), mesh.Config{})
		rounds := make([][]bell, 5) // later bursts are made of what earlier ones have left
		for i := range rounds {
			rounds[i] = make([]bell, n)
			held := make([]link.Holder, n)
			for j := range held {
				held[j] = &rounds[i][j]
			}
			mesh.BurstOf(m, held).End()
		}
		require.NoError(t, m.Close()) // waits for those who wake
		for _, bells := range rounds {
			for i := range bells {
				require.EqualValues(t, 1, bells[i].rung.Load(), "node %d of %d", i, n)
			}
		}
	}
}
