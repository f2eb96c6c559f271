// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"encoding/binary"
	"math"

	"github.com/tutti-go/tutti/collective/hostshm"
)

// All-to-alls in the memory of a machine. Short blocks are copied twice, through the slots; long ones are read from the memory of the member that has them,
// if the system lets all read each other's, and all wait for each other in the end.

// exchange is an all-to-all of blocks of a length.
func (r *onHost) exchange(length int) error {
	c, rank, n := &r.call, r.g.m.rank, r.Members()
	copy(c.out[rank*length:(rank+1)*length], c.in[rank*length:])
	if length >= directBytes {
		ok, err := r.direct()
		if err != nil {
			return err
		}
		if ok {
			return r.exchangeDirect(length)
		}
	}
	return r.rounds(length, n, func(from, to int) error {
		size := to - from
		slot := r.Slot(rank, n*size)
		for other := range n {
			copy(slot[other*size:(other+1)*size], c.in[other*length+from:])
		}
		if err := r.arrive(); err != nil {
			return err
		}
		if err := r.Await(r.idle); err != nil {
			return err
		}
		for other := range n {
			if other != rank {
				r.take(c.out[other*length+from:other*length+to], r.Slot(other, n*size)[rank*size:])
			}
		}
		return nil
	})
}

// exchangeDirect is exchange where all read each other's memory.
func (r *onHost) exchangeDirect(length int) (err error) {
	c, rank, n := &r.call, r.g.m.rank, r.Members()
	if err := r.Enter(r.idle); err != nil {
		return err
	}
	defer r.exposing(&err)
	r.Expose(c.in)
	if err := r.arrive(); err != nil {
		return err
	}
	if err := r.Await(r.idle); err != nil {
		return err
	}
	for i := 1; i < n; i++ {
		other := (rank + i) % n // each begins with another
		if err := r.ReadExposed(other, c.out[other*length:(other+1)*length], rank*length); err != nil {
			return r.unread(err)
		}
	}
	return r.allHaveRead(true)
}

// allHaveRead makes the round after which members that have exposed memory have it back. They wait for it.
func (r *onHost) allHaveRead(exposes bool) error {
	if err := r.Enter(r.idle); err != nil {
		return err
	}
	if err := r.arrive(); err != nil || !exposes {
		return err
	}
	return r.AwaitAll(r.idle)
}

// exposing ends all reads of what this member exposes when an error does, before the caller has its memory back.
func (r *onHost) exposing(err *error) {
	if *err != nil {
		r.End()
	}
}

const (
	// mostRows is how many members an AllToAllV may have in the memory of a machine. Each says in its slot, as far as that is there from the start, where the block
	// of each begins, and needs room behind it. With more there are messages.
	mostRows = 480
	rowWord  = 8 // bytes
)

const _ = uint(hostshm.ReadyBytes - (mostRows+1)*rowWord - 1) // else there is no room

// rows is what a member knows of the blocks in an AllToAllV, in bytes. The memory is used again.
type rows struct {
	in, out []int // ends of the blocks, behind a 0
	begins  []int // of the member's block in what each rank has
	totals  []int // that each rank has
	exposed []bool
	// Of all ranks together:
	exposes bool // one is exposed at least
	longest int  // total of one whose blocks go through slots
}

// exchangeUneven is an all-to-all of blocks of which each pair knows the length. In the first round each says what it has for whom, and gives it where that is
// little. A member with a long block exposes them all, for the others to read; one with many short ones gives as much as fits into its slot, round by round.
func (r *onHost) exchangeUneven() error {
	c, rank, v := &r.call, r.g.m.rank, &r.rows
	v.in, v.out = appendEnds(v.in[:0], c.inCounts, c.size), appendEnds(v.out[:0], c.outCounts, c.size)
	copy(c.out[v.out[rank]:v.out[rank+1]], c.in[v.in[rank]:])
	longest := 0
	for other := range c.inCounts {
		if other != rank {
			longest = max(longest, v.in[other+1]-v.in[other])
		}
	}
	long := longest >= directBytes
	if again, err := r.exchangeRows(long); !again {
		return err
	}
	if _, err := r.direct(); err != nil { // one of them has a long block, and it is not known yet whether others can read it
		return err
	}
	_, err := r.exchangeRows(long)
	return err
}

// exchangeRows is exchangeUneven where it is known whether members read each other's memory; else again says that it would be of use to know.
func (r *onHost) exchangeRows(long bool) (again bool, err error) {
	c, rank, n, v := &r.call, r.g.m.rank, r.Members(), &r.rows
	exposes, room := long && r.g.m.host.direct != directRefused, 0
	if !exposes && !r.fits(v.in[n]) {
		if room, err = r.largest(); err != nil {
			return false, err
		}
	}
	if err := r.Enter(r.idle); err != nil {
		return false, err
	}
	if exposes {
		defer r.exposing(&err)
		r.Expose(c.in)
	} else {
		r.give(r.area(rank, room, v.in[n]), 0)
	}
	r.declare(exposes)
	if err := r.arrive(); err != nil {
		return false, err
	}
	if err := r.Await(r.idle); err != nil {
		return false, err
	}
	if err := r.learn(); err != nil {
		return false, err
	}
	if v.exposes && r.g.m.host.direct == directUntried {
		return true, nil
	}
	return false, r.move(exposes)
}

// declare writes into the member's slot what it has for whom.
func (r *onHost) declare(exposes bool) {
	row := r.Slot(r.g.m.rank, hostshm.ReadyBytes)
	mode := uint64(0)
	if exposes {
		mode = 1
	}
	binary.NativeEndian.PutUint64(row, mode)
	for _, end := range r.rows.in[1:] {
		row = row[rowWord:]
		binary.NativeEndian.PutUint64(row, uint64(end))
	}
}

// learn reads what the others have said. The error names the first whose block is not as long as this member expects.
func (r *onHost) learn() error {
	c, rank, n, v := &r.call, r.g.m.rank, r.Members(), &r.rows
	v.begins, v.totals, v.exposed = v.begins[:0], v.totals[:0], v.exposed[:0]
	v.exposes, v.longest = false, 0
	for other := range n {
		row := r.Slot(other, hostshm.ReadyBytes)
		word := func(i int) int { return int(binary.NativeEndian.Uint64(row[i*rowWord:])) }
		begin, end, total, exposed := 0, word(1+rank), word(n), word(0) != 0
		if rank > 0 {
			begin = word(rank)
		}
		if got := end - begin; got != v.out[other+1]-v.out[other] {
			return unlike(other, got/c.size, rank, c.outCounts[other])
		}
		v.begins, v.totals, v.exposed = append(v.begins, begin), append(v.totals, total), append(v.exposed, exposed)
		if exposed {
			v.exposes = true
		} else {
			v.longest = max(v.longest, total)
		}
	}
	return nil
}

// move gets the blocks of all others. The first round has begun.
func (r *onHost) move(exposes bool) error {
	c, rank, n, v := &r.call, r.g.m.rank, r.Members(), &r.rows
	for i := 1; i < n && v.exposes; i++ {
		other := (rank + i) % n // each begins with another
		if !v.exposed[other] {
			continue
		}
		if err := r.ReadExposed(other, c.out[v.out[other]:v.out[other+1]], v.begins[other]); err != nil {
			return r.unread(err)
		}
	}
	room, step := 0, v.longest
	if !r.fits(v.longest) {
		var err error
		if room, err = r.largest(); err != nil {
			return err
		}
		step = len(r.area(rank, room, v.longest))
	}
	for from := 0; ; {
		for i := 1; i < n; i++ {
			other := (rank + i) % n
			if !v.exposed[other] && v.totals[other] > from {
				r.pick(other, r.area(other, room, v.totals[other]), from)
			}
		}
		if from += step; from >= v.longest {
			break
		}
		if err := r.Enter(r.idle); err != nil {
			return err
		}
		if !exposes && v.in[n] > from {
			r.give(r.area(rank, room, v.in[n]), from)
		}
		if err := r.arrive(); err != nil {
			return err
		}
		if err := r.Await(r.idle); err != nil {
			return err
		}
	}
	if !v.exposes {
		return nil
	}
	return r.allHaveRead(exposes)
}

// largest returns how many bytes the slots have at most.
func (r *onHost) largest() (int, error) {
	if r.g.m.host.narrow {
		return hostshm.ReadyBytes, nil
	}
	return r.Room(math.MaxInt, r.idle)
}

// fits says whether data have room behind a row.
func (r *onHost) fits(total int) bool { return total <= hostshm.ReadyBytes-(r.Members()+1)*rowWord }

// area returns where the data of a rank are in this round, which has so many altogether. room is that of a large slot, if there is one that does not fit
// behind its row.
func (r *onHost) area(rank, room, total int) []byte {
	if r.fits(total) || room <= hostshm.ReadyBytes {
		behind := r.Slot(rank, hostshm.ReadyBytes)[(r.Members()+1)*rowWord:]
		return behind[:min(total, len(behind))]
	}
	return r.Slot(rank, room)
}

// give copies what the member has for others, from an offset on.
func (r *onHost) give(area []byte, from int) {
	in, rank, to := r.call.in, r.g.m.rank, from+len(area)
	begin, end := r.rows.in[rank], r.rows.in[rank+1] // of its own block
	copy(area, within(in[:begin], from, to))
	if first := max(from, end); first < to {
		copy(area[first-from:], in[first:])
	}
}

// pick copies the member's block of what another gives, from an offset on.
func (r *onHost) pick(other int, area []byte, from int) {
	v := &r.rows
	block, begin := r.call.out[v.out[other]:v.out[other+1]], v.begins[other]
	first, last := max(begin, from), min(begin+len(block), from+len(area))
	if first < last {
		copy(block[first-begin:last-begin], area[first-from:])
	}
}
