// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/collective/hostshm"
)

// Contributions to a reduction that are in the store already are read there, by whoever reduces. Each member says in its slot where its own
// lies, which it holds until all have been reduced; who reads it holds it, too.

// placed is a contribution in the store.
type placed struct {
	ticket

	bytes []byte
}

// placeOf returns where the numbers of a view lie.
func placeOf[T arrowstore.Numeric](v *arrowstore.View[T]) placed {
	buffer, offset := v.Place()
	b := bytesOf(v.Slice())
	return placed{ticket{id: v.Object().ID(), buffer: buffer, offset: offset, length: len(b)}, b}
}

// reducePlaced is reduce of contributions that are all in the store. What cannot be read in place is copied once.
func (s *sharing) reducePlaced(ctx context.Context, own placed, size int, math arithmetic) (*arrowstore.Object, error) {
	if s.r == nil || math.foreign || math.prepares() {
		return s.reduce(ctx, own.bytes, size, math)
	}
	result, err := s.begin(ctx, len(own.bytes))
	if err != nil {
		return nil, err
	}
	defer result.end()
	if err := s.foldPlaced(result, &own, math); err != nil {
		return nil, err
	}
	return s.result(result)
}

// foldPlaced reduces into one object, in the rounds of the machine's memory.
func (s *sharing) foldPlaced(j *joint, own *placed, math arithmetic) error {
	r, result, near := s.r, j.Bytes(), &s.r.g.m.host.near
	var words [ticketSize]byte
	own.append(words[:0])
	near.begin(s, len(own.bytes))
	defer near.release()
	room, err := r.RoomPlaced(len(own.bytes), r.idle)
	if err != nil {
		return err
	}
	for from := 0; ; from += room {
		to := min(from+room, len(own.bytes))
		fold := func() error {
			near.from, near.to = from, to
			copy(near.slot(r.g.m.rank), words[:])
			m, err := r.FoldPlaced(own.bytes[from:to], result[from:to], near.source, reducing(math, r.Members()), s.idle, r.idle)
			if err != nil {
				return err
			}
			return r.mismatch(m)
		}
		if to == len(own.bytes) {
			return s.agree(j, to-from, fold)
		}
		if err := r.Enter(r.idle); err != nil {
			return err
		}
		if err := fold(); err != nil {
			return err
		}
	}
}

// reducing is what whoever arrives last at a node of the tree does.
func reducing(math arithmetic, members int) hostshm.Reduce {
	return func(dst []byte, srcs [][]byte, top bool) {
		math.all(dst, srcs)
		if top {
			math.finish(dst, members)
		}
	}
}

// neighbours are the contributions of others that a member reads in one operation.
type neighbours struct {
	s        *sharing
	length   int // of each contribution
	from, to int // the stretch of them that this round is for
	read     []neighbour
	source   func(rank int) ([]byte, error) // of
}

// neighbour is a contribution that is read.
type neighbour struct {
	rank int
	obj  *arrowstore.Object
	data []byte
}

func (n *neighbours) begin(s *sharing, length int) {
	n.s, n.length = s, length
	if n.source == nil {
		n.source = n.of
	}
}

// slot is where a rank says where its contribution lies.
func (n *neighbours) slot(rank int) []byte {
	return n.s.r.Aside(rank, n.to-n.from)[arrowstore.IDSize:][:ticketSize]
}

// of returns this round's stretch of the contribution of a rank that has arrived.
func (n *neighbours) of(rank int) ([]byte, error) {
	for i := range n.read {
		if n.read[i].rank == rank {
			return n.read[i].data[n.from:n.to], nil
		}
	}
	t, err := parseTicket(n.slot(rank))
	if err != nil {
		return nil, err
	}
	obj, err := n.s.held(n.s.r.ctx, t.id)
	if err != nil {
		return nil, err
	}
	n.read = append(n.read, neighbour{rank: rank, obj: obj})
	if t.buffer >= obj.Len() || t.length != n.length || t.offset > len(obj.Buffer(t.buffer))-n.length {
		return nil, fmt.Errorf("%w: rank %d contributes %d bytes at %d of buffer %d, want %d", ErrArgument, rank, t.length, t.offset, t.buffer, n.length)
	}
	data := obj.Buffer(t.buffer)[t.offset:][:n.length]
	n.read[len(n.read)-1].data = data
	return data[n.from:n.to], nil
}

// release lets go of all.
func (n *neighbours) release() {
	for _, b := range n.read {
		b.obj.Release()
	}
	clear(n.read)
	n.read = n.read[:0]
}
