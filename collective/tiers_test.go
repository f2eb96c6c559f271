// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/schedule"
)

// Buffers of no chunk, of a part of one, and of several with a rest; hosts with several members, some in one process, and with one; and members that are late.
func TestOperationsInTiers(t *testing.T) {
	d := integers[int64]()
	c := makers()["tiers"](t, 6)
	for n, alone := range map[int]int{3: 1, 5: 1, 10: 0} { // members, and those of them that are alone on their host
		_, groups := c.group(fmt.Sprint("g", n), n)
		lengths := []int{0, 1, 3*n + 1, 1000, tierBytes / 8, 5*tierBytes/16 + 77}
		if raceEnabled && n != 5 { // which are on three hosts as well: what is long takes minutes and gigabytes there
			lengths = lengths[:4]
		}
		for _, length := range lengths {
			rng := rand.New(rand.NewPCG(uint64(n), uint64(length)))
			trials := append(d.moves(rng, n, length), longReduceScatter(n, length))
			for _, op := range []Op{Sum, Avg, Max} {
				trials = append(trials, d.reductions(rng, n, length, op)...)
			}
			requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				for i, trial := range trials {
					if (i+g.Rank())%4 == 0 {
						waitFor(ctx, time.Millisecond)
					}
					if err := trial(ctx, g); err != nil {
						return fmt.Errorf("%d members, length %d: %w", n, length, err)
					}
				}
				return nil
			}))
		}
		without := 0
		for _, g := range groups {
			require.NotNil(t, g.m.host.tier.Load(), "%d members", n)
			if g.m.host.tier.Load().port == nil {
				without++
			}
		}
		assert.Equal(t, alone, without, "%d members", n)
	}
}

// longReduceScatter has parts of any length, of which those of one host take several chunks.
func longReduceScatter(n, length int) trial {
	return func(ctx context.Context, g *Group) error {
		in, out, want := make([]int64, n*length), make([]int64, length), make([]int64, length)
		for i := range in {
			in[i] = int64(i + g.Rank())
		}
		for i := range want {
			want[i] = int64(n*(g.Rank()*length+i) + n*(n-1)/2)
		}
		return compare(ReduceScatter(ctx, g, in, out, Sum), want, out, "long ReduceScatter")
	}
}

// Blocks of no length, and of more than a head takes at a time, on three hosts of four, four and two members; roots that are heads and others.
func TestUnevenGathersAndScattersInTiers(t *testing.T) {
	const n = 10
	_, groups := makers()["tiers"](t, 6).group("g", n)
	counts := []int{3, 0, 1000, tierBytes/2 + 5, 64, 1, 70000, 0, 9, tierBytes + 1}
	whole := make([]byte, sumAll(counts))
	for i := range whole {
		whole[i] = byte(i * 7 >> 3)
	}
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		at := sumAll(counts[:g.Rank()])
		own := whole[at : at+counts[g.Rank()]]
		for _, root := range []int{0, 1, 3, 6, 9} {
			in, out, want := []byte(nil), make([]byte, len(own)), []byte(nil)
			all := []byte(nil)
			if g.Rank() == root {
				in, all, want = whole, make([]byte, len(whole)), whole
			}
			if err := compare(ScatterV(ctx, g, in, out, counts, root), own, out, "ScatterV from %d", root); err != nil {
				return err
			}
			if err := compare(GatherV(ctx, g, own, all, counts, root), want, all, "GatherV to %d", root); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, g := range groups {
		assert.True(t, g.m.host.tier.Load().takes(opGatherV, &arithmetic{}))
		assert.True(t, g.m.host.tier.Load().takes(opScatterV, &arithmetic{}))
	}
}

// Ranks of one host that do not follow each other: what needs regions in one piece goes by messages, all else by tiers. So do sums with factors, for which
// each member prepares what it gives.
func TestTiersOfHostsWhoseRanksAlternate(t *testing.T) {
	c := makers()["tiers"](t, 5)
	members := []uint64{1<<32 | 1, 3<<32 | 2, 2<<32 | 3, 4<<32 | 4, 1<<32 | 5}
	_, err := c.establish("g", members)
	require.NoError(t, err)
	groups, n := c.views("g", members), len(members)
	d, rng := integers[int32](), rand.New(rand.NewPCG(1, 2))
	trials := append(d.moves(rng, n, 5000), d.reductions(rng, n, 5000, Sum)...)
	trials = append(trials, func(ctx context.Context, g *Group) error {
		out := []int32{0, 0}
		in := slices.Repeat([]int32{int32(g.Rank())}, 2*n)
		return compare(ReduceScatter(ctx, g, in, out, PremulSum(3)), []int32{30, 30}, out, "sums with factors")
	})
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		for _, trial := range trials {
			if err := trial(ctx, g); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, g := range groups {
		tier := g.m.host.tier.Load()
		require.NotNil(t, tier)
		assert.False(t, tier.takes(opAllGather, &arithmetic{}))
		assert.False(t, tier.takes(opGather, &arithmetic{}))
		assert.True(t, tier.takes(opBroadcast, &arithmetic{}))
	}
}

// What Explain says is what runs: members that are no heads send nothing in operations that go by hosts.
func TestExplainSaysWhatGoesByHosts(t *testing.T) {
	_, groups := makers()["tiers"](t, 5).group("g", 8)
	text, err := groups[0].Explain(schedule.AllReduce, 1000)
	require.NoError(t, err)
	assert.Contains(t, text, "which they find out in their first operation")
	requireAll(t, each(t.Context(), groups, Barrier))
	sent := func(m *member) (total uint64) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, e := range m.mu.edges {
			total += e.sent
		}
		return total
	}
	const count = 3000
	for op, operate := range map[schedule.Op]func(context.Context, *Group) error{
		schedule.AllReduce: func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, make([]int8, count), Sum) },
		schedule.Reduce:    func(ctx context.Context, g *Group) error { return Reduce(ctx, g, make([]int8, count), Sum, 1) },
		schedule.Broadcast: func(ctx context.Context, g *Group) error { return Broadcast(ctx, g, make([]int8, count), 1) },
		schedule.Barrier:   Barrier,
		schedule.AllGather: func(ctx context.Context, g *Group) error {
			return AllGather(ctx, g, make([]int8, count), make([]int8, count*g.Size()))
		},
		schedule.ReduceScatter: func(ctx context.Context, g *Group) error {
			return ReduceScatter(ctx, g, make([]int8, count*g.Size()), make([]int8, count), Sum)
		},
		schedule.Gather: func(ctx context.Context, g *Group) error {
			return Gather(ctx, g, make([]int8, count), make([]int8, count*g.Size()), 1)
		},
		schedule.Scatter: func(ctx context.Context, g *Group) error {
			return Scatter(ctx, g, make([]int8, count*g.Size()), make([]int8, count), 1)
		},
		schedule.AllToAll: func(ctx context.Context, g *Group) error {
			return AllToAll(ctx, g, make([]int8, count*g.Size()), make([]int8, count*g.Size()))
		},
	} {
		before := make([]uint64, len(groups))
		for i, g := range groups {
			before[i] = sent(g.m)
		}
		requireAll(t, each(t.Context(), groups, operate))
		heads, others := uint64(0), uint64(0)
		for i, g := range groups {
			rooted := op == schedule.Gather || op == schedule.Scatter // in which the root takes the place of its host's head
			if n := sent(g.m) - before[i]; g.m.host.tier.Load().heads.at >= 0 || rooted && g.m.rank == 1 {
				heads += n
			} else {
				others += n
			}
		}
		text, err := groups[3].Explain(op, count)
		require.NoError(t, err)
		byHosts := strings.Contains(text, "the members of each of 2 hosts use its memory")
		assert.Equal(t, byHosts, others == 0, "%v: %d bytes by others than heads: %s", op, others, text)
		assert.Equal(t, byHosts, byHosts && heads > 0, "%v: %d bytes by heads", op, heads)
		assert.Equal(t, op != schedule.AllToAll, byHosts, "%v", op)
	}
}

// Where all processes are on one machine Explain says so.
func TestExplainSaysWhatGoesThroughTheMemoryOfAMachine(t *testing.T) {
	_, groups := newHostCluster(t, 3).group("g", 4)
	requireAll(t, each(t.Context(), groups, Barrier))
	text, err := groups[1].Explain(schedule.Broadcast, 1000)
	require.NoError(t, err)
	assert.Contains(t, text, "all members share the memory of their machine")
}

// Members that are all alone on their hosts do not even ask.
func TestTiersNeedNeighbours(t *testing.T) {
	_, groups := makers()["tiers"](t, 6).group("g", 2)
	for _, g := range groups {
		assert.Nil(t, g.s.host)
	}
}

// Where a host has no memory for its members, all of all hosts use messages.
func TestTiersNeedTheMemoryOfEveryHost(t *testing.T) {
	c := makers()["tiers"](t, 5)
	c.hub(4).run = t.TempDir() // which its neighbour does not use
	_, groups := c.group("g", 4)
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		buf := []int32{int32(g.Rank())}
		return compare(AllReduce(ctx, g, buf, Sum), []int32{6}, buf, "sum")
	}))
	for _, g := range groups {
		assert.True(t, g.m.host.met.Load())
		assert.Nil(t, g.m.host.tier.Load())
	}
}
