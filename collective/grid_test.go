// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every rank is the root once, at sizes that are primes, powers of two and between, with lengths around the size.
func TestEveryRankMayBeTheRoot(t *testing.T) {
	d := integers[int32]()
	for name, begin := range links() {
		t.Run(name, func(t *testing.T) {
			c := begin(t, 4)
			for _, n := range few([]int{1, 2, 3, 5, 8, 11}, 2, 3, 8) {
				_, groups := c.group(fmt.Sprint("g", n), n)
				for _, length := range []int{0, 1, n - 1, n, n + 1, 3000} {
					blocks := d.dealt(rand.New(rand.NewPCG(uint64(n), uint64(length))), n, length)
					joined, summed := slices.Concat(blocks...), d.reduced(blocks, Sum)
					requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
						for root := range n {
							if err := rooted(ctx, g, root, blocks, joined, summed); err != nil {
								return fmt.Errorf("%d members, root %d, length %d: %w", n, root, length, err)
							}
						}
						return nil
					}))
				}
			}
		})
	}
}

// rooted runs all operations that have a root.
func rooted(ctx context.Context, g *Group, root int, blocks [][]int32, joined, summed []int32) error {
	mine := blocks[g.Rank()]
	buf := slices.Clone(mine)
	if err := compare(Broadcast(ctx, g, buf, root), blocks[root], buf, "Broadcast"); err != nil {
		return err
	}
	buf = slices.Clone(mine)
	err := Reduce(ctx, g, buf, Sum, root)
	var all []int32
	if g.Rank() == root {
		err = compare(err, summed, buf, "Reduce")
		all = make([]int32, len(joined))
	}
	if err != nil {
		return err
	}
	err = Gather(ctx, g, mine, all, root)
	if g.Rank() == root {
		err = compare(err, joined, all, "Gather")
	}
	if err != nil {
		return err
	}
	out := make([]int32, len(mine))
	return compare(Scatter(ctx, g, all, out, root), mine, out, "Scatter")
}

// The roundings of a sum of floats stay within what doc.go states: n-1 of them in a short all-reduce, log2 n in a long one.
func TestSumsOfFloatsKeepToTheirBound(t *testing.T) {
	for _, n := range []int{3, 8, 13, 31} {
		c := newCluster(t, 4, inMemory)
		_, groups := c.group("g", n)
		for _, length := range []int{7, 50000} {
			bufs := make([][]float32, n)
			exact, size := make([]float64, length), make([]float64, length)
			rng := rand.New(rand.NewPCG(uint64(n), uint64(length)))
			for r := range bufs {
				bufs[r] = make([]float32, length)
				for i := range bufs[r] {
					v := float32(rng.NormFloat64() * math.Exp2(float64(rng.IntN(40)-20)))
					bufs[r][i] = v
					exact[i] += float64(v)
					size[i] += math.Abs(float64(v))
				}
			}
			requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error { return AllReduce(ctx, g, bufs[g.Rank()], Sum) }))
			const unit = 1.0 / (1 << 24) // the largest relative error of one rounding
			roundings := float64(n - 1)
			if n*4*length > 1<<20 {
				roundings = math.Ceil(math.Log2(float64(n)))
			}
			for i, v := range bufs[0] {
				bound := roundings * unit / (1 - roundings*unit) * size[i] * (1 + 1e-6)
				require.InDelta(t, exact[i], float64(v), bound, "element %d of %d at %d members", i, length, n)
			}
			for r := range bufs {
				require.True(t, slices.Equal(bufs[0], bufs[r]), "the same bits everywhere")
			}
		}
	}
}

// Sizes up to the largest that are promised, in one process: some, or with TUTTI_GRID=full, which make conformance-grid sets and which takes
// minutes, all primes.
func TestManyMembersOfOneProcess(t *testing.T) {
	sizes := []int{127, 257, 1024}
	full := os.Getenv("TUTTI_GRID") == "full"
	switch {
	case full:
		sizes = append(primes(1024), 1024)
	case raceEnabled || testing.Short():
		sizes = sizes[:2] // the many goroutines of more take half a minute under the detector
	}
	for _, n := range sizes {
		inOneProcess(t, fmt.Sprint("members=", n), func(t *testing.T, opts ...Option) {
			t.Helper()
			c := newCluster(t, 2, inMemory)
			_, groups := c.group("g", n, opts...)
			lengths, roots := []int{1, n + 1}, []int{n / 2}
			if full {
				lengths = append(lengths, 0, n-1, n)
				roots = append(roots, 0, n-1, rand.New(rand.NewPCG(uint64(n), 0)).IntN(n))
			}
			requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error { return ofMany(ctx, g, lengths, roots, full || n < 300) }))
		})
	}
}

// primes returns those up to a bound.
func primes(bound int) (all []int) {
	for n := 2; n <= bound; n++ {
		if !slices.ContainsFunc(all, func(p int) bool { return n%p == 0 }) {
			all = append(all, n)
		}
	}
	return all
}

// ofMany runs operations whose results are known whatever the size.
func ofMany(ctx context.Context, g *Group, lengths, roots []int, reduce bool) error {
	n := g.Size()
	sum := n * (n - 1) / 2
	for _, length := range lengths {
		buf := slices.Repeat([]int{g.Rank()}, length)
		if err := compare(AllReduce(ctx, g, buf, Sum), slices.Repeat([]int{sum}, length), buf, "AllReduce"); err != nil {
			return err
		}
	}
	for _, root := range roots {
		buf := []int{g.Rank()}
		if err := compare(Broadcast(ctx, g, buf, root), []int{root}, buf, "Broadcast from %d", root); err != nil {
			return err
		}
		if buf[0] = g.Rank(); !reduce {
			continue
		}
		if err := Reduce(ctx, g, buf, Sum, root); err != nil || g.Rank() == root && buf[0] != sum {
			return errors.Join(err, fmt.Errorf("Reduce to %d: %d, want %d", root, buf[0], sum))
		}
	}
	all := make([]int32, n)
	if err := AllGather(ctx, g, []int32{int32(g.Rank())}, all); err != nil {
		return err
	}
	for r, v := range all {
		if int(v) != r {
			return fmt.Errorf("AllGather: element %d is %d", r, v)
		}
	}
	if !reduce {
		return Barrier(ctx, g)
	}
	out := []int32{0}
	if err := compare(ReduceScatter(ctx, g, all, out, Sum), []int32{int32(n * g.Rank())}, out, "ReduceScatter"); err != nil {
		return err
	}
	return Barrier(ctx, g)
}
