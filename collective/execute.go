// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/internal/wire"
)

// segment is how many bytes of data one frame carries at most, so that a receiver works on the first part of a transfer while
// the rest is on its way. A multiple of every element's size.
const segment = 256 << 10

// walk goes through the bytes of a transfer's blocks, in the order in which they travel.
type walk struct {
	buf    memory
	blocks schedule.Blocks
	total  int    // blocks of the schedule
	done   int    // blocks of the set that were begun
	rest   []byte // of the block that was begun last
	left   int    // bytes of the whole transfer
	frames int    // frames that the transfer still takes
}

func newWalk(buf memory, total int, t schedule.Transfer) walk {
	w := walk{buf: buf, blocks: t.Blocks, total: total}
	if t.Peer == schedule.None {
		return w
	}
	for i := range t.Blocks.All(total) {
		w.left += len(buf.block(i))
	}
	w.frames = max(1, (w.left+segment-1)/segment) // no data is a message too
	return w
}

// next calls use for each piece of memory of the next frame.
func (w *walk) next(use func([]byte)) {
	w.frames--
	todo := min(w.left, segment)
	w.left -= todo
	for todo > 0 {
		if len(w.rest) == 0 {
			w.rest = w.buf.block((w.blocks.First + w.done*w.blocks.Stride) % w.total)
			w.done++
			continue
		}
		m := min(todo, len(w.rest))
		use(w.rest[:m])
		w.rest, todo = w.rest[m:], todo-m
	}
}

// peers is what an execution needs of the world. Messages between two ranks keep their order.
type peers interface {
	// send takes the body over: a descriptor followed by data.
	send(ctx context.Context, to, round int, body []byte) error
	// recv returns the body of the next message of a rank, which must be one of the given round.
	recv(ctx context.Context, from, round int) ([]byte, error)
}

// execution runs schedules of one operation over one memory.
type execution struct {
	peers   peers
	head    []byte // the encoded descriptor
	buf     memory
	combine func(dst, src []byte) // for steps that reduce
	rank    int                   // of the caller, for the texts of errors
	counted int                   // bytes per element, if each pair of members has a count of its own, which the frames then tell
}

func (x *execution) run(ctx context.Context, s schedule.Schedule) error {
	for _, st := range s.Steps {
		if err := x.step(ctx, s.Blocks, st); err != nil {
			return err
		}
	}
	return nil
}

// step sends and receives in turns, a frame each. What it waits for has a lower place in the order of (round, frame) at every
// rank, so that waiting for room at the receiver cannot go round in a circle.
func (x *execution) step(ctx context.Context, total int, st schedule.Step) error {
	out, in := newWalk(x.buf, total, st.Send), newWalk(x.buf, total, st.Recv)
	head := x.head
	if x.counted > 0 {
		head = binary.LittleEndian.AppendUint64(slices.Clone(head[:descriptorSize-8]), uint64(out.left/x.counted))
	}
	want := uint64(in.left / max(x.counted, 1))
	for out.frames > 0 || in.frames > 0 {
		if out.frames > 0 {
			body := make([]byte, 0, len(head)+min(out.left, segment))
			body = append(body, head...)
			out.next(func(b []byte) { body = append(body, b...) })
			if err := x.peers.send(ctx, st.Send.Peer, st.Round, body); err != nil {
				return err
			}
		}
		if in.frames > 0 {
			body, err := x.peers.recv(ctx, st.Recv.Peer, st.Round)
			if err != nil {
				return err
			}
			if got := countOf(body); x.counted > 0 && got != want {
				return mismatch("rank %d called AllToAllV with %d elements for rank %d, rank %d called it for %d from rank %d",
					st.Recv.Peer, got, x.rank, x.rank, want, st.Recv.Peer)
			}
			if err := x.place(&in, st, body[descriptorSize:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// place puts the data of one frame where it belongs.
func (x *execution) place(in *walk, st schedule.Step, data []byte) error {
	if want := min(in.left, segment); len(data) != want {
		return fmt.Errorf("%w: rank %d sent %d bytes in round %d, want %d", wire.ErrFrame, st.Recv.Peer, len(data), st.Round, want)
	}
	in.next(func(dst []byte) {
		if st.Reduce {
			x.combine(dst, data[:len(dst)])
		} else {
			copy(dst, data)
		}
		data = data[len(dst):]
	})
	return nil
}
