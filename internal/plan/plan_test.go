// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/plan"
)

func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

// spread puts nodes 1..n on hosts in blocks of per nodes, the first of which is the caller's.
func spread(n, per int) plan.Input {
	in := plan.Input{Nodes: make([]uint32, n), Host: func(node uint32) int { return int(node-1) / per }}
	for i := range in.Nodes {
		in.Nodes[i] = uint32(i + 1)
	}
	return in
}

func TestSmallAndLocalFanOutsAreDirect(t *testing.T) {
	p := plan.Make(spread(5, 100))
	assert.Equal(t, &plan.Plan{Direct: []int{0, 1, 2, 3, 4}}, p)

	in := spread(16, 1) // fifteen other hosts
	p = plan.Make(in)
	assert.Len(t, p.Direct, 16)
	assert.Empty(t, p.Relays)
	assert.Equal(t, &plan.Plan{}, plan.Make(plan.Input{}))
}

func TestAHostGetsAnObjectThroughItsGateway(t *testing.T) {
	in := spread(9, 3)
	in.Size = 1
	assert.Equal(t, &plan.Plan{
		Direct: []int{0, 1, 2},
		Relays: []plan.Relay{{Node: 3, Local: []int{4, 5}}, {Node: 6, Local: []int{7, 8}}},
	}, plan.Make(in))
}

func TestATreeOfHostsIsCutFromBlocksOfNeighbours(t *testing.T) {
	in := spread(8, 1)
	in.Own, in.FanOut = -1, 2
	assert.Equal(t, &plan.Plan{Relays: []plan.Relay{
		{Node: 0, Local: []int{}, Children: []plan.Relay{
			{Node: 1, Local: []int{}}, {Node: 2, Local: []int{}, Children: []plan.Relay{{Node: 3, Local: []int{}}}},
		}},
		{Node: 4, Local: []int{}, Children: []plan.Relay{
			{Node: 5, Local: []int{}}, {Node: 6, Local: []int{}, Children: []plan.Relay{{Node: 7, Local: []int{}}}},
		}},
	}}, plan.Make(in))
}

func TestAvoidedNodesRelayForNobody(t *testing.T) {
	in := spread(9, 3)
	in.Size, in.Avoid = 1, func(n uint32) bool { return n == 4 || n >= 7 }
	assert.Equal(t, &plan.Plan{
		Direct: []int{0, 1, 2, 3, 6, 7, 8},
		Relays: []plan.Relay{{Node: 4, Local: []int{5}}},
	}, plan.Make(in))
}

// checked walks a plan, and returns how many relays lie between the caller and the farthest node.
type checked struct {
	t      *testing.T
	in     plan.Input
	fanOut int
	seen   []int
}

func (c *checked) visit(i int) {
	require.GreaterOrEqual(c.t, i, 0)
	require.Less(c.t, i, len(c.in.Nodes))
	c.seen[i]++
}

func (c *checked) relays(relays []plan.Relay, parent int) (depth int) {
	require.LessOrEqual(c.t, len(relays), c.fanOut)
	for _, r := range relays {
		c.visit(r.Node)
		host := c.in.Host(c.in.Nodes[r.Node])
		require.NotEqual(c.t, c.in.Own, host)
		require.Greater(c.t, host, parent, "a relay's host comes before those behind it")
		require.False(c.t, c.in.Avoid != nil && c.in.Avoid(c.in.Nodes[r.Node]))
		for _, l := range r.Local {
			c.visit(l)
			require.Equal(c.t, host, c.in.Host(c.in.Nodes[l]))
		}
		depth = max(depth, 1+c.relays(r.Children, host))
	}
	return depth
}

func check(t *testing.T, in plan.Input, fanOut int) {
	p := plan.Make(in)
	c := checked{t, in, fanOut, make([]int, len(in.Nodes))}
	far := 0
	for _, i := range p.Direct {
		c.visit(i)
		node := in.Nodes[i]
		if in.Host(node) != in.Own && (in.Avoid == nil || !in.Avoid(node)) {
			far++
		}
	}
	require.LessOrEqual(t, far+len(p.Relays), fanOut, "messages of the caller to other hosts")
	depth := c.relays(p.Relays, math.MinInt)
	for i, n := range c.seen {
		require.Equal(t, 1, n, "node %d", in.Nodes[i])
	}
	hosts := map[int]bool{}
	for _, n := range in.Nodes {
		hosts[in.Host(n)] = true
	}
	bound, reach := 0, 0
	for level := 1; reach < len(hosts); bound++ { // a full tree of that depth reaches reach hosts
		level *= fanOut
		reach += level
	}
	require.LessOrEqual(t, depth, bound, "%d hosts, fan-out %d", len(hosts), fanOut)
}

// Every target exactly once, bounded fan-out, bounded depth, for any shape.
func TestPlansOfAnyShape(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	for i := range 500 {
		nodes := 1 + rng.IntN(300)
		if i%100 == 0 {
			nodes = 10_000
		}
		hosts := 1 + rng.IntN(nodes)
		of := map[uint32]int{}
		in := plan.Input{Host: func(n uint32) int { return of[n] }, Own: rng.IntN(hosts)}
		for _, n := range rng.Perm(3 * nodes)[:nodes] {
			in.Nodes = append(in.Nodes, uint32(n))
			of[uint32(n)] = rng.IntN(hosts)
		}
		if rng.IntN(2) == 0 {
			in.Size = 1 << 20
		}
		fanOut := map[bool]int{true: plan.FanOutObject, false: plan.FanOutInline}[in.Size > 0]
		if rng.IntN(3) > 0 {
			in.FanOut = 1 + rng.IntN(20)
			fanOut = max(in.FanOut, plan.MinFanOut)
		}
		if rng.IntN(2) == 0 {
			in.Avoid = func(n uint32) bool { return n%7 == 0 }
		}
		check(t, in, fanOut)
	}
}

func BenchmarkMake(b *testing.B) {
	for _, shape := range []struct{ nodes, per int }{{8, 8}, {400, 1}, {10_000, 1}, {10_000, 8}} {
		b.Run(fmt.Sprintf("nodes=%d/hosts=%d", shape.nodes, shape.nodes/shape.per), func(b *testing.B) {
			in := spread(shape.nodes, shape.per)
			b.ReportAllocs()
			for b.Loop() {
				plan.Make(in)
			}
		})
	}
}
