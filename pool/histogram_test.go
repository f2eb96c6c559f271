// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBucketsFollowEachOtherWithoutGaps(t *testing.T) {
	var before time.Duration
	for i := range buckets - 1 {
		end := bucketEnd(i)
		require.Greater(t, end, before, "bucket %d", i)
		require.Equal(t, i, bucketOf(before), "its first")
		require.Equal(t, i, bucketOf(end-1), "its last")
		require.Equal(t, i+1, bucketOf(end))
		before = end
	}
	require.Greater(t, before, time.Hour)
	require.Equal(t, buckets-1, bucketOf(1<<62))
	require.Zero(t, bucketOf(-1))
}

func TestQuantilesAreAtMostAQuarterTooLarge(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h, other histogram
	require.Zero(t, h.quantile(0.5))
	var all []time.Duration
	for i := range 10_000 {
		d := time.Duration(1) << rng.IntN(36) * time.Duration(1+rng.IntN(3))
		all = append(all, d)
		if i%2 == 0 {
			h.add(d)
		} else {
			other.add(d)
		}
	}
	h.merge(&other)
	slices.Sort(all)
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 1} {
		exact := all[int(q*float64(len(all)))-1]
		require.GreaterOrEqual(t, h.quantile(q), exact)
		require.LessOrEqual(t, h.quantile(q), exact+exact/4+time.Microsecond)
	}
}
