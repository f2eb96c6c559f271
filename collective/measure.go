// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tutti-go/tutti/collective/kernel"
	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/scope"
	"github.com/tutti-go/tutti/internal/wire"
)

// What is measured when a node makes its first group, on its machine: operations of a few members of its own, links of the kind that
// processes of one host have, sums and copies. It takes some 20 ms. What cannot be measured here, the network between hosts, is
// assumed. Builds that tell their version keep it for others: see costsFile.

// Assumed of hosts in one data centre: 10 Gbit/s and what sockets take of a processor.
const (
	assumedLatency = 40 * time.Microsecond
	assumedPerByte = 0.8 // nanoseconds
)

// How much is measured, each part a few times, of which the fastest counts.
const (
	measuredTimes   = 3
	measuredMembers = 8
	measuredRounds  = 10        // barriers in a row
	measuredBlock   = 64 << 10  // bytes of a member in an all-gather
	measuredFrames  = 50        // small frames in a row, and round trips
	measuredBytes   = 256 << 10 // of a long frame, of a sum and of a copy
	measuredLong    = 4         // long frames in a row

	measuredPatience = 5 * time.Second // for a part of it, which takes milliseconds
)

// measure returns a model of this machine.
func (h *hub) measure(ctx context.Context) (*schedule.Model, error) {
	m := &schedule.Model{Cores: runtime.GOMAXPROCS(0)}
	dst, src := make([]byte, measuredBytes), make([]byte, measuredBytes)
	m.Copy = perByte(func() { copy(dst, src) })
	sum, _ := kernel.Of(kernel.Sum, kernel.F32) // there is one
	m.Combine = perByte(func() { sum.Combine(dst, src) })
	var err error
	if m.Process, err = h.measureMembers(ctx); err != nil {
		return nil, fmt.Errorf("collective: measure: %w", err)
	}
	if m.Host, err = measureHost(ctx); err != nil {
		return nil, fmt.Errorf("collective: measure: %w", err)
	}
	m.Host.Overhead += m.Process.Overhead
	m.Host.Work += m.Process.Work
	// What a frame costs in a process, its sender and its receiver pay for a frame of another host, too.
	m.Network = m.Host
	m.Network.Latency, m.Network.PerByte = max(assumedLatency, m.Host.Latency), assumedPerByte
	return m, nil
}

// perByte returns the nanoseconds for a byte of measuredBytes, the best of a few.
func perByte(do func()) float64 {
	best := time.Hour
	for range 2 * measuredTimes {
		began := time.Now()
		do()
		best = min(best, time.Since(began))
	}
	return float64(max(best, 1)) / measuredBytes
}

// measureMembers lets a few members of this node, which belong to no actors, run operations, and returns what a message takes of
// the processors that they share.
func (h *hub) measureMembers(ctx context.Context) (l schedule.Link, err error) {
	self := h.mesh.Self()
	b, err := boundsOf("trial", []Option{Messages()})
	if err != nil {
		return l, err
	}
	c := charter{Name: "trial", Group: uint64(self) << 32, Epoch: 1, Owner: self, Bounds: b} // groups of this node count from 1
	for i := range measuredMembers {
		c.Members = append(c.Members, uint64(self)<<32|(math.MaxUint32-uint64(i))) // actors count from below
	}
	s := newSession(h, c)
	members := make([]*member, measuredMembers)
	ctxs := make([]context.Context, measuredMembers)
	timed, cancel := context.WithTimeout(ctx, measuredPatience)
	defer cancel()
	for rank, actor := range c.Members {
		sc := &scope.Scope{Actor: actor, Node: &scope.Node{Mesh: h.mesh}}
		members[rank], ctxs[rank] = s.add(rank, sc), scope.With(timed, sc)
	}
	h.mu.Lock()
	h.mu.sessions[s.id] = s
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.mu.sessions, s.id)
		h.mu.Unlock()
		s.cancel(nil)
		for _, m := range members {
			m.retire(&ending{code: codeClosed})
		}
	}()
	// together returns the time that all members take to do something.
	together := func(do func(ctx context.Context, g *Group) error) float64 {
		best := time.Hour
		for range measuredTimes + 1 { // the first makes what the others find
			began := time.Now()
			var wg errgroup.Group
			for rank, m := range members {
				wg.Go(func() error { return do(ctxs[rank], &Group{s: s, m: m}) })
			}
			err = errors.Join(err, wg.Wait())
			best = min(best, time.Since(began))
		}
		return float64(best)
	}
	cores := float64(min(runtime.GOMAXPROCS(0), measuredMembers))
	messages := float64(measuredMembers * schedule.Rounds(measuredMembers)) // of a barrier or an all-gather
	barriers := together(func(ctx context.Context, g *Group) error {
		for range measuredRounds {
			if err := Barrier(ctx, g); err != nil {
				return err
			}
		}
		return nil
	})
	message := barriers / measuredRounds * cores / messages // the work at both ends
	outs := make([][]byte, measuredMembers)
	for rank := range outs {
		outs[rank] = make([]byte, measuredMembers*measuredBlock)
	}
	gather := together(func(ctx context.Context, g *Group) error {
		out, at := outs[g.Rank()], g.Rank()*measuredBlock
		return AllGather(ctx, g, out[at:at+measuredBlock], out)
	})
	moved := float64(measuredMembers * (measuredMembers - 1) * measuredBlock)
	l.Overhead = time.Duration(max(1, message/2))
	l.Work = max(0, gather*cores-message*messages) / moved / 2
	return l, err
}

// measureHost measures a link between processes, with both ends in this one.
func measureHost(ctx context.Context) (l schedule.Link, err error) {
	dir, err := os.MkdirTemp("", "tm")
	if err != nil {
		return l, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left is empty and in the way of nobody
	address := filepath.Join(dir, "s")
	listener, err := link.Shared{}.Listen(address)
	if err != nil {
		return l, err
	}
	defer func() { _ = listener.Close() }() // after both connections
	accepted := make(chan link.Conn, 1)     // the one connection, or none
	go func() {
		defer close(accepted)
		if c, err := listener.Accept(); err == nil {
			accepted <- c
		}
	}()
	a, err := link.Shared{}.Dial(ctx, address)
	if err != nil {
		_ = listener.Close()
		<-accepted
		return l, err
	}
	b, ok := <-accepted
	if !ok {
		_ = a.Close()
		return l, link.ErrClosed
	}
	return measureLink(ctx, a, b)
}

// measureLink measures a link by its two ends, and closes them.
func measureLink(ctx context.Context, a, b link.Conn) (l schedule.Link, err error) {
	ctx, cancel := context.WithTimeout(ctx, measuredPatience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { // nothing else ends a Recv
		_ = a.Close()
		_ = b.Close()
	})()
	a.Trust()
	echoed := make(chan error, 1)
	go func() { // until the link is closed
		echoed <- func() error {
			defer func() { _ = a.Close() }() // nobody waits for an answer then
			b.Trust()
			for {
				f, err := b.Recv()
				if err == nil && f.Seq > 0 { // an answer is wanted
					err = b.Send(ctx, &wire.Header{Kind: wire.KindBlock})
				}
				if err != nil {
					return err
				}
			}
		}()
	}()
	defer func() {
		_ = a.Close()
		_ = b.Close()
		if echo := <-echoed; err != nil {
			err = fmt.Errorf("%w; the other end: %w", err, echo)
		}
	}()
	// series sends frames of which the last is answered, and returns the time for one frame.
	series := func(frames, bytes int) float64 {
		best := time.Hour
		for range measuredTimes + 1 { // the first makes what the others find
			began := time.Now()
			for i := range frames {
				h := wire.Header{Kind: wire.KindBlock}
				if i == frames-1 {
					h.Seq = 1
				}
				if err == nil {
					err = a.Send(ctx, &h, make([]byte, bytes))
				}
			}
			if err == nil {
				_, err = a.Recv()
			}
			best = min(best, time.Since(began))
		}
		return float64(best) / float64(frames)
	}
	trip, small, long := series(1, 64), series(measuredFrames, 64), series(measuredLong, measuredBytes)
	l.Overhead = time.Duration(max(small, 1))
	l.Latency = max(0, time.Duration(trip/2)-2*l.Overhead)
	l.Work = max(0, long-small) / measuredBytes
	return l, err
}

// predict makes the table of a group.
func (s *selection) predict(m *schedule.Model, ranks int) error {
	catalogue := schedule.NewCatalogue()
	forced := map[schedule.Op]string{}
	for _, f := range s.Forced {
		forced[f.Op] = f.Name
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrArgument, err)
	}
	table, err := m.Table(catalogue, ranks, forced)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArgument, err)
	}
	s.Model, s.Table = m, table.Codes(catalogue)
	return nil
}

// machine is what a node has measured, for all groups that it makes.
type machine struct {
	mu     sync.Mutex
	model  *schedule.Model
	tables map[forecast][]uint32 // codes
}

// forecast is what a table follows from, where no algorithms are named.
type forecast struct {
	model schedule.Model
	ranks int
}

// maxTables bounds how many tables a node keeps.
const maxTables = 64

// predict makes the table of a group, or finds it.
func (c *machine) predict(s *selection, m *schedule.Model, ranks int) error {
	if len(s.Forced) > 0 {
		return s.predict(m, ranks)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := forecast{*m, ranks}
	if codes, known := c.tables[key]; known {
		s.Model, s.Table = m, codes
		return nil
	}
	if err := s.predict(m, ranks); err != nil {
		return err
	}
	if c.tables == nil || len(c.tables) >= maxTables {
		c.tables = map[forecast][]uint32{}
	}
	c.tables[key] = s.Table
	return nil
}

func (c *machine) measured(ctx context.Context, h *hub) (schedule.Model, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.model == nil {
		m, err := costsOfMachine().costs(ctx, os.Getenv(EnvCosts), h.measure)
		if err != nil {
			return schedule.Model{}, err
		}
		c.model = m
	}
	return *c.model, nil
}

// tabulate makes the table of a group that this node makes, from what its machine takes unless the caller gave a model.
func (h *hub) tabulate(ctx context.Context, c *charter) error {
	s := &c.Bounds.Select
	if s.Given {
		return h.machine.predict(s, s.Model, len(c.Members))
	}
	m, err := h.machine.measured(ctx, h)
	if err != nil {
		return err
	}
	c.shape(&m)
	return h.machine.predict(s, &m, len(c.Members))
}

// shape says in a model where the members live.
func (c *charter) shape(m *schedule.Model) {
	nodes, hosts := map[uint64]struct{}{}, map[uint32]struct{}{}
	for _, actor := range c.Members {
		nodes[actor>>32] = struct{}{}
	}
	for _, host := range c.Hosts {
		hosts[host] = struct{}{}
	}
	n := len(c.Members)
	share := func(units int) int { return (n + units - 1) / units }
	m.PerProcess, m.PerHost = share(len(nodes)), share(max(1, len(hosts)))
}

// settle makes the caller join a group that members have made of g. The new group's table follows from what
// was measured for g: its first member makes it, and tells it to the others in the group's first operation, for all must choose alike.
func (g *Group) settle(ctx context.Context, c charter) (*Group, error) {
	c.Bounds.Select = g.chooser().selection
	sel := &c.Bounds.Select
	news := sel.Model != nil && len(c.Members) != g.Size()
	if news {
		m := *sel.Model
		if !sel.Given {
			c.shape(&m)
		}
		sel.Model, sel.Table = &m, nil
	}
	next, err := g.s.hub.join(g.m.sc, c)
	if err != nil || !news {
		return next, err
	}
	codes := make([]uint32, schedule.Codes)
	if next.Rank() == 0 {
		if err := g.s.hub.machine.predict(sel, sel.Model, next.Size()); err != nil {
			return nil, err
		}
		copy(codes, sel.Table)
	}
	if err := Broadcast(ctx, next, codes, 0); err != nil {
		return next, nil //nolint:nilerr // its epoch is over, as the next operation says: so it may end at any time
	}
	sel.Table = codes
	choose, err := sel.chooser(next.Size())
	if err != nil {
		return nil, err
	}
	next.m.chooser.Store(choose)
	return next, nil
}
