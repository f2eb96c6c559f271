// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"math/bits"
	"time"
)

const (
	// subBuckets is how many equal parts each power of two has: a quantile is at most a quarter too large.
	subBuckets = 4
	// buckets reach from a microsecond to more than an hour.
	buckets = 33 * subBuckets
)

// histogram counts durations, from a microsecond up, in buckets that grow with the duration.
type histogram [buckets]uint32

func (h *histogram) add(d time.Duration) { h[bucketOf(d)]++ }

// merge adds the counts of another.
func (h *histogram) merge(o *histogram) {
	for i := range h {
		h[i] += o[i]
	}
}

// quantile returns an upper bound of the q-quantile, 0 if nothing was counted. q is above 0 and at most 1.
func (h *histogram) quantile(q float64) time.Duration {
	var total uint64
	for _, n := range h {
		total += uint64(n)
	}
	if total == 0 {
		return 0
	}
	rank := uint64(q * float64(total))
	if float64(rank) < q*float64(total) {
		rank++
	}
	var seen uint64
	for i, n := range h {
		if seen += uint64(n); seen >= rank {
			return bucketEnd(i)
		}
	}
	return bucketEnd(buckets - 1)
}

// bucketOf returns the bucket of a duration.
func bucketOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 0))
	if us < subBuckets {
		return int(us)
	}
	octave := bits.Len64(us) - 1 // at least 2
	part := us >> (octave - 2) & (subBuckets - 1)
	return min((octave-1)*subBuckets+int(part), buckets-1)
}

// bucketEnd returns the end of a bucket: the least duration that is beyond it.
func bucketEnd(i int) time.Duration {
	i++
	if i < subBuckets {
		return time.Duration(i) * time.Microsecond
	}
	octave, part := i/subBuckets+1, i%subBuckets
	return time.Duration(subBuckets+part) << (octave - 2) * time.Microsecond
}
