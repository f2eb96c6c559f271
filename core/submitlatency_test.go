// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
)

// How long Submit keeps its caller, for batches without argument on 8 processes: the median, the 99th of a hundred and the longest, with the driver's
// collector as it is and without it, which tells what part of the tail is the collector's.
func BenchmarkSubmit(b *testing.B) {
	sys, err := core.Start(b.Context(), core.LocalNodes(8))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, sys.Shutdown(context.WithoutCancel(b.Context()))) })
	all := spawn(b, sys, 32_000)
	for _, n := range []int{400, 4_000, 32_000} {
		targets, err := core.NewTargets(all[:n])
		require.NoError(b, err)
		for _, gc := range []bool{true, false} {
			b.Run(fmt.Sprintf("actors=%d/gc=%v", n, gc), func(b *testing.B) {
				if !gc {
					defer debug.SetGCPercent(debug.SetGCPercent(-1))
				}
				var took []time.Duration
				for b.Loop() {
					began := time.Now()
					s, err := core.Submit(b.Context(), targets, (*probe).Ping, core.Void{})
					took = append(took, time.Since(began))
					require.NoError(b, err)
					require.NoError(b, s.Wait(b.Context(), n))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
				b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-us")
			})
		}
	}
}
