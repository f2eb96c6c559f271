// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestMain(m *testing.M) { coretest.Main(m) }

type worker struct{}

func newWorker(context.Context, core.Void) (*worker, error) { return &worker{}, nil }

// Touch reads the ends of its argument, so that what is measured is the call.
func (w *worker) Touch(_ context.Context, x []byte) (float64, error) {
	if len(x) == 0 {
		return 0, nil
	}
	return float64(x[0]) + float64(x[len(x)-1]), nil
}

func (w *worker) Ping(context.Context, core.Void) (core.Void, error) { return core.Void{}, nil }

var workers = core.Register("bench.worker", newWorker, core.Method((*worker).Touch), core.Method((*worker).Ping))

// fleet is a set of actors and the ways of calling all of them.
type fleet struct {
	sys     *core.System
	handles []*core.Handle[*worker]
	remote  *batch.Remote[*worker]
	grpc    *grpcFleet
}

// way calls all actors once and returns when all have answered. The argument is nil for a call without one.
type way struct {
	name string
	call func(ctx context.Context, f *fleet, arg []byte) (submit time.Duration, err error)
}

func ways() []way {
	return []way{
		{"batch", callBatch},
		{"loop-ref", loopRef},
		{"loop-value", loopValue},
		{"loop-grpc", loopGRPC},
	}
}

func BenchmarkBatch(b *testing.B) {
	for _, shape := range []struct{ actors, nodes int }{{400, 8}} {
		f := newFleet(b, shape.actors, shape.nodes)
		for _, size := range []int{0, 10, 64 << 10, 1 << 20, 8 << 20} {
			for _, w := range ways() {
				if size == 0 && w.name == "loop-ref" {
					continue // nothing to refer to
				}
				name := fmt.Sprintf("actors=%d/nodes=%d/arg=%s/way=%s", shape.actors, shape.nodes, sizeName(size), w.name)
				b.Run(name, func(b *testing.B) { measure(b, f, w, size) })
			}
		}
	}
}

func newFleet(b *testing.B, actors, nodes int) *fleet {
	sys := coretest.Start(b, core.LocalNodes(nodes))
	handles, err := workers.Spawn(b.Context(), sys, actors, core.Void{})
	require.NoError(b, err)
	return &fleet{sys, handles, batch.New(handles), newGRPCFleet(b, sys, actors, nodes)}
}

func measure(b *testing.B, f *fleet, w way, size int) {
	var arg []byte
	if size > 0 {
		arg = make([]byte, size)
	}
	for range 3 { // pages, connections and stacks are made once
		_, err := w.call(b.Context(), f, arg)
		require.NoError(b, err)
	}
	var submits, trips []time.Duration
	b.ReportAllocs()
	cpu := cpuTime()
	for b.Loop() {
		began := time.Now()
		submit, err := w.call(b.Context(), f, arg)
		if err != nil {
			b.Fatal(err)
		}
		trips, submits = append(trips, time.Since(began)), append(submits, submit)
	}
	used := cpuTime() - cpu
	report := func(name string, d time.Duration) { b.ReportMetric(float64(d.Nanoseconds())/1e3, name) }
	report("submit-us", quantile(submits, 0.5))
	report("p50-us", quantile(trips, 0.5))
	report("p99-us", quantile(trips, 0.99))
	report("cpu-us", used/time.Duration(len(trips)))
}

func quantile(ds []time.Duration, q float64) time.Duration {
	slices.Sort(ds)
	return ds[min(int(q*float64(len(ds))), len(ds)-1)]
}

func sizeName(n int) string {
	switch {
	case n == 0:
		return "none"
	case n >= 1<<20:
		return fmt.Sprintf("%dMiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%dKiB", n>>10)
	}
	return fmt.Sprintf("%dB", n)
}

func callBatch(ctx context.Context, f *fleet, arg []byte) (time.Duration, error) {
	if arg == nil {
		refs, err := batch.Call(ctx, f.remote, (*worker).Ping, core.Void{})
		if err != nil {
			return 0, err
		}
		_, err = refs.Get(ctx)
		return refs.Stats().Submit, err
	}
	refs, err := batch.Call(ctx, f.remote, (*worker).Touch, arg)
	if err != nil {
		return 0, err
	}
	_, err = refs.Get(ctx)
	return refs.Stats().Submit, err
}

func loopValue(ctx context.Context, f *fleet, arg []byte) (time.Duration, error) {
	if arg == nil {
		return loop(ctx, f, func(h *core.Handle[*worker]) *core.Ref[core.Void] {
			return core.Call(ctx, h, (*worker).Ping, core.Void{})
		})
	}
	return loop(ctx, f, func(h *core.Handle[*worker]) *core.Ref[float64] { return core.Call(ctx, h, (*worker).Touch, arg) })
}

func loopRef(ctx context.Context, f *fleet, arg []byte) (time.Duration, error) {
	ref, err := core.Put(ctx, f.sys, arg)
	if err != nil {
		return 0, err
	}
	defer ref.Release()
	return loop(ctx, f, func(h *core.Handle[*worker]) *core.Ref[float64] { return core.CallRef(ctx, h, (*worker).Touch, ref) })
}

func loop[T any](ctx context.Context, f *fleet, call func(*core.Handle[*worker]) *core.Ref[T]) (time.Duration, error) {
	began := time.Now()
	refs := make([]*core.Ref[T], len(f.handles))
	for i, h := range f.handles {
		refs[i] = call(h)
	}
	submit := time.Since(began)
	for _, r := range refs {
		if _, err := r.Get(ctx); err != nil {
			return 0, err
		}
	}
	return submit, nil
}
