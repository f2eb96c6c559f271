// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/pool"
)

// BenchmarkMap maps no-op items over 400 actors. One iteration is one item.
func BenchmarkMap(b *testing.B) {
	for _, where := range []struct {
		name string
		opt  core.Option
	}{{"process=1", core.InProcess(8)}, {"process=8", core.LocalNodes(8)}} {
		for _, inFlight := range []int{1, 8} {
			b.Run(fmt.Sprintf("actors=400/%s/inflight=%d", where.name, inFlight), func(b *testing.B) {
				p, _ := poolOn(b, coretest.Start(b, where.opt), 400, pool.InFlight(inFlight))
				b.ReportAllocs()
				b.ResetTimer()
				for _, err := range pool.Map(b.Context(), p, (*worker).Nop, repeat(core.Void{}, b.N)) {
					if err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "items/s")
				p.Close()
			})
		}
	}
}

// BenchmarkMapOfSlowItems maps items of 10 ms over 400 actors and reports the rate as a part of what the actors could do if they were
// never idle. In the second case one actor takes 20 times as long. One iteration is one item.
func BenchmarkMapOfSlowItems(b *testing.B) {
	const actors, nap = 400, 10 * time.Millisecond
	for _, c := range []struct {
		name     string
		method   func(*worker, context.Context, time.Duration) (core.Void, error)
		capacity float64
	}{{"even", (*worker).Nap, actors}, {"straggler", (*worker).NapUnlessFirst, actors - 1 + 1./20}} {
		b.Run(fmt.Sprintf("actors=%d/process=8/inflight=2/%s", actors, c.name), func(b *testing.B) {
			p, _ := poolOn(b, coretest.Start(b, core.LocalNodes(8)), actors, pool.InFlight(2))
			for _, err := range pool.MapUnordered(b.Context(), p, c.method, repeat(time.Nanosecond, actors)) {
				require.NoError(b, err) // connected
			}
			b.ResetTimer()
			for _, err := range pool.MapUnordered(b.Context(), p, c.method, repeat(nap, b.N)) {
				if err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			ideal := float64(b.N) / c.capacity * nap.Seconds()
			b.ReportMetric(ideal/b.Elapsed().Seconds(), "of-ideal")
			p.Close()
		})
	}
}
