// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// checkRing passes buffers of different lengths around, by some steps at once.
func checkRing[T int8 | float64](t *testing.T, groups []*Group, length, by int) {
	t.Helper()
	n := len(groups)
	made := func(rank int) []T {
		buf := make([]T, length+rank)
		for i := range buf {
			buf[i] = T(value(i, rank))
		}
		return buf
	}
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		from := (g.Rank() + n - by%n) % n
		in, out, want := made(g.Rank()), make([]T, length+from), made(from)
		return compare(SendRecv(ctx, g, in, (g.Rank()+by)%n, out, from, by), want, out, "ring of %d by %d", n, by)
	}))
}

func TestSendRecvPassesBuffersAroundARing(t *testing.T) {
	for _, nodes := range []int{1, 2, 3, 5} {
		c := newCluster(t, nodes+1, overSockets)
		for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 31} {
			_, groups := c.group(fmt.Sprint("g", n), n)
			for _, length := range lengths(n) {
				checkRing[int8](t, groups, length, 1)
				checkRing[float64](t, groups, length, n/2)
				checkRing[float64](t, groups, length, n) // to itself
			}
		}
	}
}

// More than the window goes around, so that all must send and receive by turns.
func TestALongRingDoesNotBlock(t *testing.T) {
	c := newCluster(t, 3, overSockets)
	_, groups := c.group("g", 3)
	checkRing[float64](t, groups, 3*window/8, 1)
	checkRing[float64](t, groups, window/4, 3)
}

func TestMessagesAreTakenByTagAndKeepTheirOrderWithinOne(t *testing.T) {
	const messages = 20
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", 2)
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		if g.Rank() == 0 {
			for i := range messages {
				for tag := range 3 {
					if err := Send(ctx, g, []int{i, tag}, 1, tag); err != nil {
						return err
					}
				}
			}
			return Barrier(ctx, g)
		}
		for _, tag := range []int{2, 0, 1} {
			for i := range messages {
				buf := make([]int, 2)
				if err := compare(Recv(ctx, g, buf, 0, tag), []int{i, tag}, buf, "tag %d", tag); err != nil {
					return err
				}
			}
		}
		return Barrier(ctx, g)
	}))
}

// Messages that nobody has taken do not hold up what the group does together.
func TestMessagesThatWaitDoNotDisturbOtherOperations(t *testing.T) {
	c := newCluster(t, 3, overSockets)
	_, groups := c.group("g", 2)
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		buf := make([]int32, window/4-100000) // nearly a window
		if g.Rank() == 0 {
			buf[7] = 9
			if err := Send(ctx, g, buf, 1, 1); err != nil {
				return err
			}
		}
		sums := make([]float64, 2*window/8)
		for i := range sums {
			sums[i] = 1
		}
		if err := AllReduce(ctx, g, sums, Sum); err != nil {
			return err
		}
		assert.Equal(t, []float64{2, 2}, sums[:2])
		if g.Rank() == 1 {
			err := Recv(ctx, g, buf, 0, 1)
			assert.Equal(t, int32(9), buf[7])
			return err
		}
		return nil
	}))
}

// A sender that runs ahead waits for room, and goes on when it has been made.
func TestASenderThatRunsAheadWaitsForRoom(t *testing.T) {
	const messages = 100
	c := newCluster(t, 3, overSockets)
	_, groups := c.group("g", 2)
	done := make(chan error, 1)
	go func() {
		for i := range messages {
			buf := make([]byte, 128<<10)
			buf[0] = byte(i)
			if err := Send(t.Context(), groups[0], buf, 1, 0); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := range messages {
		buf := make([]byte, 128<<10)
		require.NoError(t, Recv(t.Context(), groups[1], buf, 0, 0))
		require.Equal(t, byte(i), buf[0])
		m := groups[1].m
		m.mu.Lock()
		queued := m.mu.points[0].queued
		m.mu.Unlock()
		require.LessOrEqual(t, queued, window)
	}
	require.NoError(t, <-done)
}

func TestSendAndRecvThatDoNotFitAreNamedByBothSides(t *testing.T) {
	cases := map[string]struct {
		recv func(ctx context.Context, g *Group) error
		text string
	}{
		"count": {
			func(ctx context.Context, g *Group) error { return Recv(ctx, g, make([]int, 11), 0, 3) },
			"rank 1 called Recv(int x 11, tag 3)",
		},
		"type": {
			func(ctx context.Context, g *Group) error { return Recv(ctx, g, make([]float64, 10), 0, 3) },
			"rank 1 called Recv(float64 x 10, tag 3)",
		},
		"of both ways": {
			func(ctx context.Context, g *Group) error {
				return SendRecv(ctx, g, make([]int, 10), 0, make([]int, 12), 0, 3)
			},
			"rank 1 called Recv(int x 12, tag 3)",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3, inMemory)
			_, groups := c.group("g", 2)
			for _, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				if g.Rank() == 1 {
					return tc.recv(ctx, g)
				}
				if err := Send(ctx, g, make([]int, 10), 1, 3); err != nil {
					return err
				}
				return Barrier(ctx, g)
			}) {
				require.ErrorIs(t, err, ErrMismatch)
				require.ErrorContains(t, err, "rank 0 called Send(int x 10, tag 3)")
				require.ErrorContains(t, err, tc.text)
			}
		})
	}
}

// Rank 2 waits for 1, which waits for 0, which does nothing: 0 is to blame, in the eyes of both.
func TestTheDeadlineOfARecvNamesTheMemberThatAllWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4, inMemory)
		_, groups := c.group("g", 3)
		for rank, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			if g.Rank() == 0 {
				<-g.m.s.ctx.Done()
				return Barrier(ctx, g)
			}
			return Recv(ctx, g, make([]int, 1), g.Rank()-1, 0)
		}) {
			requireAborted(t, err, rank, context.DeadlineExceeded, []int{0})
			require.ErrorContains(t, err, "rank 0 has not called it")
		}
	})
}
