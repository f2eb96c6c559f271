// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"

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
	whole  int    // bytes of the whole transfer
	left   int    // of them, those that are still to come
	frames int    // frames that the transfer still takes
}

func newWalk(buf memory, total int, t schedule.Transfer) walk {
	w := walk{buf: buf, blocks: t.Blocks, total: total}
	for i := range t.Blocks.All(total) {
		w.left += len(buf.block(i))
	}
	w.whole = w.left
	w.frames = max(1, (w.left+segment-1)/segment) // no data is a message too
	return w
}

// size returns how many bytes of data a frame of the transfer carries.
func (w *walk) size(frame int) int { return min(w.whole-frame*segment, segment) }

// piece calls use for each piece of memory of a frame, whatever next has done.
func (w *walk) piece(frame int, use func([]byte)) {
	skip, todo := frame*segment, w.size(frame)
	for i := 0; todo > 0; i++ {
		b := w.buf.block(w.blocks.At(i, w.total))
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		b = b[skip:min(skip+todo, len(b))]
		skip, todo = 0, todo-len(b)
		use(b)
	}
}

// next calls use for each piece of memory of the next frame.
func (w *walk) next(use func([]byte)) {
	w.frames--
	todo := min(w.left, segment)
	w.left -= todo
	for todo > 0 {
		if len(w.rest) == 0 {
			w.rest = w.buf.block(w.blocks.At(w.done, w.total))
			w.done++
			continue
		}
		m := min(todo, len(w.rest))
		use(w.rest[:m])
		w.rest, todo = w.rest[m:], todo-m
	}
}

// workspace is what an execution needs of memory for itself. A member has one, for its operations follow each other.
type workspace struct {
	machine schedule.Machine
	flows   []*flow // under way, in the order of the schedule
	spare   []*flow
}

// flow is one transfer of a schedule under way: it goes frame by frame.
type flow struct {
	walk // of what is sent; of what is received only its frames count

	action schedule.Action
	step   schedule.Step
	peer   int
	count  uint64 // of elements, where each pair of members has one of its own

	room bool   // wait found room for the next frame
	body []byte // wait took a frame: its descriptor and data; or nil
	came wire.Header
	at   int // which one of the flow it is, or, of one that is sent, its place in what goes to the peer

	*berth
	placed int   // frames that wait took and that are in place
	seen   int   // frames that came over lanes, when wait looked last
	lent   int   // frames whose memory was being read, when wait looked last
	fault  error // failed, when wait looked last
}

// done says whether a flow is at its end.
func (f *flow) done() bool {
	if f.action.Send {
		return f.frames == 0 && f.lent == 0
	}
	return f.placed+f.seen == f.frames
}

// next returns the length of the body of the next frame that is sent.
func (f *flow) nextBody() int { return descriptorSize + min(f.left, segment) }

// peers is what an execution needs of the world. Messages between two ranks keep their order.
type peers interface {
	// wait returns when one of the flows, or more, can go on. Where they send it reserves room for a frame, where they receive it
	// takes one; but not if the flow has that already. The first of the flows is the one that the others wait for in the end.
	wait(ctx context.Context, flows []*flow) error
	// send sends a frame for which there is room, and takes its body over: a descriptor followed by data.
	send(ctx context.Context, f *flow, body []byte) error
	// lends says whether the frames of a flow that sends go by lend, which reads the data where they are: until wait no longer counts
	// the frame as lent.
	lends(f *flow) bool
	lend(f *flow, head []byte) error
	// withdraw makes sure that nobody reads or writes the memory of flows any more that have not come to their end.
	withdraw(flows []*flow)
	// room returns memory that is the execution's until it ends.
	room() *workspace
}

// execution runs schedules of one operation over one memory.
type execution struct {
	peers   peers
	head    []byte // the encoded descriptor
	buf     memory
	combine func(dst, src []byte) // for steps that reduce
	finish  func(dst []byte)      // for a block that holds all contributions; nil if nothing is left to do
	rank    int                   // of the caller, for the texts of errors
	ranks   []int                 // in the group, of those that a schedule is for; nil if it is for all
	sent    *atomic.Int64         // where the bytes of data that go out are counted, or nil
	foreign bool                  // combine runs code of the caller's, which no goroutine but its own must do
	counted int                   // bytes per element, if each pair of members has a count of its own, which the frames then tell

	host *onHost // of an operation with a shared result in the memory of a machine, for which there is nothing else here

	plan schedule.Schedule
	*workspace
}

// run carries out what the machine of the schedule releases, side by side, until all is done.
func (x *execution) run(ctx context.Context, p plan) error {
	x.plan, x.workspace = p.Schedule, x.peers.room()
	x.machine.Reset(p.program)
	defer x.abandon()
	for !x.machine.Done() {
		for a, ok := x.machine.Next(); ok; a, ok = x.machine.Next() {
			x.begin(a)
		}
		if err := x.peers.wait(ctx, x.flows); err != nil {
			return err
		}
		if err := x.advance(ctx); err != nil {
			return err
		}
	}
	return nil
}

// abandon lets go of the flows that are left, if the operation failed: others may know them, so that they are not used again.
func (x *execution) abandon() {
	if len(x.flows) > 0 {
		x.peers.withdraw(x.flows)
		clear(x.flows)
		x.flows = x.flows[:0]
	}
}

// begin puts a transfer among those under way, behind those of earlier steps.
func (x *execution) begin(a schedule.Action) {
	st := x.plan.At(a.Step)
	t := st.Recv
	if a.Send {
		t = st.Send
	}
	f := x.fresh()
	*f = flow{walk: newWalk(x.buf, x.plan.Blocks, t), action: a, step: st, peer: t.Peer, berth: f.berth}
	if x.ranks != nil {
		f.peer = x.ranks[t.Peer]
	}
	f.count = uint64(f.left / max(x.counted, 1))
	f.open(&f.walk, x.take(st), x.counted == 0 && !(x.foreign && st.Reduce))
	f.loan = a.Send && x.peers.lends(f)
	at := len(x.flows)
	for at > 0 && x.flows[at-1].action.Step > a.Step {
		at--
	}
	x.flows = slices.Insert(x.flows, at, f)
}

// advance moves a frame of each flow that can go on: first what goes out, for others wait for it.
func (x *execution) advance(ctx context.Context) error {
	for _, f := range x.flows {
		if f.room {
			f.room = false
			if err := x.emit(ctx, f); err != nil {
				return err
			}
		}
	}
	for _, f := range x.flows {
		if body := f.body; body != nil {
			f.body = nil
			if err := x.place(f, body); err != nil {
				return err
			}
		}
	}
	left := x.flows[:0]
	for _, f := range x.flows {
		if !f.done() {
			left = append(left, f)
			continue
		}
		x.machine.Complete(f.action)
		*f = flow{berth: f.berth} // it holds on to nobody's memory
		x.spare = append(x.spare, f)
	}
	clear(x.flows[len(left):])
	x.flows = left
	return nil
}

// fresh returns a flow for use.
func (w *workspace) fresh() *flow {
	if n := len(w.spare); n > 0 {
		f := w.spare[n-1]
		w.spare = w.spare[:n-1]
		return f
	}
	return &flow{berth: &berth{}}
}

// emit sends the next frame of a flow.
func (x *execution) emit(ctx context.Context, f *flow) error {
	before := f.left
	var err error
	if f.loan {
		err = x.peers.lend(f, x.headOf(f))
	} else {
		err = x.peers.send(ctx, f, x.frame(f))
	}
	if err == nil && x.sent != nil {
		x.sent.Add(int64(before - f.left))
	}
	return err
}

// headOf returns the descriptor for the frames of a flow.
func (x *execution) headOf(f *flow) []byte {
	if x.counted == 0 {
		return x.head
	}
	head := append(make([]byte, 0, descriptorSize), x.head...)
	binary.LittleEndian.PutUint64(head[descriptorSize-8:], f.count)
	return head
}

// frame makes the body of the next frame of a flow.
func (x *execution) frame(f *flow) []byte {
	body := append(make([]byte, 0, f.nextBody()), x.headOf(f)...)
	f.next(func(b []byte) { body = append(body, b...) })
	return body
}

// place puts the data of one frame where it belongs.
func (x *execution) place(f *flow, body []byte) error {
	if got := countOf(body); x.counted > 0 && got != f.count {
		return mismatch("rank %d called AllToAllV with %d elements for rank %d, rank %d called it for %d from rank %d",
			f.peer, got, x.rank, x.rank, f.count, f.peer)
	}
	data := body[descriptorSize:]
	if f.at < 0 {
		return fmt.Errorf("%w: rank %d sent a frame of round %d that is not due", wire.ErrFrame, f.peer, f.step.Round)
	}
	if want := f.size(f.at); len(data) != want {
		return fmt.Errorf("%w: rank %d sent %d bytes in round %d, want %d", wire.ErrFrame, f.peer, len(data), f.step.Round, want)
	}
	f.placed++
	take := x.take(f.step)
	f.piece(f.at, func(dst []byte) {
		if take == nil {
			copy(dst, data)
		} else {
			take(dst, data[:len(dst)])
		}
		data = data[len(dst):]
	})
	return nil
}

// take returns what is to be done with data that a step receives, or nil if they are copied.
func (x *execution) take(st schedule.Step) func(dst, src []byte) {
	switch finish := x.finish; {
	case !st.Reduce:
		return nil
	case !st.Final || finish == nil:
		return x.combine
	default:
		combine := x.combine
		return func(dst, src []byte) {
			combine(dst, src)
			finish(dst)
		}
	}
}
