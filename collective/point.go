// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/internal/wire"
)

// Send sends buf to the member with rank peer, where a Recv with the same tag, element type and length takes it. Tags are from
// 0 to 1<<32-1. Messages of one tag keep their order; those of different tags may be taken in any. buf is only read, and is the
// caller's again when the call returns. Up to 4 MiB may wait for each peer until it takes them: so Send may return before the peer
// has called Recv, and waits for that where there is more. Errors: *Error, ErrNotMember, ErrArgument for a peer that is no other
// rank, or a tag out of range.
func Send[T Element](ctx context.Context, g *Group, buf []T, peer, tag int) error {
	return point(ctx, g, opSend, buf, peer, nil, schedule.None, tag)
}

// Recv waits for a message that the member with rank peer sent by Send with the same tag, and puts it into buf, which must have
// its length and element type: else the call of both is named by an ErrMismatch. buf is the operation's until the call returns, and
// holds nothing of use after an error. Errors: *Error, ErrNotMember, ErrArgument for a peer that is no other rank, or a
// tag out of range.
func Recv[T Element](ctx context.Context, g *Group, buf []T, peer, tag int) error {
	return point(ctx, g, opRecv, nil, schedule.None, buf, peer, tag)
}

// SendRecv sends in to the member with rank to, and at the same time receives out from the member with rank from, as Send and
// Recv would. Members may so pass data around in a ring. to and from may both be the caller's own rank. in and out must not
// overlap. Errors: *Error, ErrNotMember, ErrArgument for a to or from that is no rank, or a tag out of range.
func SendRecv[T Element](ctx context.Context, g *Group, in []T, to int, out []T, from, tag int) error {
	return point(ctx, g, opSendRecv, in, to, out, from, tag)
}

func point[T Element](ctx context.Context, g *Group, op operation, in []T, to int, out []T, from, tag int) error {
	if err := g.checkPoint(op, to, from, tag); err != nil {
		return err
	}
	send := descriptor{op: opSend, kind: kindOf[T](), root: uint32(tag), count: uint64(len(in))}
	want := descriptor{op: opSend, kind: kindOf[T](), root: uint32(tag), count: uint64(len(out))}
	d := send
	d.op = op
	if op == opRecv {
		d.count = want.count
	}
	return g.operate(ctx, invocation{descriptor: d}, func(ctx context.Context, x *execution) error {
		x.peers, x.head = &pair{m: g.m, sent: send.hash(), want: want}, send.append(nil)
		x.buf = duplex{bytesOf(in), bytesOf(out)}
		s := schedule.Of(g.Size(), g.Rank(), len(duplex{}), 1, schedule.Step{
			Send: schedule.Transfer{Peer: to, Blocks: schedule.Blocks{First: 0, Count: 1}},
			Recv: schedule.Transfer{Peer: from, Blocks: schedule.Blocks{First: 1, Count: 1}},
		})
		return x.run(ctx, plan{s, g.m.pointProgram(s, to, from)})
	})
}

// pointProgram compiles a schedule of one step, of which there are three kinds.
func (m *member) pointProgram(s schedule.Schedule, to, from int) *schedule.Program {
	kind := 0
	if to != schedule.None {
		kind++
	}
	if from != schedule.None {
		kind += 2
	}
	if m.points[kind] == nil {
		m.points[kind] = schedule.Compile(s)
	}
	return m.points[kind]
}

// checkPoint checks the arguments of Send, Recv and SendRecv; a rank that is not used is None.
func (g *Group) checkPoint(op operation, to, from, tag int) error {
	if uint64(tag) > math.MaxUint32 {
		return fmt.Errorf("%w: %v: tag is %d, want 0 to %d", ErrArgument, op, tag, uint32(math.MaxUint32))
	}
	check := func(name string, rank int) error {
		switch {
		case rank < 0 || rank >= g.Size():
			return fmt.Errorf("%w: %v: %s is %d, want 0 to %d", ErrArgument, op, name, rank, g.Size()-1)
		case rank == g.Rank() && to != from:
			return fmt.Errorf("%w: %v: %s is %d, the caller's own rank", ErrArgument, op, name, rank)
		}
		return nil
	}
	switch op {
	case opSend:
		return check("peer", to)
	case opRecv:
		return check("peer", from)
	default:
		if err := check("to", to); err != nil {
			return err
		}
		return check("from", from)
	}
}

// pair is the peers of Send and Recv.
type pair struct {
	m    *member
	sent uint32     // hash of what is sent
	want descriptor // what is received
}

func (p *pair) send(ctx context.Context, f *flow, body []byte) error {
	return p.m.push(ctx, f.peer, mark{step: stepPoint, seq: uint64(p.want.root), hash: p.sent}, body)
}

func (p *pair) room() *workspace { return &p.m.work }

// lends implements peers. Messages of Send keep their order by the link.
func (p *pair) lends(*flow) bool { return false }

func (p *pair) lend(f *flow, head []byte) error { return p.m.lend(f, head) }

func (p *pair) withdraw(flows []*flow) { p.m.withdraw(flows) }

func (p *pair) wait(ctx context.Context, flows []*flow) error {
	tag := uint64(p.want.root)
	err := p.m.waitOn(ctx, flows, unnumbered, traffic{
		edgeLocked: p.m.pointLocked,
		pickLocked: func(e *edge, _ *flow) (int, bool) {
			return slices.IndexFunc(e.queue, func(f wire.Frame) bool { return f.Seq == tag }), false
		},
		credit: stepPointCredit,
	})
	if err != nil {
		return err
	}
	for _, f := range flows {
		if f.body != nil && f.came.Hash != p.want.hash() {
			theirs, err := parseDescriptor(f.body)
			if err != nil {
				return err
			}
			ours := p.want
			ours.op = opRecv
			return mismatch("rank %d called %v, rank %d called %v", f.peer, theirs, p.m.rank, ours)
		}
	}
	return nil
}
