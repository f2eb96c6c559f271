// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestChunksAgainstModel takes and gives back spans at random and counts, for each chunk, the spans in it.
func TestChunksAgainstModel(t *testing.T) {
	const n, size = 200, chunkSize
	rng := rand.New(rand.NewPCG(31, 31))
	c := newChunks(n*size, size)
	inChunk, backed := [n]int{}, [n]bool{}
	var live []span
	owner := [n * size / unit]bool{}
	for range 5000 {
		if rng.IntN(2) == 0 {
			units := 1 + rng.IntN(1<<(1+rng.IntN(17)))
			sp := span{off: uint32(rng.IntN(n*size/unit - units)), units: uint32(units)}
			if overlaps(owner[:], sp) {
				continue
			}
			first, end, wholeFirst, wholeEnd := c.of(sp)
			require.LessOrEqual(t, wholeFirst, wholeEnd)
			added := 0
			for i := first; i < end; i++ {
				if inChunk[i]++; inChunk[i] == 1 {
					added++
				}
			}
			require.Equal(t, int64(added)*size, c.use(sp))
			markUnits(owner[:], sp, true)
			live = append(live, sp)
		} else if len(live) > 0 {
			k := rng.IntN(len(live))
			sp := live[k]
			first, end, _, _ := c.of(sp)
			gone := 0
			for i := first; i < end; i++ {
				if inChunk[i]--; inChunk[i] == 0 {
					gone++
				}
			}
			require.Equal(t, int64(gone)*size, c.leave(sp))
			markUnits(owner[:], sp, false)
			live[k] = live[len(live)-1]
			live = live[:len(live)-1]
		}
		checkBits(t, rng, &c, backed[:], inChunk[:])
	}
}

// checkBits changes a range of the backed chunks and compares every question about them with the model.
func checkBits(t *testing.T, rng *rand.Rand, c *chunks, backed []bool, inChunk []int) {
	t.Helper()
	from := rng.IntN(c.n + 1)
	to := from + rng.IntN(c.n+1-from)
	there, first, end := 0, 0, 0
	for i := from; i < to; i++ {
		if backed[i] {
			there++
			continue
		}
		if end == 0 {
			first = i
		}
		end = i + 1
	}
	require.Equal(t, there, c.backed.count(from, to))
	require.Equal(t, int64(to-from-there)*c.size, c.unbacked(from, to))
	gotFirst, gotEnd := c.backed.missing(from, to)
	require.Equal(t, []int{first, end}, []int{gotFirst, gotEnd})
	set := rng.IntN(2) == 0
	if set {
		require.Equal(t, to-from-there, c.backed.set(from, to))
	} else {
		require.Equal(t, there, c.backed.clear(from, to))
	}
	for i := from; i < to; i++ {
		backed[i] = set
	}
	var runs [][2]int
	for i := range c.n {
		require.Equal(t, inChunk[i] > 0, c.used.has(i))
		switch {
		case !backed[i] || inChunk[i] > 0:
		case len(runs) > 0 && runs[len(runs)-1][1] == i:
			runs[len(runs)-1][1]++
		default:
			runs = append(runs, [2]int{i, i + 1})
		}
	}
	var got [][2]int
	for first, end := c.idle(0); first < end; first, end = c.idle(end) {
		got = append(got, [2]int{first, end})
	}
	require.Equal(t, runs, got)
}

func overlaps(owner []bool, sp span) bool {
	for _, taken := range owner[sp.off : sp.off+sp.units] {
		if taken {
			return true
		}
	}
	return false
}

func markUnits(owner []bool, sp span, taken bool) {
	for i := sp.off; i < sp.off+sp.units; i++ {
		owner[i] = taken
	}
}

func TestChunksStayFew(t *testing.T) {
	for _, size := range []int64{1, chunkSize, 256 << 20, 257 << 20, 1 << 30, maxObject} {
		chunk := chunkFor(size)
		require.LessOrEqual(t, size/chunk, int64(chunksMax))
		require.Zero(t, chunk%chunkSize)
		if chunk > chunkSize {
			require.LessOrEqual(t, chunk, size/chunksMax*2, "no more than 1/512 of an object is wasted")
		}
	}
}

// TestChunksCountManyObjects has more objects in a chunk than fit into 16 bits, as there are when small objects follow a
// large one.
func TestChunksCountManyObjects(t *testing.T) {
	const units, chunk = 1 << 17, 8 << 20
	c := newChunks(chunk, chunk)
	for i := range uint32(units) {
		c.use(span{off: i, units: 1})
	}
	for i := range uint32(units - 1) {
		require.Zero(t, c.leave(span{off: i, units: 1}))
	}
	require.Equal(t, int64(chunk), c.leave(span{off: units - 1, units: 1}))
}
