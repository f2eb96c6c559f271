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
				for _, n := range []int{1, 2, 3, 8, 13} {
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
