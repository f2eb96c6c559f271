// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"bytes"

	"github.com/tutti-go/tutti/arrowstore"
)

// Where all members share the memory of a machine, what they tell each other of objects goes through its slots: an operation with a shared result
// takes one round of package hostshm, or two if the object is announced first.

// share begins an operation with a shared result in the memory of a machine. All members are on one host, so root is the head.
func (r *onHost) share(root int) *sharing {
	m := r.g.m
	s := &m.host.sharing
	*s = sharing{r: r, g: r.g, hosts: m.hosts, storage: m.s.hub.storage, head: root, only: -1}
	s.heads = s.hosts.headsFor(root, m.rank)
	return s
}

// announce tells all members something of the head's, in a round of its own. take is called at the others, before the round ends, for which
// the head does not wait.
func (r *onHost) announce(head int, words []byte, take func([]byte) error) error {
	if err := r.Enter(r.idle); err != nil {
		return err
	}
	slot := r.Slot(head, ticketSize)
	if r.g.m.rank == head {
		copy(slot, words)
		r.Publish()
		return r.arrive()
	}
	if err := r.published(); err != nil {
		return err
	}
	if err := take(slot); err != nil {
		return err
	}
	return r.arrive()
}

// together returns when all members have called it.
func (r *onHost) together() error {
	if err := r.Enter(r.idle); err != nil {
		return err
	}
	if err := r.arrive(); err != nil {
		return err
	}
	return r.Await(r.idle)
}

// handOnHost is hand where members share the memory of a machine. The head holds the object until its next operation there, which begins when
// all hold it, or keeps it; so it does not wait for them.
func (s *sharing) handOnHost(own *arrowstore.Object, t ticket) (*arrowstore.Object, ticket, error) {
	p, key := &s.r.g.m.host.spares, s.r.call.words()
	var words [ticketSize]byte
	if own != nil {
		t.id, t.kept = own.ID(), s.made != nil
		t.append(words[:0])
	}
	var obj *arrowstore.Object
	err := s.r.announce(s.head, words[:], func(b []byte) (err error) {
		if t, err = parseTicket(b); err != nil {
			return err
		}
		if !t.kept {
			obj, err = s.held(s.r.ctx, t.id)
			return err
		}
		p.put(key, t.id, nil)
		j, err := p.use(p.take(key), t.offset+t.length, s.storage)
		if err != nil {
			return s.lost(s.r.ctx, err)
		}
		obj = j.kept.Object()
		j.end()
		return nil
	})
	if err != nil {
		if obj != nil {
			obj.Release()
		}
		s.made.unshelved()
		return nil, ticket{}, err
	}
	if own == nil {
		if !t.kept {
			p.put(key, arrowstore.ID{}, nil)
		}
		return obj, t, nil
	}
	own.Retain() // for the caller
	if s.made != nil {
		p.put(key, t.id, s.made)
		p.take(key)
		return own, t, nil
	}
	p.put(key, arrowstore.ID{}, nil)
	own.Retain()
	p.linger(own)
	return own, t, nil
}

// beginOnHost is begin where members share the memory of a machine. If an operation like this one has announced the object, nobody waits.
func (s *sharing) beginOnHost(size int) (*joint, error) {
	p := &s.r.g.m.host.spares
	k := p.take(s.r.call.words())
	if k == nil {
		return s.stageOnHost(size)
	}
	j, err := p.use(k, size, s.storage)
	if err != nil {
		return nil, s.lost(s.r.ctx, err)
	}
	return j, nil
}

// stageOnHost makes an object for all to write, and announces it.
func (s *sharing) stageOnHost(size int) (*joint, error) {
	j, words := &joint{}, []byte(nil)
	if s.isHead() {
		id, err := s.create(j, size)
		if err != nil {
			return nil, err
		}
		words, _ = id.AppendBinary(make([]byte, 0, arrowstore.IDSize)) // never fails
	}
	err := s.r.announce(s.head, words, func(b []byte) error {
		id, err := arrowstore.ParseID(b[:arrowstore.IDSize])
		if err == nil {
			err = s.join(j, id)
		}
		return err
	})
	if err != nil {
		j.end()
		return nil, s.lost(s.r.ctx, err)
	}
	return j, nil
}

// agree ends an operation whose members have written into one object, when all have. arrive is how they arrive at the last round, with data of so many
// bytes in their slots. The object of the next such operation is announced with it. Who does not want the result does not wait.
func (s *sharing) agree(j *joint, inSlots int, arrive func() error) error {
	r := s.r
	if err := r.Enter(r.idle); err != nil {
		return err
	}
	p, key := &r.g.m.host.spares, r.call.words()
	slot := r.Aside(s.head, inSlots)[:arrowstore.IDSize]
	var next *lasting
	if s.isHead() {
		clear(slot)
		if next = s.next(len(j.Bytes())); next != nil {
			_, _ = next.id.AppendBinary(slot[:0]) // never fails
		}
	}
	err := arrive()
	if err == nil && s.idle && !s.isHead() {
		r.g.m.host.pending = pending{slot: slot, key: key}
		return nil
	}
	if err == nil {
		err = r.Await(r.idle)
	}
	if err != nil {
		next.unshelved()
		return err
	}
	id, err := announced(slot)
	if err != nil {
		return err
	}
	p.put(key, id, next)
	if s.isHead() {
		return s.sealed(j)
	}
	return nil
}

// announced reads what the head has announced: the zero ID if it is nothing.
func announced(slot []byte) (arrowstore.ID, error) {
	if [arrowstore.IDSize]byte(slot) == ([arrowstore.IDSize]byte{}) {
		return arrowstore.ID{}, nil
	}
	return arrowstore.ParseID(slot)
}

// pending is an announcement in a round that the member has left before it was over.
type pending struct {
	slot  []byte // nil: there is none
	key   [2]uint64
	place interface{ announced(arrowstore.ID) error } // whose it is, or nil
}

// settle reads what was announced in the round before, when all have arrived there.
func (r *onHost) settle() error {
	h := &r.g.m.host
	if h.pending.slot == nil {
		return nil
	}
	if err := r.AwaitAll(r.idle); err != nil {
		return err
	}
	p := h.pending
	h.pending = pending{}
	id, err := announced(p.slot)
	switch {
	case err != nil:
		return err
	case p.place == nil:
		h.spares.put(p.key, id, nil)
		return nil
	default:
		return p.place.announced(id)
	}
}

// next makes the object of the next operation like this one, at the head, or finds one; or returns nil.
func (s *sharing) next(size int) *lasting {
	p, key := &s.r.g.m.host.spares, s.r.call.words()
	if !p.expects(key, size, s.storage) {
		return nil
	}
	if k := p.free(key, size, s.r.Members()); k != nil {
		return k
	}
	k, err := s.make(size)
	if err != nil {
		return nil // it is made when it is needed, and then is an error
	}
	return k
}

// foldOnHost reduces what all members have into one object, in the rounds of the machine's memory.
func (s *sharing) foldOnHost(j *joint, own []byte, math arithmetic) error {
	r, result := s.r, j.Bytes()
	if math.prepares() {
		own = bytes.Clone(own)
		math.begin(own)
	}
	s.storage.copied.Add(int64(len(own))) // at most: the last to arrive at a node of the tree copies nothing
	room, err := r.Room(len(own), r.idle)
	if err != nil {
		return err
	}
	for from := 0; ; from += room {
		to := min(from+room, len(own))
		fold := func() error {
			return r.mismatch(r.FoldInto(own[from:to], result[from:to], reducing(math, r.Members())))
		}
		if to == len(own) {
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
