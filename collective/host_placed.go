// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"

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
func placeOf[T arrowstore.Numeric](v *arrowstore.View[T]) *placed {
	buffer, offset := v.Place()
	b := bytesOf(v.Slice())
	return &placed{ticket{id: v.Object().ID(), buffer: buffer, offset: offset, length: len(b)}, b}
}

// reducePlaced is reduce of contributions that are all in the store. What cannot be read in place is copied once.
func (s *sharing) reducePlaced(ctx context.Context, own *placed, size int, math arithmetic) (*arrowstore.Object, error) {
	if s.r == nil || math.foreign || math.prepares() {
		return s.reduce(ctx, own.bytes, size, math)
	}
	result, err := s.begin(ctx, len(own.bytes))
	if err != nil {
		return nil, err
	}
	defer result.end()
	if err := s.foldPlaced(result, own, math); err != nil {
		return nil, err
	}
	return result.Agreed()
}

// foldPlaced reduces into one object, in the rounds of the machine's memory.
func (s *sharing) foldPlaced(j *joint, own *placed, math arithmetic) error {
	r, result := s.r, j.Bytes()
	words := own.append(make([]byte, 0, ticketSize))
	near := neighbours{s: s, length: len(own.bytes), objs: map[int]*arrowstore.Object{}, data: map[int][]byte{}}
	defer near.release()
	room, err := r.RoomPlaced(len(own.bytes), r.idle)
	if err != nil {
		return err
	}
	for from := 0; ; from += room {
		to := min(from+room, len(own.bytes))
		fold := func() error {
			copy(near.slot(r.g.m.rank, to-from), words)
			source := func(rank int) ([]byte, error) {
				b, err := near.of(rank, to-from)
				if err != nil {
					return nil, err
				}
				return b[from:to], nil
			}
			m, err := r.FoldPlaced(own.bytes[from:to], result[from:to], source, reducing(math, r.Members()), r.idle)
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
	s      *sharing
	length int
	objs   map[int]*arrowstore.Object
	data   map[int][]byte
}

// slot is where a rank says where its contribution lies, in a round in which members have so many bytes of data in their slots.
func (n *neighbours) slot(rank, inSlots int) []byte {
	return n.s.r.Aside(rank, inSlots)[arrowstore.IDSize:][:ticketSize]
}

// of returns the contribution of a rank that has arrived.
func (n *neighbours) of(rank, inSlots int) ([]byte, error) {
	if b, ok := n.data[rank]; ok {
		return b, nil
	}
	t, err := parseTicket(n.slot(rank, inSlots))
	if err != nil {
		return nil, err
	}
	obj, err := n.s.held(n.s.r.ctx, t.id)
	if err != nil {
		return nil, err
	}
	n.objs[rank] = obj
	b, err := arrowstore.ViewAt[byte](obj, t.buffer, t.offset, n.length)
	if err != nil {
		return nil, err
	}
	b.Release() // obj holds it
	n.data[rank] = b.Slice()
	return n.data[rank], nil
}

// release lets go of all.
func (n *neighbours) release() {
	for _, obj := range n.objs {
		obj.Release()
	}
}
