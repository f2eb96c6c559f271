// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// heap is how members that all live in one process carry out operations together: in its memory. In each operation a member leaves its
// slices in a round and waits. The last to come makes the result, piece by piece, together with a few that came first and wait for that;
// then all wake at once. So a member that is late is missed as an input only, nothing is copied but results, and a round costs two
// channels, and one more for each section of members.
//
// Members are in one round at a time, and none begins before all have left the one before the last: two are enough. The members count rounds
// for themselves, for the operations in between that are messages, see takes, do not make all wait for all.
type heap struct {
	s        *session
	ranks    int
	helpers  int // how many wait to work with the last
	sections []section
	rounds   [2]round

	mu struct { // it is taken before a section's, never while one is held
		sync.Mutex

		over  *ending
		watch watch
		spare []*worker
	}
}

// round is one operation.
type round struct {
	job

	// What the first to come writes, with whose call the others' are compared.
	called descriptor
	seq    uint64        // of the operation
	first  int           // its rank
	start  chan struct{} // closed when helpers may look for work; nil if the last works alone
	number atomic.Uint64 // as each of its members counts; once it is there so is all above

	_ [64]byte // all read what is above while some write what follows

	absent atomic.Int64 // sections of which somebody has yet to come
	next   atomic.Int64 // piece of work
	stop   atomic.Bool  // the epoch is over: begin no more pieces

	// Guarded by the heap's mutex.
	working int
	did     int  // pieces, by those who have left the work
	ok      bool // all was done; once the round has ended it does not change
	started bool // start is closed, or will be by the last
	ended   bool // nobody uses the members' memory any more
}

// heapFor returns what the members of a session that is made on this node have in common if they all live here, or nil.
func (h *hub) heapFor(s *session) *heap {
	if s.bounds.Select.byMessages() || !s.inOneProcess() || s.nodes[0] != h.mesh.Self() {
		return nil
	}
	ranks, helpers := len(s.members), runtime.GOMAXPROCS(0)-1
	return &heap{s: s, ranks: ranks, helpers: helpers, sections: sectionsOf(ranks, helpers)}
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
	v, err := h.come(ctx, m, stall)
	if err != nil {
		return err
	}
	r := v.round
	switch v.duty {
	case last:
		r.plan(h.helpers + 1)
		if r.start != nil {
			close(r.start)
		}
		h.work(v, m)
	case helper:
		if h.wait(ctx, v, m, r.start) && h.join(r) {
			h.work(v, m)
		}
	default:
	}
	if !h.wait(ctx, v, m, v.done) {
		return h.s.ended() // a function of the caller's hangs, and holds on to the memory
	}
	ok := r.ok
	if ok {
		r.keep(m.rank)
	}
	r.given[m.rank] = contribution{}
	if !ok {
		return h.s.ended()
	}
	return nil
}

// seat is the place of a member in a round.
type seat struct {
	*round

	done    chan struct{} // closed when nobody uses the memory of the members of its section any more
	duty    duty
	watches bool // it must look after its context, for nobody else does
}

// duty is what a member does for a round besides waiting for its end.
type duty int

const (
	none duty = iota
	helper
	last // begins the work
)

// come leaves the call of a member in its round.
func (h *heap) come(ctx context.Context, m *member, stall time.Duration) (seat, error) {
	m.heap.round++
	r := &h.rounds[m.heap.round%2]
	if r.number.Load() != m.heap.round {
		if end := h.open(r, m); end != nil {
			return seat{}, end
		}
	}
	if end := r.compare(m); end != nil {
		return seat{}, end
	}
	v, full, end := h.sections[m.rank/sectionSize].come(ctx, m, r, stall)
	if end != nil {
		return seat{}, end
	}
	if full && r.absent.Add(-1) == 0 {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.mu.over != nil {
			return seat{}, h.mu.over
		}
		r.working, r.started, v.duty = 1, true, last
	}
	return v, nil
}

// open begins a round with the first that comes.
func (h *heap) open(r *round, m *member) *ending {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.over != nil {
		return h.mu.over
	}
	if r.number.Load() == m.heap.round { // another was first
		return nil
	}
	if r.given == nil {
		r.given = make([]contribution, h.ranks)
	}
	r.describe(&m.heap.now, h.ranks)
	r.called, r.seq, r.first = m.heap.now.descriptor, m.mu.seq, m.rank
	r.working, r.did = 0, 0
	r.ok, r.started, r.ended = false, false, false
	r.absent.Store(int64(len(h.sections)))
	r.next.Store(0)
	r.start = nil
	if h.helpers > 0 && !r.brief {
		r.start = make(chan struct{})
	}
	h.watchLocked()
	r.number.Store(m.heap.round)
	return nil
}

// wait waits for one of the channels of a seat. If a context that is watched ends first, so does the epoch, which closes both.
// It returns false if the work does not end because a function of the caller's does not return.
func (h *heap) wait(ctx context.Context, v seat, m *member, ch chan struct{}) bool {
	switch {
	case v.math.foreign:
		return h.waitForeign(ctx, m, ch)
	case !v.watches: // a third of the time of a barrier is for two channels rather than one
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
func (h *heap) work(v seat, m *member) {
	r, did, returned := v.round, 0, false
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
			h.waitForeign(h.s.ctx, m, v.done)
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
	h.mu.spare = append(h.mu.spare, w)
	r.working--
	r.did += did
	ends := r.working == 0 && (r.did == r.pieces || h.mu.over != nil)
	if ends {
		r.ok, r.ended = r.did == r.pieces, true
	}
	h.mu.Unlock()
	if ends {
		h.release(r)
	}
}

// release wakes all who wait in a round that has ended.
func (h *heap) release(r *round) {
	for i := range h.sections {
		h.sections[i].release(r.number.Load())
	}
}

// end wakes all members that wait in run: the epoch is over at this node. It does not block.
func (h *heap) end(why *ending) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.over != nil {
		return
	}
	h.mu.over = why
	for i := range h.sections {
		h.sections[i].shut(why)
	}
	if r := h.openedLocked(); r != nil {
		r.stop.Store(true)
		if r.start != nil && !r.started {
			close(r.start)
		}
		if r.working == 0 {
			r.ended = true
			h.release(r)
		}
	}
}

// openedLocked returns the round that members wait in, or nil.
func (h *heap) openedLocked() *round {
	for i := range h.rounds {
		if r := &h.rounds[i]; r.number.Load() > 0 && !r.ended {
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
		if seen := h.lookAroundLocked(r); seen.came > 0 && len(seen.late) > 0 {
			return seen.late[0]
		}
	}
	return -1
}
