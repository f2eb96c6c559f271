// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Buffers of no chunk, of a part of one, and of several with a rest; hosts with several members, some in one process, and with one; and members that are late.
func TestAllReduceInTiers(t *testing.T) {
	d := integers[int64]()
	c := makers()["tiers"](t, 6)
	for n, alone := range map[int]int{3: 1, 5: 1, 10: 0} { // members, and those of them that are alone on their host
		_, groups := c.group(fmt.Sprint("g", n), n)
		for _, length := range []int{0, 1, 3*n + 1, 1000, tierBytes / 8, 5*tierBytes/16 + 77} {
			rng := rand.New(rand.NewPCG(uint64(n), uint64(length)))
			var trials []trial
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
			require.NotNil(t, g.m.host.tier, "%d members", n)
			if g.m.host.tier.port == nil {
				without++
			}
		}
		assert.Equal(t, alone, without, "%d members", n)
	}
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
		assert.True(t, g.m.host.met)
		assert.Nil(t, g.m.host.tier)
	}
}
