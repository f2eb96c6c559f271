// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/collective"
	"github.com/tutti-go/tutti/core"
)

const (
	groupName  = "bench"
	mostRounds = 200
)

// Job is one point for a member to measure.
type Job struct {
	Operation string
	Bytes     int
	Fresh     bool    // every round gets memory that was never used before
	Seconds   float64 // how long it should take, at least two rounds
}

// Timing is when a member began and ended the operation of each round, in nanoseconds of the clock that all processes of a machine share.
type Timing struct{ Begins, Ends []int64 }

type member struct{}

func newMember(context.Context, core.Void) (*member, error) { return &member{}, nil }

var members = core.Register("bench-collectives-member", newMember, core.Method((*member).Measure))

// Measure does what measure_point in bench/peers/measure.h does.
func (*member) Measure(ctx context.Context, j Job) (t Timing, err error) {
	g, err := collective.FromContext(ctx, groupName)
	if err != nil {
		return Timing{}, err
	}
	s := shapeOf(j.Operation, j.Bytes, g.Rank(), g.Size())
	var m memory
	defer func() { err = errors.Join(err, m.release()) }()
	for i, rounds := -1, 2; i < rounds; i++ { // the round before the first warms up, and says how many there will be
		atEnds := i <= 0 || i == rounds-1
		if err := m.renew(s, j.Fresh); err != nil {
			return Timing{}, err
		}
		if j.Fresh || atEnds {
			fill(j.Operation, m.in, m.out, g.Rank())
		}
		if err := collective.Barrier(ctx, g); err != nil {
			return Timing{}, err
		}
		begin := time.Now()
		if err := operate(ctx, g, j.Operation, m.in, m.out); err != nil {
			return Timing{}, err
		}
		end := time.Now()
		var each time.Duration
		if atEnds { // else the checks of some would take the processors from those who are not done
			if err := collective.Barrier(ctx, g); err != nil {
				return Timing{}, err
			}
			each = time.Since(begin)
			if err := check(j.Operation, s, m.out, g.Rank(), g.Size()); err != nil {
				return Timing{}, err
			}
		}
		if i >= 0 {
			t.Begins, t.Ends = append(t.Begins, begin.UnixNano()), append(t.Ends, end.UnixNano())
			continue
		}
		if rounds, err = agree(ctx, g, each, j.Seconds); err != nil {
			return Timing{}, err
		}
	}
	return t, nil
}

// agree returns how many rounds there will be, of which one took each.
func agree(ctx context.Context, g *collective.Group, each time.Duration, seconds float64) (int, error) {
	rounds := []int64{int64(min(max(seconds/each.Seconds(), 2), mostRounds))}
	err := collective.Broadcast(ctx, g, rounds, 0)
	return int(rounds[0]), err
}

// memory is the buffers of a member, straight from the system as those of the peers are.
type memory struct {
	in, out []float32
	maps    [][]byte
}

// renew makes the buffers, again if they must be fresh.
func (m *memory) renew(s shape, fresh bool) error {
	if m.maps != nil && !fresh {
		return nil
	}
	if err := m.release(); err != nil {
		return err
	}
	m.maps = [][]byte{}
	for buf, count := range map[*[]float32]int{&m.in: s.in, &m.out: s.out} {
		if count == 0 {
			continue
		}
		b, err := unix.Mmap(-1, 0, 4*count, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return fmt.Errorf("map %d bytes: %w", 4*count, err)
		}
		m.maps = append(m.maps, b)
		*buf = unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), count)
	}
	return nil
}

func (m *memory) release() error {
	var errs []error
	for _, b := range m.maps {
		errs = append(errs, unix.Munmap(b))
	}
	*m = memory{}
	return errors.Join(errs...)
}

// plan is what to measure.
type plan struct {
	operations []string
	sizes      []int // bytes
	modes      []string
	seconds    float64 // for each point
}

// points calls do for each point.
func (p plan) points(do func(operation string, bytes int, mode string) error) error {
	for _, op := range p.operations {
		for _, size := range p.sizes {
			for _, mode := range p.modes {
				if op == "barrier" {
					if size != p.sizes[0] || mode != p.modes[0] {
						continue
					}
					size, mode = 0, "reused"
				}
				if err := do(op, size, mode); err != nil {
					return fmt.Errorf("%s of %d bytes: %w", op, size, err)
				}
			}
		}
	}
	return nil
}

// measure makes a group of members on the nodes of a system, and writes a line for each point.
func measure(ctx context.Context, sys *core.System, library string, n int, p plan, out io.Writer) (err error) {
	actors, err := members.Spawn(ctx, sys, n, core.Void{})
	if err != nil {
		return err
	}
	g, err := collective.NewGroup(ctx, groupName, actors)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close(ctx)) }()
	all := batch.New(actors)
	return p.points(func(operation string, bytes int, mode string) error {
		refs, err := batch.Call(ctx, all, (*member).Measure, Job{operation, bytes, mode == "fresh", p.seconds})
		if err != nil {
			return err
		}
		timings, err := refs.Get(ctx)
		if err != nil {
			return err
		}
		l := summary(timings)
		l.library, l.algorithm, l.operation, l.bytes, l.mode, l.members = library, "default", operation, bytes, mode, n
		_, err = fmt.Fprintln(out, l)
		return err
	})
}

// summary makes a line of the timings of all members.
func summary(timings []Timing) line {
	l := line{rounds: len(timings[0].Begins), least: 1e300}
	var spans []int64
	for i := range l.rounds {
		first, last := timings[0].Begins[i], timings[0].Ends[i]
		for _, t := range timings {
			first, last = min(first, t.Begins[i]), max(last, t.Ends[i])
		}
		spans = append(spans, last-first)
	}
	for _, t := range timings {
		var total int64
		for i := range t.Begins {
			total += t.Ends[i] - t.Begins[i]
		}
		mean := float64(total) / float64(l.rounds) / 1e3
		l.least, l.most, l.mean = min(l.least, mean), max(l.most, mean), l.mean+mean/float64(len(timings))
	}
	slices.Sort(spans)
	l.span = float64(spans[l.rounds/2]) / 1e3
	return l
}
