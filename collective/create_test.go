// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/wire"
)

func TestFramesOfAnotherEpochAreDropped(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, old := c.group("g", 2)
	requireAll(t, each(t.Context(), old, Barrier))
	_, groups := c.group("g", 2)
	require.Equal(t, uint32(2), groups[0].Epoch())
	h := c.hub(2)
	before := h.stale.Load()
	d := descriptor{op: opBarrier}
	for name, change := range map[string]func(*wire.Header){
		"an epoch that is over":            func(h *wire.Header) { h.Epoch = 1 },
		"to a rank that lives elsewhere":   func(h *wire.Header) { h.To = 0 },
		"to no rank":                       func(h *wire.Header) { h.To = 7 },
		"from no rank":                     func(h *wire.Header) { h.From = 7 },
		"from a rank that lives elsewhere": func(h *wire.Header) { h.From = 1 },
		"a vote from no rank":              func(h *wire.Header) { h.Step, h.From = stepVote, 7 },
		"a vote of no epoch":               func(h *wire.Header) { h.Step, h.Epoch = stepVote, 9 },
		"a vote that cannot be read":       func(h *wire.Header) { h.Step = stepVote },
	} {
		hd := wire.Header{Kind: wire.KindBlock, Group: groups[0].m.s.id, Epoch: 2, Seq: 1, From: 0, To: 1, Hash: d.hash()}
		change(&hd)
		h.onBlock(1, wire.Frame{Header: hd, Body: d.append(nil)})
		before++
		require.Equal(t, before, h.stale.Load(), name)
	}
	h.onAbort(1, wire.Frame{Header: wire.Header{Kind: wire.KindAbort, Group: groups[0].m.s.id, Epoch: 1}, Body: (&ending{text: "stale"}).encode()})
	requireAll(t, each(t.Context(), groups, Barrier))
	for _, g := range old {
		require.ErrorIs(t, Barrier(t.Context(), g), ErrReplaced)
	}
}

func TestANewGroupOfTheSameNameEndsPendingOperations(t *testing.T) {
	c := newCluster(t, 3, overSockets)
	_, old := c.group("g", 3)
	pending := make(chan error, 1)
	go func() { pending <- Barrier(t.Context(), old[0]) }()
	_, groups := c.group("g", 3)
	err := <-pending
	require.ErrorIs(t, err, ErrReplaced)
	require.ErrorIs(t, err, ErrAborted)
	requireAll(t, each(t.Context(), groups, Barrier))
}

// Two owners may use one name: the later wins at the actors that both name, and its epoch is higher.
func TestTheLaterOfTwoOwnersWins(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, first := c.group("g", 4)
	ids := c.actors(4)
	slices.Reverse(ids)
	_, err := c.establishBy(1, c.invite, "g", ids)
	require.NoError(t, err)
	for _, g := range first {
		require.ErrorIs(t, Barrier(t.Context(), g), ErrReplaced)
	}
	later := c.views("g", ids)
	require.Equal(t, uint32(2), later[0].Epoch())
	requireAll(t, each(t.Context(), later, Barrier))
}

func TestCloseEndsTheGroupEverywhere(t *testing.T) {
	for _, closer := range []int{-1, 0, 4} {
		t.Run(fmt.Sprint("rank=", closer), func(t *testing.T) {
			c := newCluster(t, 4, overSockets)
			creator, groups := c.group("g", 5)
			pending := make(chan error, 1)
			go func() { pending <- Barrier(t.Context(), groups[2]) }()
			g := creator
			if closer >= 0 {
				g = groups[closer]
			}
			require.NoError(t, g.Close(t.Context()))
			require.NoError(t, g.Close(t.Context()), "again")
			err := <-pending
			require.ErrorIs(t, err, ErrClosed)
			require.Eventually(t, func() bool {
				_, err := FromContext(c.as(t.Context(), groups[3].m.sc.Actor), "g")
				return errors.Is(err, ErrClosed)
			}, 5*time.Second, time.Millisecond)
			_, again := c.group("g", 5)
			require.Equal(t, uint32(2), again[0].Epoch())
			requireAll(t, each(t.Context(), again, Barrier))
		})
	}
}

func TestAFailedCreationLeavesNoGroupToWaitFor(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	broken := errors.New("no such luck")
	ids := c.actors(4)
	var late charter
	_, err := c.establishBy(0, func(ctx context.Context, ch charter) error {
		for _, actor := range ids[:2] {
			require.NoError(t, c.join(ctx, actor, ch))
		}
		late = ch
		return broken
	}, "g", ids)
	require.ErrorIs(t, err, broken)
	require.Eventually(t, func() bool {
		_, err := FromContext(c.as(t.Context(), ids[1]), "g")
		return errors.Is(err, ErrClosed)
	}, 5*time.Second, time.Millisecond)
	require.Eventually(t, func() bool {
		return errors.Is(c.join(t.Context(), ids[3], late), ErrAborted)
	}, 5*time.Second, time.Millisecond, "a call to join that comes late is refused")
	_, groups := c.group("g", 4)
	requireAll(t, each(t.Context(), groups, Barrier))
}

// An operation may begin before all have joined, and waits for them as for any member that is late.
func TestOperationsMayBeginBeforeAllHaveJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, inMemory)
		ids := c.actors(2)
		early := make(chan error, 1)
		_, err := c.establishBy(0, func(ctx context.Context, ch charter) error {
			require.NoError(t, c.join(ctx, ids[1], ch))
			g := c.views("g", ids[1:])[0]
			go func() { early <- Barrier(t.Context(), g) }()
			time.Sleep(2 * DefaultSilence) // a node that does not know the group yet is not taken for lost
			return c.join(ctx, ids[0], ch)
		}, "g", ids)
		require.NoError(t, err)
		require.NoError(t, Barrier(t.Context(), c.views("g", ids)[0]))
		require.NoError(t, <-early)

		_, err = c.establishBy(0, func(ctx context.Context, ch charter) error {
			require.NoError(t, c.join(ctx, ids[1], ch))
			err := Barrier(t.Context(), c.views("h", ids[1:])[0]) // in vain
			require.ErrorIs(t, err, ErrStalled)
			require.ErrorContains(t, err, "rank 0 has not called it")
			synctest.Wait()
			return nil
		}, "h", ids)
		require.ErrorIs(t, err, ErrAborted)
		require.ErrorContains(t, err, "nothing moved", "the reason comes through")
	})
}

func TestTooMuchForAMemberThatHasNotJoinedEndsTheGroup(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	ids := c.actors(2)
	h := c.hub(1) // where rank 0 lives, which joins late
	h.mu.early.bytes = earlyBytes - 100
	_, err := c.establishBy(0, func(ctx context.Context, ch charter) error {
		require.NoError(t, c.join(ctx, ids[1], ch))
		err := AllReduce(t.Context(), c.views("g", ids[1:])[0], make([]byte, 1000), Sum)
		require.ErrorIs(t, err, ErrAborted)
		require.ErrorContains(t, err, "node 1 has no room for what comes before rank 0 has joined")
		return err
	}, "g", ids)
	require.ErrorIs(t, err, ErrAborted)
	require.Equal(t, earlyBytes-100, h.mu.early.bytes)
}

func TestANodeLostBeforeTheGroupIsMadeFailsItsCreation(t *testing.T) {
	c := newCluster(t, 4, inMemory)
	_, groups := c.group("first", 3)
	c.lose(2)
	require.Eventually(t, func() bool { return c.hub(1).mesh.IsLost(2) != nil }, 5*time.Second, time.Millisecond)
	require.ErrorIs(t, Barrier(t.Context(), groups[0]), ErrMemberLost)
	_, err := c.establish("second", c.actors(3))
	require.ErrorIs(t, err, ErrAborted)
}

func TestTheDriverIsNotNeededByMembers(t *testing.T) {
	c := newCluster(t, 4, inMemory)
	_, groups := c.group("g", 3)
	c.lose(0)
	requireAll(t, each(t.Context(), groups, Barrier))
}

func TestALateNoticeDoesNotReviveAnEpoch(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	creator, groups := c.group("g", 2)
	ch := charter{Name: "g", Group: creator.s.id, Epoch: 1, Owner: 0, Bounds: creator.s.bounds, Members: c.actors(2)}
	require.NoError(t, groups[1].Close(t.Context()))
	err := c.join(t.Context(), groups[1].m.sc.Actor, ch)
	require.ErrorIs(t, err, ErrAborted)
	require.ErrorIs(t, err, ErrClosed)
}
