// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/bench/ways"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestMain(m *testing.M) { coretest.Main(m) }

type way struct {
	name string
	call ways.Way
}

func allWays() []way {
	return []way{
		{"batch", (*ways.Fleet).Batch},
		{"loop-ref", (*ways.Fleet).LoopRef},
		{"loop-value", (*ways.Fleet).LoopValue},
		{"loop-grpc", (*ways.Fleet).LoopGRPC},
	}
}

func BenchmarkBatch(b *testing.B) {
	for _, shape := range []struct{ actors, nodes int }{{400, 8}} {
		f := newFleet(b, shape.actors, shape.nodes)
		for _, size := range []int{0, 10, 64 << 10, 1 << 20, 8 << 20} {
			for _, w := range allWays() {
				if size == 0 && w.name == "loop-ref" {
					continue // nothing to refer to
				}
				name := fmt.Sprintf("actors=%d/nodes=%d/arg=%s/way=%s", shape.actors, shape.nodes, sizeName(size), w.name)
				b.Run(name, func(b *testing.B) { measure(b, f, w, size) })
			}
		}
	}
}

func newFleet(b *testing.B, actors, nodes int) *ways.Fleet {
	f, err := ways.NewFleet(b.Context(), coretest.Start(b, core.LocalNodes(nodes)), actors)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, f.Close()) })
	return f
}

func measure(b *testing.B, f *ways.Fleet, w way, size int) {
	arg, err := f.NewArgument(b.Context(), size)
	require.NoError(b, err)
	defer arg.Release()
	for range 3 { // pages, connections and stacks are made once
		_, err := w.call(f, b.Context(), arg)
		require.NoError(b, err)
	}
	var submits, trips []time.Duration
	var cpu time.Duration
	b.ReportAllocs()
	for b.Loop() {
		c, err := w.call(f, b.Context(), arg)
		if err != nil {
			b.Fatal(err)
		}
		trips, submits, cpu = append(trips, c.Complete), append(submits, c.Submit), cpu+c.CPU
	}
	report := func(name string, d time.Duration) { b.ReportMetric(float64(d.Nanoseconds())/1e3, name) }
	report("submit-us", quantile(submits, 0.5))
	report("p50-us", quantile(trips, 0.5))
	report("p99-us", quantile(trips, 0.99))
	report("cpu-us", cpu/time.Duration(len(trips)))
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
