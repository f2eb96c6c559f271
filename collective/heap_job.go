// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"slices"

	"github.com/tutti-go/tutti/collective/kernel"
)

// Sizes, in bytes. They were measured with 400 members on two cores: longer pieces of a member's buffer are read faster and shorter ones
// stay in the second cache, of 1 MiB, where the sum of a few of them is made.
const (
	mostPiece  = 32 << 10
	leastPiece = 1 << 10
	// briefBytes is how much the last to come does by itself, for all members together: about what it takes to wake another.
	briefBytes = 64 << 10
	// stayingBytes is a result that each member copies for itself when it wakes.
	stayingBytes = 32 << 10
	// aroundBytes of results, for all members together, are written around the caches, for they do not fit into them.
	aroundBytes = 16 << 20
	// alignment of pieces, which suits every element and every vector.
	alignment = 64
)

// radix is how many contributions are reduced in one pass. Results of such passes are reduced in the same way: so the roundings between
// an element and the result grow with the logarithm of the number of members.
const radix = 8

// source says how a piece of what all operations but AllToAll make is made.
type source int

const (
	reduced source = iota // from all members' in
	joined                // from one after the other
	given                 // it is in of the root
)

// target says who gets it.
type target int

const (
	everybody target = iota // all of it
	theRoot                 // all of it
	owners                  // each its own block
)

// job is the work of one operation: what is made of the members' memory, in pieces that do not depend on each other.
type job struct {
	op     operation
	math   arithmetic
	ranks  int
	root   int
	from   source
	to     target
	length int   // bytes that are made, once
	counts []int // elements of the blocks of ranks, where they differ
	size   int   // bytes of an element

	given []contribution // by rank

	brief  bool // the last does it by itself
	stays  bool // what is made stays in kept, and members copy it
	around bool // the results are written around the caches
	pieces int
	piece  int // bytes, or receivers

	ends []int  // in bytes, of the blocks of ranks where they differ, behind a 0
	kept []byte // what is made
}

// contribution is what a member leaves in a round: its call and the memory of that. It is zero of those that have not come.
type contribution struct {
	call    *invocation
	in, out []byte
	_       [8]byte // a line of the caches for each
}

// describe says what an operation makes, as one member sees it.
func (j *job) describe(c *invocation, ranks int) {
	j.op, j.math, j.ranks, j.root, j.counts, j.size = c.op, c.math, ranks, int(c.root), nil, c.size
	j.from, j.to, j.length = joined, everybody, 0
	written := 1 // times length, in the end
	switch c.op {
	case opAllReduce:
		j.from, j.length, written = reduced, len(c.out), ranks
	case opReduce:
		j.from, j.to, j.length = reduced, theRoot, len(c.in)
	case opReduceScatter:
		j.from, j.to, j.length = reduced, owners, len(c.in)
	case opBroadcast:
		j.from, j.length, written = given, len(c.out), ranks
	case opAllGather, opAllGatherV:
		j.length, written = len(c.out), ranks
	case opGather:
		j.to, j.length = theRoot, len(c.in)*ranks
	case opScatter:
		j.from, j.to, j.length = given, owners, len(c.out)*ranks
	case opAllToAll, opAllToAllV:
		j.length = len(c.in) * ranks
	default: // a barrier
	}
	if c.op == opGatherV || c.op == opScatterV || c.op == opAllGatherV {
		j.counts = c.inCounts
	}
	switch c.op {
	case opGatherV:
		j.to = theRoot
	case opScatterV:
		j.from, j.to = given, owners
	default:
	}
	if c.op == opGatherV || c.op == opScatterV {
		for _, n := range j.counts {
			j.length += n * j.size
		}
	}
	read := j.length
	if j.from == reduced {
		read *= ranks
	}
	j.stays = j.length <= stayingBytes && !j.exchanges()
	j.brief = read <= briefBytes && (j.stays || j.length*written <= briefBytes) && c.op != opAllToAllV
	j.around = j.length*written > aroundBytes
}

// exchanges says whether each member has something else for each.
func (j *job) exchanges() bool { return j.op == opAllToAll || j.op == opAllToAllV }

// plan cuts the work into pieces.
func (j *job) plan(workers int) {
	j.math.custom = j.given[0].call.math.custom // a function of the caller's is that of rank 0, whoever came first; others read the rest meanwhile
	j.ends = j.ends[:0]
	if j.counts != nil {
		j.ends = appendEnds(j.ends, j.counts, j.size)
	}
	if j.exchanges() {
		// A line of a cache has blocks for several receivers, if they are short.
		block := j.length / max(1, j.ranks*j.ranks)
		j.piece = min(j.ranks, max(1, alignment/max(1, block)))
		j.pieces = (j.ranks + j.piece - 1) / j.piece
		return
	}
	const perWorker = 4 // so that they end at about the same time
	j.piece = j.length
	if !j.brief {
		j.piece = (j.length/(perWorker*workers) + alignment) &^ (alignment - 1)
		j.piece = min(max(j.piece, leastPiece), mostPiece)
	}
	j.piece = min(max(j.piece, 1), mostPiece)
	j.pieces = (j.length + j.piece - 1) / j.piece
	if j.stays {
		j.kept = slices.Grow(j.kept[:0], j.length)[:j.length]
	}
}

// block returns where the block of a rank is in what is made.
func (j *job) block(rank int) (from, to int) {
	if len(j.ends) > 0 {
		return j.ends[rank], j.ends[rank+1]
	}
	n := j.length / j.ranks
	return rank * n, (rank + 1) * n
}

// owner returns the rank in whose block a place is.
func (j *job) owner(at int) int {
	if len(j.ends) == 0 {
		return at / (j.length / j.ranks)
	}
	rank, _ := slices.BinarySearch(j.ends, at+1) // the first end behind it
	return rank - 1
}

// do does a piece of the work. The error is a mismatch.
func (j *job) do(w *worker, i int) *ending {
	if j.exchanges() {
		first := i * j.piece
		return j.exchange(w, first, min(first+j.piece, j.ranks))
	}
	at := i * j.piece
	n := min(j.piece, j.length-at)
	if j.stays {
		j.make(w, j.kept[at:at+n:at+n], at)
		return nil
	}
	j.deal(w, j.find(w, at, n), at)
	return nil
}

// find returns a piece of what is made: where it is in the memory of a member, or else a copy.
func (j *job) find(w *worker, at, n int) []byte {
	switch j.from {
	case given:
		return j.given[j.root].in[at : at+n]
	case joined:
		rank := j.owner(at)
		if from, to := j.block(rank); at+n <= to {
			return j.given[rank].in[at-from : at-from+n]
		}
	default:
	}
	made := w.room(0, n)
	j.make(w, made, at)
	return made
}

// make makes a piece of what is made.
func (j *job) make(w *worker, dst []byte, at int) {
	switch j.from {
	case reduced:
		if j.math.ordered || j.math.halves() {
			j.fold(w, dst, 0, j.ranks, at)
		} else {
			j.reduce(w, dst, 0, j.ranks, at, 1)
		}
		j.math.finish(dst, j.ranks)
	case given:
		copy(dst, j.given[j.root].in[at:])
	default:
		for rank := j.owner(at); len(dst) > 0; rank++ {
			from, to := j.block(rank)
			n := min(len(dst), to-at)
			copy(dst[:n], j.given[rank].in[at-from:])
			dst, at = dst[n:], at+n
		}
	}
}

// reduce reduces a piece of the contributions of some ranks. Ranks keep their order.
func (j *job) reduce(w *worker, dst []byte, from, to, at, level int) {
	if to-from <= radix {
		j.fold(w, dst, from, to, at)
		return
	}
	span := radix
	for span*radix < to-from {
		span *= radix
	}
	j.reduce(w, dst, from, from+span, at, level)
	for first := from + span; first < to; first += span {
		part := w.room(level, len(dst))
		j.reduce(w, part, first, min(first+span, to), at, level+1)
		j.math.combine(dst, part)
	}
}

// fold reduces a piece of the contributions of some ranks in one pass.
func (j *job) fold(w *worker, dst []byte, from, to, at int) {
	w.srcs = w.srcs[:0]
	for i := range j.given[from:to] {
		w.srcs = append(w.srcs, j.given[from+i].in[at:at+len(dst)])
	}
	j.math.all(dst, w.srcs)
}

// deal gives a piece to those who get it.
func (j *job) deal(w *worker, piece []byte, at int) {
	switch j.to {
	case everybody:
		for i := range j.given {
			w.put(j.given[i].out[at:at+len(piece)], piece, j.around)
		}
	case theRoot:
		w.put(j.given[j.root].out[at:at+len(piece)], piece, j.around)
	default:
		for rank := j.owner(at); len(piece) > 0; rank++ {
			from, to := j.block(rank)
			n := min(len(piece), to-at)
			w.put(j.given[rank].out[at-from:at-from+n], piece[:n], j.around)
			piece, at = piece[n:], at+n
		}
	}
}

// keep copies to a member what stays for it.
func (j *job) keep(rank int) {
	if !j.stays || j.length == 0 {
		return
	}
	switch j.to {
	case everybody:
		copy(j.given[rank].out, j.kept)
	case theRoot:
		if rank == j.root {
			copy(j.given[rank].out, j.kept)
		}
	default:
		from, to := j.block(rank)
		copy(j.given[rank].out, j.kept[from:to])
	}
}

// exchange gives some receivers what all have for them.
func (j *job) exchange(w *worker, first, end int) *ending {
	if j.op == opAllToAll {
		n := len(j.given[first].out) / j.ranks
		for from := range j.given {
			in := j.given[from].in
			for to := first; to < end; to++ {
				w.put(j.given[to].out[from*n:(from+1)*n], in[to*n:(to+1)*n], j.around)
			}
		}
		return nil
	}
	for from := range j.given {
		sender := j.given[from].call
		for to := first; to < end; to++ {
			receiver := j.given[to].call
			if got, want := sender.inCounts[to], receiver.outCounts[from]; got != want {
				return unlike(from, got, to, want)
			}
			out := receiver.out[receiver.outEnds[from]:receiver.outEnds[from+1]]
			w.put(out, sender.in[sender.inEnds[to]:sender.inEnds[to+1]], j.around)
		}
	}
	return nil
}

// appendEnds appends a 0 and the ends of blocks, in bytes.
func appendEnds(dst, counts []int, size int) []int {
	end := 0
	dst = append(dst, end)
	for _, n := range counts {
		end += n * size
		dst = append(dst, end)
	}
	return dst
}

// unlike is the end of an epoch in which a member has something else for another than that expects.
func unlike(from, got, to, want int) *ending {
	return mismatch("rank %d called AllToAllV with %d elements for rank %d, rank %d called it for %d from rank %d", from, got, to, to, want, from)
}

// worker is the memory of one that works.
type worker struct {
	rooms [][]byte
	srcs  [][]byte
}

// room returns memory of a piece, another at each level.
func (w *worker) room(level, n int) []byte {
	for len(w.rooms) <= level {
		w.rooms = append(w.rooms, make([]byte, mostPiece))
	}
	return w.rooms[level][:n]
}

// put copies src to dst, which may be the same.
func (w *worker) put(dst, src []byte, around bool) {
	const least = 4 << 10 // below it there is no gain
	switch {
	case len(dst) == 0 || &dst[0] == &src[0]:
	case around && len(dst) >= least:
		w.srcs = append(w.srcs[:0], src, src)
		either, _ := kernel.Of(kernel.Or, kernel.U8) // of the same and the same is a copy
		either.Fold(dst, w.srcs, true)
	default:
		copy(dst, src)
	}
}

// forget lets go of the members' memory.
func (w *worker) forget() { clear(w.srcs[:cap(w.srcs)]) }

// prepare makes of the memory of the call that begins what others may read.
func (m *member) prepare() {
	c := &m.heap.now
	if c.math.prepares() {
		if c.op == opReduceScatter {
			c.in = slices.Clone(c.in)
		}
		c.math.begin(c.in)
	}
	if c.op == opAllToAllV {
		c.inEnds = appendEnds(m.heap.ends[0][:0], c.inCounts, c.size)
		c.outEnds = appendEnds(m.heap.ends[1][:0], c.outCounts, c.size)
		m.heap.ends = [2][]int{c.inEnds, c.outEnds}
	}
}
