// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package benchmark

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/collective"
	"github.com/tutti-go/tutti/core"
)

// silence is how long a node may give no sign of life. Where hundreds of processes on a few processors all write 16 MiB at once that were never
// used before, some had none for 2 s, the default.
const silence = 30 * time.Second

// Measure makes a group of n members on the nodes of a system, spread evenly, and calls each with the result of every point of the plan, in
// its order, as soon as it is there. A result with no rounds is of a point that was left out, for want of time or memory. library is
// only written into the results. Errors: those of each, of core and of collective; what Plan.Validate returns.
func Measure(ctx context.Context, sys *core.System, library string, n int, p Plan, each func(Result) error) (err error) {
	if err := p.Validate(); err != nil {
		return err
	}
	if p.Least == 0 {
		p.Least = 2
	}
	actors, err := members.Spawn(ctx, sys, n, core.Void{})
	if err != nil {
		return err
	}
	hosts := make([]string, n)
	for i, a := range actors {
		hosts[i] = a.Host()
	}
	g, err := collective.NewGroup(ctx, groupName, actors, collective.Silence(silence))
	if err != nil {
		return err
	}
	all := batch.New(actors)
	defer func() {
		end := context.WithoutCancel(ctx)
		if e := release(end, all); err == nil { // else it says the same
			err = e
		}
		err = errors.Join(err, g.Close(end))
		for _, a := range actors {
			err = errors.Join(err, a.Kill(end))
		}
	}()
	said, err := meet(ctx, all)
	if err != nil {
		return err
	}
	room := roomOf(hosts, said, p.Memory)
	if p.Ready != nil {
		p.Ready()
	}
	began, took := time.Now(), map[string]span{} // by the last point of each operation
	for i, point := range p.Points {
		r := Result{Point: point, Library: library, Algorithm: "default", Members: n}
		now := time.Now()
		if p.Limit > 0 && now.Sub(began)+took[point.Operation].of(point.Bytes) > p.deadline(i) {
			r.LeftOut = fmt.Sprintf("%v were over", p.Limit)
		} else if r.LeftOut = room.lacks(point, n); r.LeftOut == "" {
			refs, err := batch.Call(ctx, all, (*member).Measure, Job{point, p.Seconds, p.Least})
			if err != nil {
				return fmt.Errorf("%v: %w", point, err)
			}
			timings, err := refs.Get(ctx)
			if err != nil {
				return fmt.Errorf("%v: %w", point, err)
			}
			r = r.summarized(timings, hosts)
			took[point.Operation] = span{point.Bytes, time.Since(now) / time.Duration(r.Rounds+1)}
		}
		if err := each(r); err != nil {
			return err
		}
	}
	return nil
}

// span is how long a round of a point of some bytes took, with its part of all that is around them: that of two or three where they are long.
type span struct {
	bytes int
	took  time.Duration
}

// of returns how long a point of some other bytes takes at least, which has two rounds: of long ones in proportion to the bytes.
func (s span) of(bytes int) time.Duration {
	const long = 64 << 10
	switch {
	case bytes < s.bytes:
		return 0
	case s.bytes >= long:
		return time.Duration(2 * float64(s.took) * float64(bytes) / float64(s.bytes))
	default:
		return 2 * s.took
	}
}

// meet returns when all members run and have met, with what each says that buffers on its host may take.
func meet(ctx context.Context, all *batch.Remote[*member]) ([]int, error) {
	refs, err := batch.Call(ctx, all, (*member).Meet, core.Void{})
	if err != nil {
		return nil, err
	}
	return refs.Get(ctx)
}

func release(ctx context.Context, all *batch.Remote[*member]) error {
	refs, err := batch.Call(ctx, all, (*member).Release, core.Void{})
	if err != nil {
		return err
	}
	_, err = refs.Get(ctx)
	return err
}

// Validate names what makes no sense in the plan, as an ErrInvalid of core. Measure does so as well.
func (p Plan) Validate() error {
	if p.Least < 0 || p.Least > mostRounds || p.Seconds < 0 || p.Limit < 0 || p.Memory < 0 {
		return fmt.Errorf("%w: a plan with %d rounds at least, want 0 to %d, %v seconds for a point, a limit of %v and %d bytes of memory",
			core.ErrInvalid, p.Least, mostRounds, p.Seconds, p.Limit, p.Memory)
	}
	for _, point := range p.Points {
		if err := point.check(); err != nil {
			return fmt.Errorf("%w: %w", core.ErrInvalid, err)
		}
	}
	return nil
}

// summarized returns the result with what the timings of all members say, each of which is on one of the hosts.
func (r Result) summarized(timings []Timing, hosts []string) Result {
	r.Rounds, r.Min = len(timings[0].Begins), math.Inf(1)
	spans := make([]int64, r.Rounds)
	for i := range spans {
		first, last := map[string]int64{}, map[string]int64{}
		for m, t := range timings {
			h := hosts[m]
			if _, ok := first[h]; !ok {
				first[h], last[h] = t.Begins[i], t.Ends[i]
			}
			first[h], last[h] = min(first[h], t.Begins[i]), max(last[h], t.Ends[i])
		}
		for h := range first {
			spans[i] = max(spans[i], last[h]-first[h])
		}
	}
	for _, t := range timings {
		var total int64
		for i := range t.Begins {
			total += t.Ends[i] - t.Begins[i]
		}
		mean := float64(total) / float64(r.Rounds) / 1e3
		r.Min, r.Max, r.Avg = min(r.Min, mean), max(r.Max, mean), r.Avg+mean/float64(len(timings))
	}
	slices.Sort(spans)
	r.UntilLast = float64(spans[len(spans)/2]) / 1e3
	return r
}
