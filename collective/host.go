// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/tutti-go/tutti/collective/hostshm"
	"github.com/tutti-go/tutti/collective/kernel"
	"github.com/tutti-go/tutti/collective/schedule"
)

// Members whose processes run on one machine carry operations out in memory that all map. Whether they do nobody can tell from the
// charter: the members find out together, in their first operation, by an all-reduce of messages. Each opens the file of the epoch in its run
// directory, and they compare what they got; if it was one file, it is theirs for all operations of the epoch. Its name is removed at once, so that
// it goes with the last of them, however they end.

// host is what one node has of the memory of an epoch.
type host struct {
	path   string // empty: this node has no directory for it
	nudged func() // nudge

	segment atomic.Pointer[hostshm.Segment] // nil until it is opened, and after it was closed; set under the lock
	users   atomic.Int64                    // of the segment; far below 0 when the epoch has ended

	mu struct {
		sync.Mutex

		tried bool // to open it
		ended bool
	}
}

// overAll comes to the users of a segment when the epoch is over: with it they are few enough to be told from those before.
const overAll = math.MinInt64 / 2

// hostFor returns what a session that is made on this node needs to find out whether all members are on one machine, or nil if that is
// of no use. It is the same at all nodes.
func (h *hub) hostFor(s *session) *host {
	n := s.mostNeighbours()
	if runtime.GOOS != "linux" || !s.bounds.Host || s.bounds.Select.byMessages() || len(s.nodes) < 2 || n < 2 || n > hostshm.MaxMembers {
		return nil
	}
	o := &host{}
	o.nudged = o.nudge
	dir, mark := h.run, s.markOf(h.mesh.Self())
	if h.runAt != nil {
		dir = h.runAt(s.firstNear(h.mesh.Self()))
	}
	if dir != "" {
		o.path = filepath.Join(dir, fmt.Sprintf("%s%x-%d%s", hostFiles+h.job, s.id, s.epoch, mark))
	}
	return o
}

// hostFiles is what the names of the files begin with.
const hostFiles = "memory-"

// jobOf makes the part of a name that tells the jobs apart that use one rendezvous one after the other.
func jobOf(secret string) string {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(secret)) // a hash never fails
	return fmt.Sprintf("%016x-", sum.Sum64())
}

// removeHostFiles takes away what processes left in a directory that were all killed while they made a group.
func removeHostFiles(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, hostFiles+"*"))
	for _, path := range left {
		if e := os.Remove(path); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// open opens the file, at the first request, and returns its identity: none if that cannot be had.
func (o *host) open(members int) hostshm.File {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.path != "" && !o.mu.tried && !o.mu.ended {
		o.mu.tried = true
		segment, _ := hostshm.Open(o.path, members) // without it there are messages
		o.segment.Store(segment)
	}
	segment := o.segment.Load()
	if segment == nil {
		return hostshm.File{}
	}
	return segment.File()
}

// unname removes the file's name.
func (o *host) unname() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.tried {
		_ = hostshm.Remove(o.path) // what is left is swept with the directory
	}
}

// use returns the segment, which stays until leave is called, or nil if the epoch is over. Both take no lock, for every operation calls them.
func (o *host) use() *hostshm.Segment {
	if o.users.Add(1) > 0 {
		if segment := o.segment.Load(); segment != nil {
			return segment
		}
	}
	o.leave()
	return nil
}

func (o *host) leave() {
	if o.users.Add(-1) == overAll {
		o.close()
	}
}

// close closes the segment when the epoch is over and nobody uses it. Who comes then leaves as well, and finds it closed.
func (o *host) close() {
	if segment := o.segment.Swap(nil); segment != nil {
		_ = segment.Close() // there is nobody to tell
	}
}

// end frees all members that wait: the epoch is over at this node.
func (o *host) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.ended {
		return
	}
	o.mu.ended = true
	if segment := o.segment.Load(); segment != nil {
		segment.End()
	}
	if o.mu.tried {
		_ = hostshm.Remove(o.path)
	}
	if o.users.Add(overAll) == overAll {
		o.close()
	}
}

// nudge makes the members that wait look around.
func (o *host) nudge() {
	if s := o.use(); s != nil {
		s.Nudge()
		o.leave()
	}
}

// hostState is what a member knows of the memory of its epoch. Only the operation that runs changes it.
type hostState struct {
	now    onHost                       // the operation that runs there
	met    atomic.Bool                  // it is known whether there is such memory
	tier   atomic.Pointer[tier]         // nil: the members of a host have no such memory, or all are on one
	port   atomic.Pointer[hostshm.Port] // nil if there is none
	shares atomic.Bool                  // operations with shared results go through it, for all members read each other's stores
	direct direct
	narrow bool // slots stay as they are from the start; where tests say so

	spares    spares
	pending   pending   // what is to be read before the next operation
	sharing   sharing   // that runs
	execution execution // of which that is
	near      neighbours
	made      *lasting // for a Place, until it is announced
}

// meet finds out, at all members alike, whether they have memory in common.
func (x *execution) meet(ctx context.Context, g *Group) error {
	if len(g.s.hosts) > 0 {
		return x.meetNeighbours(ctx, g)
	}
	m, o := g.m, g.s.host
	f := o.open(g.Size())
	own := []uint64{f.Boot, f.Device, f.Inode, f.Bell}
	words := make([]uint64, 0, 2*len(own))
	for _, w := range own {
		words = append(words, w, ^w)
	}
	and, _ := kernel.Of(kernel.And, kernel.U64)         // there is one
	p := g.plan(g.named(schedule.AllReduce, "tree"), 0) // of all ways the one with the fewest connections
	x.buf, x.combine = evenly(words, p.Blocks), and.Combine
	if err := x.run(ctx, p); err != nil {
		return err
	}
	x.buf, x.combine = nil, nil
	o.unname()
	m.host.met.Store(true)
	for i, w := range own {
		if words[2*i] != w || words[2*i+1] != ^w { // another has another
			return nil
		}
	}
	if f == (hostshm.File{}) {
		return nil
	}
	s := o.use()
	if s == nil {
		return nil
	}
	defer o.leave()
	port, err := s.Port(m.rank)
	if err != nil {
		return fmt.Errorf("collective: the memory of this machine: %w", err)
	}
	m.host.port.Store(port)
	return nil
}

// takes reports whether an operation goes through the memory of a machine where there is such memory. It depends on what all members know of
// the operation, and of each other.
func (h *hostState) takes(op operation, math *arithmetic) bool {
	port := h.port.Load()
	if port == nil {
		return false
	}
	if op.isShared() {
		return h.shares.Load()
	}
	if op == opAllToAllV && port.Members() > mostRows {
		return false
	}
	return !op.isPoint() && !math.foreign
}

// run carries out an operation, which do does if its result is shared. guarded says whether it is under the eyes of the guard already. The error is
// an *ending.
func (o *host) run(
	ctx context.Context, g *Group, c *invocation, seq uint64, guarded bool, do func(context.Context, *execution) error,
) error {
	r := &g.m.host.now
	r.begin(ctx, g, c)
	r.guarded = guarded
	defer r.rest()
	err := hostshm.ErrEnded
	if o.use() != nil {
		defer o.leave()
		r.Begin(hostshm.Call{Seq: seq, What: c.words()})
		if handed := g.m.host.spares.handed(); handed != nil {
			defer handed() // the operation has entered a round, or the epoch is over
		}
		r.populate()
		if err = r.settle(); err == nil {
			err = r.operate(do)
		}
	}
	if errors.Is(err, hostshm.ErrEnded) {
		err = r.over()
	}
	if err != nil {
		return g.m.endingOf(r.ctx, err)
	}
	return nil
}

// operateOnHost is operate where it is known that the memory of the machine takes the operation. It takes a few microseconds if nobody has to wait: what
// bounds an operation is set up by the first look around.
func (g *Group) operateOnHost(ctx context.Context, c *invocation, do func(context.Context, *execution) error) error {
	s, m := g.s, g.m
	l := m.lineFor(ctx)
	seq, err := m.take(ctx, l, c.descriptor)
	if err == nil {
		defer m.release(l)
		err = s.host.run(ctx, g, c, seq, false, do)
	}
	if err == nil {
		err = m.finish()
	}
	if err != nil {
		s.abort(m.endingOf(ctx, err))
		return s.failure(m.rank, seq, c.String())
	}
	return nil
}
