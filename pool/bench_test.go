// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"fmt"
	"testing"

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
