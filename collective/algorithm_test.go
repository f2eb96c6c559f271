// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/schedule"
)

// Every algorithm of every operation gives the results that the conformance grid wants.
func TestEveryAlgorithmThatCanBeNamedIsRight(t *testing.T) {
	c := newCluster(t, 4, inMemory)
	for op := schedule.AllReduce; op <= schedule.AllToAll; op++ {
		for _, a := range schedule.Algorithms(op) {
			t.Run(fmt.Sprintf("%v/%s", op, a.Name), func(t *testing.T) {
				for _, n := range few([]int{1, 2, 3, 8, 13}, 3, 8) {
					creator, groups := c.group("named", n, Algorithm(op, a.Name))
					for _, length := range []int{0, 1, 100} {
						runTrials(t, groups, about(halves[float64]()), length)
					}
					require.NoError(t, creator.Close(t.Context()))
				}
			})
		}
	}
}

// Long buffers, which algorithms cut into parts of several frames.
func TestPartedAlgorithmsAreRightForLongBuffers(t *testing.T) {
	c := newCluster(t, 4, overSockets)
	for _, op := range []schedule.Op{schedule.AllReduce, schedule.Broadcast, schedule.Reduce} {
		for _, a := range schedule.Algorithms(op) {
			t.Run(fmt.Sprintf("%v/%s", op, a.Name), func(t *testing.T) {
				_, groups := c.group("long", 6, Algorithm(op, a.Name))
				checkAllReduce[float64](t, groups, 100003)
				checkBroadcast[float64](t, groups, 100003, 3)
			})
		}
	}
}

func TestAlgorithmsThatDoNotExistAreRefused(t *testing.T) {
	c := newCluster(t, 2, inMemory)
	for _, opts := range [][]Option{
		{Algorithm(schedule.Barrier, "ring")},
		{Algorithm(99, "ring")},
		{Algorithm(schedule.AllReduce, "ring"), Algorithm(schedule.AllReduce, "tree")},
	} {
		_, err := c.establish("bad", c.actors(2), opts...)
		require.ErrorIs(t, err, ErrArgument)
	}
}

// modelled makes a group whose table follows from a model, as one that was measured would.
func (c *cluster) modelled(n int, m *schedule.Model, opts ...Option) []*Group {
	c.t.Helper()
	_, groups := c.group("modelled", n, append(opts, predicted{m, n})...)
	return groups
}

type predicted struct {
	model *schedule.Model
	ranks int
}

func (p predicted) connect(c *connecting) { p.apply(&c.bounds) }

func (p predicted) apply(b *bounds) {
	if err := b.Select.predict(p.model, p.ranks); err != nil {
		panic(err)
	}
}

func TestMembersChooseByTheTableOfTheGroup(t *testing.T) {
	m := &schedule.Model{
		Network: schedule.Link{Latency: 20 * time.Microsecond, Overhead: time.Microsecond, PerByte: 1, Work: 0.1}, Combine: 0.1, Copy: 0.1,
	}
	c := newCluster(t, 4, inMemory)
	groups := c.modelled(13, m)
	chosen := func(op schedule.Op, bytes int) string { return groups[5].choose(op, bytes).Algorithm.Name }
	assert.Equal(t, "one-shot", chosen(schedule.AllReduce, 8))
	assert.Equal(t, "circulant", chosen(schedule.AllReduce, 8<<20))
	assert.Equal(t, "pipeline", chosen(schedule.Broadcast, 8<<20))
	for _, length := range []int{0, 5, 1000, 50000} {
		runTrials(t, groups, about(halves[float64]()), min(length, 1000))
		checkAllReduce[float64](t, groups, length)
	}
	text, err := groups[0].Explain(schedule.AllReduce, 8<<20)
	require.NoError(t, err)
	assert.Contains(t, text, "one-shot")
	assert.Contains(t, text, "the least predicted time")
	text, err = c.modelled(4, m, Algorithm(schedule.AllReduce, "ring"))[0].Explain(schedule.AllReduce, 8<<20)
	require.NoError(t, err)
	assert.Contains(t, text, "* ring: named by the option Algorithm")
}

// Groups that members make of a group have a table for their own size, which all of them have from one.
func TestGroupsMadeByMembersHaveTheirOwnTable(t *testing.T) {
	m := &schedule.Model{
		Process: schedule.Link{Overhead: 100, Work: 0.1}, Host: schedule.Link{Overhead: 2000, Work: 0.3}, Cores: 2, PerProcess: 4, PerHost: 13,
	}
	c := newCluster(t, 4, inMemory)
	groups := c.modelled(13, m)
	parts := make([]*Group, len(groups))
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) (err error) {
		parts[g.Rank()], err = g.Split(ctx, g.Rank()/9, 0)
		return err
	}))
	requireOwnTable(t, parts[:9], m)
	requireOwnTable(t, parts[9:], m)
	for _, part := range [][]*Group{parts[:9], parts[9:]} {
		requireAll(t, each(t.Context(), part, func(ctx context.Context, g *Group) error {
			buf := []int{1}
			return compare(AllReduce(ctx, g, buf, Sum), []int{g.Size()}, buf, "AllReduce")
		}))
	}
	_, left := on(groups, 2)
	c.lose(2)
	next := shrink(t, left)
	requireOwnTable(t, next, m)
	requireGroup(t, next, len(left))
	next[0].Revoke("once more, and none is lost")
	requireOwnTable(t, shrink(t, next), m)
}

func requireOwnTable(t *testing.T, groups []*Group, of *schedule.Model) {
	t.Helper()
	n := len(groups)
	model := *of
	ch := charter{Members: groups[0].s.members}
	ch.shape(&model)
	require.Equal(t, n, model.PerHost)
	var want selection
	require.NoError(t, want.predict(&model, n))
	for _, g := range groups {
		got := g.chooser()
		require.Equal(t, n, g.Size())
		require.Equal(t, want.Table, got.Table)
		require.Equal(t, model, *got.model)
		text, err := g.Explain(schedule.AllReduce, 1000)
		require.NoError(t, err)
		require.Contains(t, text, fmt.Sprintf("in a host of %d:", n))
		require.Contains(t, text, "the least predicted time")
	}
}

func TestTheModelKnowsOnHowManyHostsMembersAre(t *testing.T) {
	for want, hosts := range map[int][]uint32{7: nil, 4: {0, 0, 0, 1, 1, 1, 1}, 2: {0, 0, 1, 1, 2, 2, 3}} {
		c := charter{Name: "g", Members: []uint64{1 << 32, 2 << 32, 3 << 32, 4 << 32, 5<<32 | 1, 5<<32 | 2, 6 << 32}, Hosts: hosts}
		var m schedule.Model
		c.shape(&m)
		require.Equal(t, 2, m.PerProcess)
		require.Equal(t, want, m.PerHost)
	}
}

func TestExplainWithoutAModelNamesTheLimits(t *testing.T) {
	c := newCluster(t, 2, inMemory)
	_, groups := c.group("plain", 2)
	text, err := groups[0].Explain(schedule.AllReduce, 8)
	require.NoError(t, err)
	assert.Contains(t, text, "gather, by fixed limits")
	for _, err := range each(t.Context(), groups, func(_ context.Context, g *Group) error {
		_, err := g.Explain(99, 8)
		return err
	}) {
		require.ErrorIs(t, err, ErrArgument)
	}
	_, err = groups[0].Predict(schedule.AllReduce, 8)
	require.ErrorContains(t, err, "no model")
	_, err = groups[0].Explain(schedule.AllReduce, -1)
	require.ErrorIs(t, err, ErrArgument)
}

func TestMeasuringGivesAModelInBounds(t *testing.T) {
	h := newCluster(t, 2, inMemory).hub(1)
	for range 3 {
		m, err := h.measure(t.Context())
		require.NoError(t, err)
		require.NoError(t, m.Validate())
		assert.Positive(t, m.Process.Overhead)
		assert.Positive(t, m.Host.Overhead)
		assert.Positive(t, m.Host.Work)
		assert.Positive(t, m.Combine)
		assert.Positive(t, m.Copy)
		assert.Positive(t, m.Cores)
	}
}

func BenchmarkMeasure(b *testing.B) {
	h := newCluster(b, 2, inMemory).hub(1)
	for b.Loop() {
		if _, err := h.measure(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
