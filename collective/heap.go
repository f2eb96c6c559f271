// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// heap is how members that all live in one process carry out operations together: in its memory. In each operation a member leaves its
// slices in a round and waits. The last to come makes the result, piece by piece, together with a few that came first and wait for that;
// then all wake at once. So a member that is late is missed as an input only, nothing is copied but results, and a round costs two
// channels, whatever the number of members.
//
// Members are in one round at a time, and none begins before all have left the one before the last: two are enough. The members count rounds
// for themselves, for the operations in between that are messages, see takes, do not make all wait for all.
type heap struct {
	s       *session
	ranks   int
	helpers int // how many wait to work with the last

	mu struct {
		sync.Mutex

		rounds [2]round
		over   *ending
		watch  watch
		spare  []*worker
	}
}

// round is one operation.
type round struct {
	job

	number uint64 // as each of its members counts
	seq    uint64 // of the operation
	first  int    // rank that came first, with whose call the others' are compared

	start chan struct{} // closed when helpers may look for work; nil if the last works alone
	done  chan struct{} // closed when nobody uses the members' memory any more

	next atomic.Int64 // piece of work
	stop atomic.Bool  // the epoch is over: begin no more pieces

	// Guarded by the heap's mutex.
	came    int
	working int
	did     int  // pieces, by those who have left the work
	ok      bool // all was done; once done is closed it does not change
	started bool // start is closed, or will be by the last
	ended   bool // done is closed
	bounded int  // rank that came first of those without a deadline of their own, or -1
	began   time.Time
	judge   int // rank that came first of those that a stall ends, or -1
	stall   time.Duration
	ends    []<-chan struct{} // of contexts that somebody looks after
}

// mostEnds is how many contexts that members have in common are looked after by one of them. For actors that were called together it is one.
const mostEnds = 4

// heapFor returns what the members of a session that is made on this node have in common if they all live here, or nil.
func (h *hub) heapFor(s *session) *heap {
	if s.bounds.Select.byMessages() || !s.inOneProcess() || s.nodes[0] != h.mesh.Self() {
		return nil
	}
	return &heap{s: s, ranks: len(s.members), helpers: runtime.GOMAXPROCS(0) - 1}
}

// inOneProcess says whether all members live in one process.
func (s *session) inOneProcess() bool { return len(s.nodes) == 1 }

// takes reports whether an operation goes through the heap, which may be nil. Those between two members, and those with a result in the
// object store, are messages always.
func (h *heap) takes(op operation) bool { return h != nil && !op.isPoint() && !op.isShared() }

// run carries out the operation m.heap.now, number m.mu.seq of the member, on the member's goroutine, which has its turn. stall is how
// long nothing may move, 0 for as long as ctx lasts. run returns when nobody uses the memory of the call any more, with nil or the reason
// why the epoch must end. Once ctx or the epoch has ended it does not block for longer than others take to let go of that memory. It
// bounds its time by the group's timeout if ctx has no deadline.
func (h *heap) run(ctx context.Context, m *member, stall time.Duration) error {
	m.prepare()
	r, duty, watches, err := h.come(ctx, m, stall)
	if err != nil {
		return err
	}
	switch duty {
	case last:
		r.plan(h.helpers + 1)
		if r.start != nil {
			close(r.start)
		}
		h.work(r, m)
	case helper:
		if h.wait(ctx, r, m, r.start, watches) && h.join(r) {
			h.work(r, m)
		}
	default:
	}
	if !h.wait(ctx, r, m, r.done, watches) {
		return h.s.ended() // a function of the caller's hangs, and holds on to the memory
	}
	ok := r.ok
	if ok {
		r.keep(m.rank)
	}
	r.calls[m.rank], r.ins[m.rank], r.outs[m.rank] = nil, nil, nil
	if !ok {
		return h.s.ended()
	}
	return nil
}

// duty is what a member does for a round besides waiting for its end.
type duty int

const (
	none duty = iota
	helper
	last // begins the work
)

// come leaves the call of a member in its round. watches says that it must look after its context, for nobody else does.
func (h *heap) come(ctx context.Context, m *member, stall time.Duration) (r *round, d duty, watches bool, err error) {
	_, timed := ctx.Deadline()
	ends := ctx.Done()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.over != nil {
		return nil, none, false, h.mu.over
	}
	c := &m.heap.now
	m.heap.round++
	r = &h.mu.rounds[m.heap.round%2]
	if r.number != m.heap.round {
		h.openLocked(r, m)
	} else if end := r.compare(m); end != nil {
		return nil, none, false, end
	}
	r.calls[m.rank], r.ins[m.rank], r.outs[m.rank] = c, c.in, c.out
	r.came++
	if !timed && r.bounded < 0 {
		r.bounded, r.began = m.rank, time.Now()
	}
	if stall > 0 && r.judge < 0 {
		r.judge, r.stall = m.rank, stall
	}
	if watches = ends != nil && !slices.Contains(r.ends, ends); watches && len(r.ends) < cap(r.ends) {
		r.ends = append(r.ends, ends)
	}
	switch {
	case r.came == h.ranks:
		r.working, r.started, d = 1, true, last
	case r.start != nil && r.came <= h.helpers:
		d = helper
	}
	return r, d, watches, nil
}

// openLocked begins a round with the first that comes.
func (h *heap) openLocked(r *round, m *member) {
	if r.calls == nil {
		r.ends = make([]<-chan struct{}, 0, mostEnds)
		r.calls, r.ins, r.outs = make([]*invocation, h.ranks), make([][]byte, h.ranks), make([][]byte, h.ranks)
	}
	r.describe(&m.heap.now, h.ranks)
	r.number, r.seq, r.first = m.heap.round, m.mu.seq, m.rank
	r.came, r.working, r.did = 0, 0, 0
	r.ok, r.started, r.ended = false, false, false
	r.bounded, r.judge = -1, -1
	r.ends = r.ends[:0]
	r.next.Store(0)
	r.start, r.done = nil, make(chan struct{})
	if h.helpers > 0 && !r.brief {
		r.start = make(chan struct{})
	}
	h.watchLocked()
}

// wait waits for one of the channels of the member's round. If a context that is watched ends first, so does the epoch, which closes both.
// It returns false if the work does not end because a function of the caller's does not return.
func (h *heap) wait(ctx context.Context, r *round, m *member, ch chan struct{}, watches bool) bool {
	switch {
	case r.math.foreign:
		return h.waitForeign(ctx, m, ch)
	case !watches: // a third of the time of a barrier is for two channels rather than one
		<-ch
		return true
	}
	select {
	case <-ch:
		return true
	case <-ctx.Done():
	}
	h.giveUp(ctx, m, ch)
	<-ch // the pieces that are worked on are not interrupted
	return true
}

// waitForeign is wait where the work is a function that may never return and must not keep all others waiting.
func (h *heap) waitForeign(ctx context.Context, m *member, ch chan struct{}) bool {
	select {
	case <-ch:
		return true
	case <-h.s.ctx.Done():
	case <-ctx.Done():
		h.giveUp(ctx, m, ch)
	}
	patience := time.NewTimer(h.s.bounds.Silence)
	defer patience.Stop()
	select {
	case <-ch:
		return true
	case <-patience.C:
		return false
	}
}

// giveUp ends the epoch because ctx has ended before a channel was closed.
func (h *heap) giveUp(ctx context.Context, m *member, ch chan struct{}) {
	select {
	case <-ch: // it was just in time
		return
	default:
	}
	m.s.abort(m.endingOf(ctx, fmt.Errorf("%s: %w", waitedFor(h.awaits()), stopped(ctx))))
}

// waitedFor says what a member has waited for.
func waitedFor(rank int) string {
	if rank < 0 {
		return "waited for the work of others"
	}
	return fmt.Sprintf("waited for rank %d", rank)
}

// join makes a helper one of those who work, unless that is over.
func (h *heap) join(r *round) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.ended || h.mu.over != nil {
		return false
	}
	r.working++
	return true
}

// work does pieces of the work, of which the caller is a part, until there is none left.
func (h *heap) work(r *round, m *member) {
	did, returned := 0, false
	w := h.worker()
	defer func() {
		p := recover()
		if !returned { // for a function of the caller's panicked or ended its goroutine, or a buffer cannot be written
			rank, known := r.faulted(p)
			if !known {
				rank = m.rank
			}
			m.s.abort(panicked(rank, unreturned(m.heap.now.descriptor, p)))
			if rank != m.rank {
				p = nil // it is that member's affair
			}
		}
		h.leave(r, w, did)
		if p != nil {
			h.waitForeign(h.s.ctx, m, r.done)
			panic(p)
		}
	}()
	for !r.stop.Load() {
		i := int(r.next.Add(1)) - 1
		if i >= r.pieces {
			break
		}
		if end := r.do(w, i); end != nil {
			m.s.abort(end)
			break
		}
		did++
	}
	returned = true
}

func (h *heap) worker() *worker {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.mu.spare); n > 0 {
		w := h.mu.spare[n-1]
		h.mu.spare = h.mu.spare[:n-1]
		return w
	}
	return &worker{}
}

// leave ends the part of one that has worked, and the round if there is nothing left to do.
func (h *heap) leave(r *round, w *worker, did int) {
	w.forget()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.spare = append(h.mu.spare, w)
	r.working--
	r.did += did
	if r.working == 0 && (r.did == r.pieces || h.mu.over != nil) {
		r.ok = r.did == r.pieces
		r.closeLocked()
	}
}

func (r *round) closeLocked() {
	r.ended = true
	close(r.done)
}

// end wakes all members that wait in run: the epoch is over at this node. It does not block.
func (h *heap) end(why *ending) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.over != nil {
		return
	}
	h.mu.over = why
	if r := h.openedLocked(); r != nil {
		r.stop.Store(true)
		if r.start != nil && !r.started {
			close(r.start)
		}
		if r.working == 0 {
			r.closeLocked()
		}
	}
}

// openedLocked returns the round that members wait in, or nil.
func (h *heap) openedLocked() *round {
	for i := range h.mu.rounds {
		if r := &h.mu.rounds[i]; r.came > 0 && !r.ended {
			return r
		}
	}
	return nil
}

// awaits returns the first rank that members wait for, or -1. It takes no lock of a member.
func (h *heap) awaits() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.openedLocked(); r != nil {
		return r.missing(0)
	}
	return -1
}

// missing returns the first rank from some rank on that has not come, or -1.
func (r *round) missing(from int) int {
	for rank := from; rank < len(r.calls); rank++ {
		if r.calls[rank] == nil {
			return rank
		}
	}
	return -1
}
