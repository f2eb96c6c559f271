// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Compare calls the same method of 400 actors in three ways - a loop that passes the value, a loop that passes a
// reference to a value put once, and one batch call - and prints what each costs the caller.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
)

// Worker is an actor that does almost nothing, so that what is measured is the call.
type Worker struct{}

// NewWorker makes a Worker.
func NewWorker(context.Context, core.Void) (*Worker, error) { return &Worker{}, nil }

// Compute reads a little of its argument.
func (w *Worker) Compute(_ context.Context, x []float32) (float64, error) {
	if len(x) == 0 {
		return 0, nil
	}
	return float64(x[0] + x[len(x)-1]), nil
}

// Ping takes and returns nothing.
func (w *Worker) Ping(context.Context, core.Void) (core.Void, error) { return core.Void{}, nil }

var workers = core.Register("worker", NewWorker, core.Method((*Worker).Compute), core.Method((*Worker).Ping))

var (
	nodes  = flag.Int("nodes", 8, "node processes")
	actors = flag.Int("actors", 400, "actors")
	size   = flag.Int("size", 1<<20, "bytes of the argument")
	rounds = flag.Int("rounds", 7, "rounds, of which the median is shown")
)

func main() {
	core.ServeNode()
	flag.Parse()
	core.Main(run, core.LocalNodes(*nodes))
}

// cost is what one way of calling took: until everything was submitted, until the last answer, and the driver's
// processor time for both.
type cost struct{ submit, complete, cpu time.Duration }

func run(ctx context.Context, sys *core.System) error {
	began := time.Now()
	handles, err := workers.Spawn(ctx, sys, *actors, core.Void{})
	if err != nil {
		return err
	}
	fmt.Printf("%d actors on %d node processes, created in %v\n\n", *actors, *nodes, time.Since(began).Round(time.Millisecond))
	b := &bench{sys: sys, handles: handles, remote: batch.New(handles), x: make([]float32, *size/4)}
	for i := range b.x {
		b.x[i] = float32(i)
	}
	kib := fmt.Sprintf("%d KiB, ", *size>>10)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tsubmit\tall answers\tdriver CPU\tsubmit is faster by\t")
	err = b.print(ctx, w, []way{
		{kib + "loop by value", b.loopByValue},
		{kib + "loop over a reference put once", b.loopByReference},
		{kib + "batch call", b.batch},
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "\t\t\t\t\t")
	err = b.print(ctx, w, []way{
		{"no argument, loop", b.loopPing},
		{"no argument, batch call", b.batchPing},
	})
	if err != nil {
		return err
	}
	return w.Flush()
}

// way is one way of calling.
type way struct {
	name string
	call func(context.Context) (cost, error)
}

// bench holds what the ways of calling share.
type bench struct {
	sys     *core.System
	handles []*core.Handle[*Worker]
	remote  *batch.Remote[*Worker]
	x       []float32
}

// print measures the ways and prints each in comparison with the first.
func (b *bench) print(ctx context.Context, w *tabwriter.Writer, ways []way) error {
	var first cost
	for i, way := range ways {
		c, err := median(ctx, way.call)
		if err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
		if i == 0 {
			first = c
		}
		fmt.Fprintf(w, "%s\t%v\t%v\t%v\t%.1f x\t\n", way.name, round(c.submit), round(c.complete), round(c.cpu),
			float64(first.submit)/float64(c.submit))
	}
	return nil
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// median runs one way of calling several times, after one time that does not count.
func median(ctx context.Context, call func(context.Context) (cost, error)) (cost, error) {
	if _, err := call(ctx); err != nil {
		return cost{}, err
	}
	costs := make([]cost, *rounds)
	for i := range costs {
		var err error
		if costs[i], err = call(ctx); err != nil {
			return cost{}, err
		}
	}
	pick := func(of func(cost) time.Duration) time.Duration {
		ds := make([]time.Duration, len(costs))
		for i, c := range costs {
			ds[i] = of(c)
		}
		slices.Sort(ds)
		return ds[len(ds)/2]
	}
	return cost{
		pick(func(c cost) time.Duration { return c.submit }),
		pick(func(c cost) time.Duration { return c.complete }),
		pick(func(c cost) time.Duration { return c.cpu }),
	}, nil
}

func (b *bench) loopByValue(ctx context.Context) (cost, error) {
	return loop(ctx, func(yield func(*core.Ref[float64]) error) error {
		for _, h := range b.handles {
			if err := yield(core.Call(ctx, h, (*Worker).Compute, b.x)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bench) loopByReference(ctx context.Context) (cost, error) {
	return loop(ctx, func(yield func(*core.Ref[float64]) error) error {
		ref, err := core.Put(ctx, b.sys, b.x)
		if err != nil {
			return err
		}
		defer ref.Release()
		for _, h := range b.handles {
			if err := yield(core.CallRef(ctx, h, (*Worker).Compute, ref)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bench) loopPing(ctx context.Context) (cost, error) {
	return loop(ctx, func(yield func(*core.Ref[core.Void]) error) error {
		for _, h := range b.handles {
			if err := yield(core.Call(ctx, h, (*Worker).Ping, core.Void{})); err != nil {
				return err
			}
		}
		return nil
	})
}

// loop measures calls that are made one by one.
func loop[T any](ctx context.Context, submit func(yield func(*core.Ref[T]) error) error) (cost, error) {
	began, cpu := time.Now(), cpuTime()
	var refs []*core.Ref[T]
	err := submit(func(r *core.Ref[T]) error {
		refs = append(refs, r)
		return nil
	})
	if err != nil {
		return cost{}, err
	}
	submitted := time.Since(began)
	for _, r := range refs {
		if err := r.Err(ctx); err != nil {
			return cost{}, err
		}
	}
	return cost{submitted, time.Since(began), cpuTime() - cpu}, nil
}

func (b *bench) batch(ctx context.Context) (cost, error) {
	return one(ctx, func() (*batch.Refs[float64], error) { return batch.Call(ctx, b.remote, (*Worker).Compute, b.x) })
}

func (b *bench) batchPing(ctx context.Context) (cost, error) {
	return one(ctx, func() (*batch.Refs[core.Void], error) { return batch.Call(ctx, b.remote, (*Worker).Ping, core.Void{}) })
}

// one measures a batch call.
func one[T any](ctx context.Context, submit func() (*batch.Refs[T], error)) (cost, error) {
	began, cpu := time.Now(), cpuTime()
	refs, err := submit()
	if err != nil {
		return cost{}, err
	}
	submitted := time.Since(began)
	if _, err := refs.Get(ctx); err != nil {
		return cost{}, err
	}
	return cost{submitted, time.Since(began), cpuTime() - cpu}, nil
}
