// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/collective/schedule"
)

// sharing is one operation whose result is one object for each host, which all its members hold. One member of each host, its head,
// makes the object and tells the others what it is; they hold it before the head lets go, so that nobody's end takes it away from
// another, and nothing is left of it when the last of them has released it or died.
type sharing struct {
	x       *execution // of messages; nil in the memory of a machine
	r       *onHost    // in the memory of a machine; nil by messages
	g       *Group
	hosts   *hosts
	storage *storage
	heads   *team    // of all hosts
	head    int      // place of the own host's in hosts.here
	only    int      // the host that a reduction between hosts is for, or -1 if it is for all
	made    *lasting // what put has written into, if it is kept
	idle    bool     // the member does not want the result: where it can, it does not wait for it
}

// share begins an operation with a shared result. The head of root's host is root.
func (x *execution) share(ctx context.Context, g *Group, root int) (*sharing, error) {
	if x.host != nil {
		return x.host.share(root), nil
	}
	h, err := x.hostsOf(ctx, g)
	if err != nil {
		return nil, err
	}
	s := &sharing{x: x, g: g, hosts: h, storage: g.m.s.hub.storage, only: -1}
	x.sent = &s.storage.sent
	s.heads = h.headsFor(root, g.Rank())
	head := s.heads.ranks[h.own]
	for i, rank := range h.here.ranks {
		if rank == head {
			s.head = i
		}
	}
	return s, nil
}

// isHead says whether the caller is the head of its host.
func (s *sharing) isHead() bool { return s.hosts.here.at == s.head }

// alone says whether all members are on one host.
func (s *sharing) alone() bool { return len(s.hosts.ranks) == 1 }

// down copies a few bytes from the head to all members of its host.
func (s *sharing) down(ctx context.Context, b []byte) error {
	p := s.hosts.here.plan(s.g.first(schedule.Broadcast), s.head)
	return s.x.runAmong(ctx, s.hosts.here, p, &even{bytes: b, size: 1, count: len(b), blocks: p.Blocks})
}

// up returns at the head when all members of its host have called it.
func (s *sharing) up(ctx context.Context) error {
	p := s.hosts.here.plan(s.g.first(schedule.Reduce), s.head)
	return s.x.runAmong(ctx, s.hosts.here, p, &even{blocks: p.Blocks})
}

// together returns when all members of the host have called it.
func (s *sharing) together(ctx context.Context) error {
	if s.r != nil {
		return s.r.together()
	}
	return s.x.runAmong(ctx, s.hosts.here, s.hosts.here.plan(s.g.first(schedule.Barrier), 0), &even{})
}

// begin makes an object of some bytes, for all members of the host to write. The caller ends it.
func (s *sharing) begin(ctx context.Context, size int) (*joint, error) {
	if s.r != nil {
		return s.beginOnHost(size)
	}
	return s.stage(ctx, size)
}

// stage is begin for an object that does not become a result.
func (s *sharing) stage(ctx context.Context, size int) (*joint, error) {
	if s.r != nil {
		return s.stageOnHost(size)
	}
	j := &joint{}
	b := make([]byte, 0, arrowstore.IDSize)
	if s.isHead() {
		id, err := s.create(j, size)
		if err != nil {
			return nil, err
		}
		b, _ = id.AppendBinary(b) // never fails
	}
	err := s.down(ctx, b[:arrowstore.IDSize])
	var id arrowstore.ID
	if err == nil {
		id, err = arrowstore.ParseID(b[:arrowstore.IDSize])
	}
	if err == nil && !s.isHead() {
		err = s.join(j, id)
	}
	if err != nil {
		j.end()
		return nil, s.lost(ctx, err)
	}
	return j, nil
}

// create makes the object at the head.
func (s *sharing) create(j *joint, size int) (arrowstore.ID, error) {
	w, err := s.storage.store.Create(size)
	if err != nil {
		return arrowstore.ID{}, fmt.Errorf("shared result: %w", err)
	}
	j.writer = w
	id, err := w.Open()
	if err == nil {
		err = s.join(j, id)
	}
	if err != nil {
		j.end()
	}
	return id, err
}

func (s *sharing) join(j *joint, id arrowstore.ID) (err error) {
	if j.once, err = s.storage.store.Join(id); err == nil {
		j.mem = j.once.Bytes()
	}
	return err
}

// lost says why an object is not there of which the head has told: it died, or its epoch is over. Word of that comes soon.
func (s *sharing) lost(ctx context.Context, err error) error {
	if !errors.Is(err, arrowstore.ErrNotFound) {
		return err
	}
	if s.r != nil {
		s.r.bounded()
		ctx = s.r.ctx
	}
	timer := time.NewTimer(s.g.s.bounds.Silence)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return stopped(ctx)
	case <-timer.C:
		return err
	}
}

// complete makes the object one that nobody can change, when all members have written, and returns it to all. Heads call between first.
func (s *sharing) complete(ctx context.Context, j *joint, between func() error) (*arrowstore.Object, error) {
	if s.r != nil {
		if err := s.agree(j, 0, s.r.arrive); err != nil {
			return nil, err
		}
		return s.result(j)
	}
	if err := s.up(ctx); err != nil {
		return nil, err
	}
	if s.isHead() && !s.alone() {
		if err := between(); err != nil {
			return nil, err
		}
	}
	return s.seal(ctx, j)
}

// result returns what the members of a machine have agreed upon, or nil at a member that does not want it.
func (s *sharing) result(j *joint) (*arrowstore.Object, error) {
	if s.idle {
		j.pass()
		return nil, nil
	}
	return j.Agreed()
}

// seal makes the object one that nobody can change, when the head knows that all have written, and returns it to all.
func (s *sharing) seal(ctx context.Context, j *joint) (*arrowstore.Object, error) {
	if s.isHead() {
		if err := s.sealed(j); err != nil {
			return nil, err
		}
	}
	if err := s.down(ctx, make([]byte, 1)); err != nil {
		return nil, err
	}
	return j.once.Object()
}

// sealed is seal at the head. The object is deleted at once: what holds it are those who have joined.
func (s *sharing) sealed(j *joint) error {
	if j.kept != nil {
		return nil // nobody but the members can find it
	}
	obj, err := j.writer.Seal()
	if err != nil {
		return err
	}
	err = s.storage.store.Delete(obj.ID())
	obj.Release()
	return err
}

// ticket says where the data of an object are.
type ticket struct {
	id             arrowstore.ID
	buffer, offset int
	length         int  // in bytes
	kept           bool // the object is one that is kept
}

// keptBuffer is added to the buffer of an object that is kept.
const keptBuffer = 1 << 31

const ticketSize = arrowstore.IDSize + 20

func (t ticket) append(b []byte) []byte {
	b, _ = t.id.AppendBinary(b) // never fails
	buffer := uint32(t.buffer)
	if t.kept {
		buffer |= keptBuffer
	}
	b = binary.LittleEndian.AppendUint32(b, buffer)
	b = binary.LittleEndian.AppendUint64(b, uint64(t.offset))
	return binary.LittleEndian.AppendUint64(b, uint64(t.length))
}

// lengthIn returns the length in a ticket that names no object.
func lengthIn(b []byte) (int, error) {
	n := int(binary.LittleEndian.Uint64(b[ticketSize-8:]))
	if n < 0 {
		return 0, fmt.Errorf("%w: shared result of %d bytes", ErrArgument, n)
	}
	return n, nil
}

func parseTicket(b []byte) (ticket, error) {
	id, err := arrowstore.ParseID(b[:arrowstore.IDSize])
	if err != nil {
		return ticket{}, err
	}
	b = b[arrowstore.IDSize:]
	buffer := binary.LittleEndian.Uint32(b)
	t := ticket{id: id, buffer: int(buffer &^ keptBuffer), kept: buffer&keptBuffer != 0, offset: int(binary.LittleEndian.Uint64(b[4:])), length: int(binary.LittleEndian.Uint64(b[12:]))}
	if t.offset < 0 || t.length < 0 {
		return ticket{}, fmt.Errorf("%w: shared result of %d bytes at %d", ErrArgument, t.length, t.offset)
	}
	return t, nil
}

// hand gives all members of the host an object that the head holds. own is the head's, which is left to the caller; the result is
// to be released by itself.
func (s *sharing) hand(ctx context.Context, own *arrowstore.Object, t ticket) (*arrowstore.Object, ticket, error) {
	if s.r != nil {
		return s.handOnHost(own, t)
	}
	b := make([]byte, ticketSize)
	if own != nil {
		t.id = own.ID()
		b = t.append(b[:0])
	}
	if err := s.down(ctx, b); err != nil {
		return nil, ticket{}, err
	}
	t, err := parseTicket(b)
	if err != nil {
		return nil, ticket{}, err
	}
	obj, err := s.held(ctx, t.id)
	if err != nil {
		return nil, ticket{}, err
	}
	if err := s.up(ctx); err != nil {
		obj.Release()
		return nil, ticket{}, err
	}
	return obj, t, nil
}

// held returns an object that the head holds.
func (s *sharing) held(ctx context.Context, id arrowstore.ID) (*arrowstore.Object, error) {
	obj, err := s.storage.store.GetHeld(id)
	if err != nil {
		return nil, s.lost(ctx, fmt.Errorf("shared result: %w", err))
	}
	return obj, nil
}

// put makes an object that fill writes, at the head alone, and deletes it at once: it lasts while somebody holds it.
func (s *sharing) put(size int, fill func([]byte) error) (*arrowstore.Object, error) {
	if s.r != nil {
		if s.made = s.next(size); s.made != nil {
			return s.refill(s.made, size, fill)
		}
	}
	w, err := s.storage.store.Create(size)
	if err != nil {
		return nil, fmt.Errorf("shared result: %w", err)
	}
	defer w.Abort()
	if err := fill(w.Bytes()); err != nil {
		return nil, err
	}
	obj, err := w.Seal()
	if err != nil {
		return nil, err
	}
	if err := s.storage.store.Delete(obj.ID()); err != nil {
		obj.Release()
		return nil, err
	}
	return obj, nil
}

// refill is put with an object that is kept.
func (s *sharing) refill(k *lasting, size int, fill func([]byte) error) (*arrowstore.Object, error) {
	j, err := s.r.g.m.host.spares.use(k, size, s.storage)
	if err == nil {
		defer j.end()
		if err = fill(j.Bytes()); err == nil {
			return j.Agreed()
		}
	}
	k.unshelved()
	return nil, err
}

// copyIn copies data of the caller's into an object.
func (s *sharing) copyIn(dst, src []byte) { s.storage.copied.Add(int64(copy(dst, src))) }

// hostBlocks cuts a memory with a part for each rank into one block for each host. If the ranks of a host do not
// follow each other, the blocks are those of a copy, in the order of hosts.
func (s *sharing) hostBlocks(all []byte, p parts) (blocks *pieces, copied bool) {
	n := len(s.hosts.ranks)
	if !s.hosts.inOrder {
		all, copied = make([]byte, len(all)), true
	}
	return split(all, 0, n, n, func(host int) int { return p.bytes(s.hosts.ranks[host]) }), copied
}

// move copies the parts of a host's members from where they are in the order of ranks into the host's block, or back.
func (s *sharing) move(all, block []byte, p parts, host int, back bool) {
	there := p.among(s.hosts.ranks[host])
	for i, rank := range s.hosts.ranks[host] {
		in, out := p.of(all, rank), there.of(block, i)
		if back {
			in, out = out, in
		}
		copy(out, in)
	}
}

// exchange completes a memory with a part for each rank, of which each host has those of its members. Heads call it.
func (s *sharing) exchange(ctx context.Context, all []byte, p parts) error {
	blocks, copied := s.hostBlocks(all, p)
	if copied {
		s.move(all, blocks.block(s.hosts.own), p, s.hosts.own, false)
	}
	if err := s.x.runAmong(ctx, s.heads, s.heads.plan(s.g.first(schedule.AllGather), 0), blocks); err != nil {
		return err
	}
	if copied {
		for host := range s.hosts.ranks {
			if host != s.hosts.own {
				s.move(all, blocks.block(host), p, host, true)
			}
		}
	}
	return nil
}
