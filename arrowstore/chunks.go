// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import "math/bits"

// chunks says which chunks of a segment have memory and which have objects in them. Both are sets of bits, so that taking
// and giving back a large object takes a step for each 64 of its chunks.
type chunks struct {
	size   int64 // bytes of a chunk
	n      int
	backed bitset   // those with memory
	used   bitset   // those that an object overlaps
	partly []uint32 // for each chunk, how many objects overlap it without covering it
}

func newChunks(segment, size int64) chunks {
	n := int(segment / size)
	return chunks{size: size, n: n, backed: newBitset(n), used: newBitset(n), partly: make([]uint32, n)}
}

// of returns the chunks that a span overlaps and, within them, those that it covers wholly.
func (c *chunks) of(sp span) (first, end, wholeFirst, wholeEnd int) {
	from, to := sp.start(), sp.start()+sp.bytes()
	first, end = int(from/c.size), int((to+c.size-1)/c.size)
	wholeFirst, wholeEnd = int((from+c.size-1)/c.size), int(to/c.size)
	return first, end, wholeFirst, max(wholeFirst, wholeEnd)
}

// use notes that an object takes a span, and returns how many bytes of chunks were without objects before.
func (c *chunks) use(sp span) int64 {
	first, end, wholeFirst, wholeEnd := c.of(sp)
	n := c.used.set(first, end)
	for i := first; i < min(wholeFirst, end); i++ {
		c.partly[i]++
	}
	for i := max(wholeEnd, wholeFirst); i < end; i++ {
		c.partly[i]++
	}
	return int64(n) * c.size
}

// leave undoes use, and returns how many bytes of chunks are without objects now.
func (c *chunks) leave(sp span) int64 {
	first, end, wholeFirst, wholeEnd := c.of(sp)
	n := c.used.clear(wholeFirst, wholeEnd)
	for i := first; i < min(wholeFirst, end); i++ {
		n += c.leavePartly(i)
	}
	for i := max(wholeEnd, wholeFirst); i < end; i++ {
		n += c.leavePartly(i)
	}
	return int64(n) * c.size
}

func (c *chunks) leavePartly(i int) int {
	if c.partly[i]--; c.partly[i] > 0 {
		return 0
	}
	return c.used.clear(i, i+1)
}

// unbacked returns how many bytes of a range of chunks have no memory.
func (c *chunks) unbacked(first, end int) int64 {
	return int64(end-first-c.backed.count(first, end)) * c.size
}

// idle returns the first run, from a chunk on, of chunks with memory and without objects; it is empty at the end when
// there is none.
func (c *chunks) idle(from int) (first, end int) {
	first = from
	for first < c.n && (!c.backed.has(first) || c.used.has(first)) {
		first++
	}
	end = first
	for end < c.n && c.backed.has(end) && !c.used.has(end) {
		end++
	}
	return first, end
}

// bitset is a set of small numbers.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) has(i int) bool { return b[i/64]>>(i%64)&1 != 0 }

// word returns the word that holds from, the bits in it of the range that starts there, and the number after those.
func (b bitset) word(from, to int) (w *uint64, mask uint64, next int) {
	i := from / 64
	next = min(to, (i+1)*64)
	return &b[i], ^uint64(0) >> (64 - (next - from)) << (from % 64), next
}

// set adds the numbers of the range [from, to), and returns how many are new.
func (b bitset) set(from, to int) (n int) {
	for from < to {
		w, mask, next := b.word(from, to)
		n += bits.OnesCount64(mask &^ *w)
		*w |= mask
		from = next
	}
	return n
}

// clear removes the numbers of the range [from, to), and returns how many there were.
func (b bitset) clear(from, to int) (n int) {
	for from < to {
		w, mask, next := b.word(from, to)
		n += bits.OnesCount64(mask & *w)
		*w &^= mask
		from = next
	}
	return n
}

// count returns how many numbers of the range [from, to) there are.
func (b bitset) count(from, to int) (n int) {
	for from < to {
		w, mask, next := b.word(from, to)
		n += bits.OnesCount64(mask & *w)
		from = next
	}
	return n
}

// missing returns the least number of the range [from, to) that is not there, and the greatest plus one; if all are
// there, both are 0.
func (b bitset) missing(from, to int) (first, end int) {
	for from < to {
		w, mask, next := b.word(from, to)
		if gone := mask &^ *w; gone != 0 {
			base := from / 64 * 64
			if end == 0 {
				first = base + bits.TrailingZeros64(gone)
			}
			end = base + bits.Len64(gone)
		}
		from = next
	}
	return first, end
}
