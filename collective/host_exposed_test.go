// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// reduceAll reduces floats of which every order of additions makes another sum, and puts the results into all.
func reduceAll(count int, all [][]float32) func(context.Context, *Group) error {
	return func(ctx context.Context, g *Group) error {
		rng := rand.New(rand.NewPCG(11, uint64(g.Rank())))
		in := make([]float32, count)
		for i := range in {
			in[i] = rng.Float32() * 1000
		}
		out := slices.Clone(in)
		if err := Reduce(ctx, g, out, Sum, 1); err != nil {
			return err
		}
		if err := AllReduce(ctx, g, in, Sum); err != nil {
			return err
		}
		for i := range out {
			if g.Rank() == 1 && out[i] != in[i] {
				return fmt.Errorf("element %d: %v in one operation, %v in the other", i, out[i], in[i])
			}
		}
		all[g.Rank()] = in
		return nil
	}
}

// What is read where it is has the same sum, to the last bit, as what was copied into slots.
func TestSumsAreTheSameWhereverContributionsAreRead(t *testing.T) {
	const n, count = 11, 300_001
	var sums [][][]float32
	inEveryState(t, 5, n, func(t *testing.T, groups []*Group) {
		direct := groups[0].m.host.direct != directRefused
		for _, g := range groups {
			g.m.host.narrow = direct
		}
		all := make([][]float32, n)
		requireAll(t, each(t.Context(), groups, reduceAll(count, all)))
		for _, sum := range all {
			require.Equal(t, all[0], sum)
		}
		sums = append(sums, all)
	})
	for _, all := range sums {
		require.Equal(t, sums[0][0], all[0])
	}
}
