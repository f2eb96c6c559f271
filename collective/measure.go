// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/tutti-go/tutti/collective/kernel"
	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

// What is measured when a group is made, on the creator's machine: links of the kinds that members of one process and of one host
// have, sums and copies. It takes some 20 ms. What cannot be measured here, the network between hosts, is assumed.

// Assumed of hosts in one data centre: 10 Gbit/s and what sockets take of a processor.
const (
	assumedLatency = 40 * time.Microsecond
	assumedPerByte = 0.8 // nanoseconds
)

// How much is measured.
const (
	measuredTrips  = 100       // round trips of a small frame
	measuredFrames = 300       // small frames in a row
	measuredLong   = 12        // long ones
	measuredBytes  = 256 << 10 // of a long one, of a sum and of a copy
	measuredPart   = 15 * time.Millisecond
)

// measure returns a model of this machine.
func measure(ctx context.Context) (*schedule.Model, error) {
	m := &schedule.Model{Cores: runtime.GOMAXPROCS(0)}
	dst, src := make([]byte, measuredBytes), make([]byte, measuredBytes)
	m.Copy = perByte(func() { copy(dst, src) })
	sum, _ := kernel.Of(kernel.Sum, kernel.F32) // there is one
	m.Combine = perByte(func() { sum.Combine(dst, src) })

	a, b := link.Pipe()
	var err error
	if m.Process, err = measureLink(ctx, a, b); err != nil {
		return nil, fmt.Errorf("collective: measure: %w", err)
	}
	if m.Host, err = measureHost(ctx); err != nil {
		return nil, fmt.Errorf("collective: measure: %w", err)
	}
	// What a frame costs in the process, its sender and its receiver pay for a frame of another host, too.
	m.Network = m.Host
	m.Network.Latency, m.Network.PerByte = max(assumedLatency, m.Host.Latency), assumedPerByte
	return m, nil
}

// perByte returns the nanoseconds for a byte of measuredBytes, the best of a few.
func perByte(do func()) float64 {
	best := time.Hour
	for range 8 {
		began := time.Now()
		do()
		best = min(best, time.Since(began))
	}
	return float64(max(best, 1)) / measuredBytes
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
	echoed := make(chan struct{})
	go func() { // until the link is closed
		defer close(echoed)
		for {
			f, err := b.Recv()
			if err != nil {
				return
			}
			if f.Seq > 0 { // an answer is wanted
				if err := b.Send(ctx, &wire.Header{Kind: wire.KindBlock}); err != nil {
					return
				}
			}
		}
	}()
	defer func() {
		_ = a.Close()
		_ = b.Close()
		<-echoed
	}()
	// series sends frames of which each n-th is answered, and returns the time for one frame.
	series := func(frames, each, bytes int) float64 {
		began, sent := time.Now(), 0
		for sent < frames && err == nil && time.Since(began) < measuredPart {
			for i := range each {
				h := wire.Header{Kind: wire.KindBlock}
				if i == each-1 {
					h.Seq = 1
				}
				if err = a.Send(ctx, &h, make([]byte, bytes)); err != nil {
					return 0
				}
			}
			sent += each
			_, err = a.Recv()
		}
		return float64(time.Since(began)) / float64(max(sent, 1))
	}
	_ = series(10, 1, 64) // buffers and goroutines are there after it
	trip := series(measuredTrips, 1, 64)
	small := series(measuredFrames, measuredFrames/3, 64)
	long := series(measuredLong, measuredLong/2, measuredBytes)
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
	mu    sync.Mutex
	model *schedule.Model
}

func (c *machine) measured(ctx context.Context) (schedule.Model, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.model == nil {
		m, err := measure(ctx)
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
		return s.predict(s.Model, len(c.Members))
	}
	m, err := h.machine.measured(ctx)
	if err != nil {
		return err
	}
	nodes := map[uint64]struct{}{}
	for _, actor := range c.Members {
		nodes[actor>>32] = struct{}{}
	}
	m.PerProcess = (len(c.Members) + len(nodes) - 1) / len(nodes)
	m.PerHost = len(c.Members)
	return s.predict(&m, len(c.Members))
}
