// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"slices"
	"sort"
	"sync"

	"github.com/tutti-go/tutti/internal/lane"
	"github.com/tutti-go/tutti/internal/wire"
)

// laneBytes is the shortest transfer that goes over lanes: what is shorter is copied sooner than the lanes are told of it.
const laneBytes = 64 << 10

// frameCost is what a frame takes of a window beside its data.
const frameCost = wire.HeaderSize + descriptorSize

// berth is where a flow meets the goroutines that move data straight out of its memory or into it: those of the lanes to its peer. What is
// not said to be otherwise is guarded by the member's mutex once others know the flow.
type berth struct {
	hold sync.RWMutex // held to read by who writes to the flow's memory
	gone bool         // guarded by hold: the memory must be left alone

	loan   bool        // the flow sends over lanes; used by its own goroutine alone
	lanes  *lane.Set   // that it sends over; the same
	out    []*outgoing // segments whose memory is being read
	failed error       // why one was not sent

	into    *walk                 // the memory of a flow that receives
	take    func(dst, src []byte) // what is done with what comes; nil: it is copied. For any goroutine
	direct  bool                  // lanes may do it
	edge    *edge                 // from which it receives; nil until wait has seen the flow
	start   uint64                // place of its first frame in all that comes over the edge
	seq     uint64                // number of the operation
	round   uint32
	claimed []bool // frames that have come or are coming, by number
	claims  int
	landed  int // frames that came over lanes
}

// open makes a berth that of a flow that begins. into is the memory of one that receives.
func (b *berth) open(into *walk, take func(dst, src []byte), direct bool) {
	b.loan, b.lanes, b.out, b.failed = false, nil, b.out[:0], nil
	b.into, b.take, b.direct, b.edge, b.claims, b.landed = into, take, direct, nil, 0, 0
}

// cost is what all frames of a flow that receives take of the window.
func (w *walk) cost() uint64 { return uint64(w.whole + w.frames*frameCost) }

// dockLocked gives a flow that receives its place in what comes over an edge. Flows begin in the order in which they are sent.
func (f *flow) dockLocked(e *edge, seq uint64) {
	b := f.berth
	if b.edge != nil {
		return
	}
	b.edge, b.start, b.seq, b.round = e, e.begun, seq, uint32(f.step.Round)
	b.claimed = append(b.claimed[:0], make([]bool, f.frames)...)
	e.begun += f.cost()
	e.berths = append(e.berths, b)
}

// undock takes a flow's place away, if it has one.
func (e *edge) undock(b *berth) {
	e.berths = slices.DeleteFunc(e.berths, func(other *berth) bool { return other == b })
}

// berthAt returns that of the flow to which a place in what comes over the edge belongs, or nil.
func (e *edge) berthAt(at uint64) *berth {
	for _, b := range e.berths {
		if at >= b.start && at-b.start < b.into.cost() {
			return b
		}
	}
	return nil
}

// nextLocked returns the place in the queue of the first frame for a flow that receives, or -1. The first flow takes what is for none, too, to refuse it.
func (f *flow) nextLocked(e *edge) int {
	first := len(e.berths) > 0 && e.berths[0] == f.berth
	i := 0
	if !first {
		i = sort.Search(len(e.queue), func(i int) bool { return e.queue[i].Caller >= f.start })
	}
	if i == len(e.queue) || e.queue[i].Caller >= f.start+f.cost() {
		return -1
	}
	return i
}

// claimLocked makes the frame at a place in what comes over the edge the caller's to put into memory, and returns its number; or -1 if
// there is no such frame, or it has come.
func (b *berth) claimLocked(at uint64) int {
	i := (at - b.start) / (frameCost + segment)
	if at < b.start || (at-b.start)%(frameCost+segment) != 0 || i >= uint64(len(b.claimed)) || b.claimed[i] {
		return -1
	}
	b.claimed[i] = true
	if b.claims++; b.claims == len(b.claimed) {
		b.edge.undock(b) // before the flow ends, for it needs them all
	}
	return int(i)
}

// outgoing is a frame of a flow on its way over a lane.
type outgoing struct {
	lane.Segment

	m    *member
	b    *berth
	head [frameCost]byte
}

// lends implements peers.
func (m *member) lends(f *flow) bool {
	if f.whole < laneBytes {
		return false
	}
	f.lanes = m.s.hub.lanesTo(m.s.nodeOf(f.peer))
	return f.lanes != nil
}

// lend implements peers.
func (m *member) lend(f *flow, head []byte) error {
	k := m.mark(uint32(f.step.Round))
	k.at = uint64(f.at)
	h := m.header(f.peer, k)
	h.Length = uint32(f.nextBody())
	m.mu.Lock()
	var o *outgoing
	if n := len(m.mu.unused); n > 0 {
		o, m.mu.unused = m.mu.unused[n-1], m.mu.unused[:n-1]
	} else {
		o = &outgoing{m: m}
		o.Owner = o
	}
	o.b = f.berth
	f.out = append(f.out, o)
	m.mu.awaits = -1
	m.mu.moved++
	m.mu.Unlock()
	f.lent++
	o.Head = append(h.Append(o.head[:0]), head...)
	o.Body = o.Body[:0]
	f.next(func(b []byte) { o.Body = append(o.Body, b) })
	if err := f.lanes.Send(&o.Segment); err != nil {
		return m.unreachable(f.peer, err)
	}
	return nil
}

// Sent implements lane.Owner.
func (o *outgoing) Sent(_ *lane.Segment, err error) {
	m, b := o.m, o.b
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.Index(b.out, o)
	b.out = slices.Delete(b.out, i, i+1)
	if err != nil {
		b.failed = err
	}
	m.mu.moved++
	clear(o.Body)
	o.b = nil
	m.mu.unused = append(m.mu.unused, o)
	if err != nil || len(b.out) == 0 {
		m.rouse()
	}
}

// rouse wakes the operation, if it waits.
func (m *member) rouse() {
	select {
	case m.wake <- struct{}{}:
	default: // a token is there already
	}
}

// withdraw implements peers.
func (m *member) withdraw(flows []*flow) {
	m.mu.Lock()
	var out []*outgoing
	for _, f := range flows {
		out = append(out, f.out...)
		if f.edge != nil {
			f.edge.undock(f.berth)
		}
	}
	m.mu.Unlock()
	for _, o := range out {
		o.Withdraw()
	}
	for _, f := range flows {
		f.hold.Lock()
		f.gone = true
		f.hold.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.unused = nil // what was sent in the end is among them, and was withdrawn
}
