// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// benchmarkTogether runs operations one after the other at all members of one process, which do not wait for each other in between.
func benchmarkTogether(b *testing.B, members int, opts []Option, operate func(context.Context, *Group) error) {
	b.Helper()
	c := newCluster(b, 2, inMemory)
	_, groups := c.group("bench", members, opts...)
	requireAll(b, each(b.Context(), groups, operate))
	b.ReportAllocs()
	b.ResetTimer()
	requireAll(b, each(b.Context(), groups, func(ctx context.Context, g *Group) error {
		for range b.N {
			if err := operate(ctx, g); err != nil {
				return err
			}
		}
		return nil
	}))
}

// readTime is the least time in which all processors read some slices.
func readTime(bufs [][]byte) time.Duration {
	best := time.Hour
	for range 3 {
		var next atomic.Int64
		var wg sync.WaitGroup
		began := time.Now()
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for i := next.Add(1) - 1; i < int64(len(bufs)); i = next.Add(1) - 1 {
					if bytes.IndexByte(bufs[i], 1) >= 0 {
						panic("there is none")
					}
				}
			})
		}
		wg.Wait()
		best = min(best, time.Since(began))
	}
	return best
}

func BenchmarkBarrierInProcess(b *testing.B) {
	for _, members := range []int{8, 64, 400} {
		for name, opts := range ways() {
			b.Run(fmt.Sprintf("members=%d/by=%s", members, name), func(b *testing.B) {
				benchmarkTogether(b, members, opts, Barrier)
			})
		}
	}
}

func ways() map[string][]Option {
	return map[string][]Option{"memory": nil, "messages": {Messages()}}
}

func BenchmarkAllReduceInProcess(b *testing.B) {
	for _, members := range []int{8, 64, 400} {
		for _, size := range []int{4, 1 << 10, 64 << 10, 1 << 20} {
			for name, opts := range ways() {
				b.Run(fmt.Sprintf("members=%d/size=%s/by=%s", members, sizeText(size), name), func(b *testing.B) {
					bufs := deal(members, size)
					raw := make([][]byte, members)
					for i := range raw {
						raw[i] = bytesOf(bufs[i])
					}
					b.SetBytes(int64(size))
					benchmarkTogether(b, members, opts, func(ctx context.Context, g *Group) error {
						return AllReduce(ctx, g, bufs[g.Rank()], Sum)
					})
					each := b.Elapsed() / time.Duration(b.N)
					read := readTime(raw)
					b.ReportMetric(each.Seconds()/read.Seconds(), "x-read")
					b.ReportMetric(2*float64(members-1)/float64(members)*float64(size)/each.Seconds()/1e6, "bus-MB/s")
				})
			}
		}
	}
}

var _ = require.NoError
