// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// benchmark runs one operation per iteration at every member of a group over 8 nodes of this process.
func benchmark(b *testing.B, members int, tr transport, operate func(context.Context, *Group) error) {
	b.Helper()
	c := newCluster(b, 8+1, tr)
	_, groups := c.group("bench", members)
	requireAll(b, each(b.Context(), groups, operate)) // connections are opened by the first
	start := make([]chan struct{}, members)
	done := make(chan error, members) // room for one answer each
	var wg sync.WaitGroup
	for i, g := range groups {
		start[i] = make(chan struct{}, 1)
		wg.Go(func() {
			for range start[i] {
				done <- operate(b.Context(), g)
			}
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, s := range start {
			s <- struct{}{}
		}
		for range members {
			require.NoError(b, <-done)
		}
	}
	for _, s := range start {
		close(s)
	}
	wg.Wait()
}

func BenchmarkAllReduce(b *testing.B) {
	for _, members := range []int{8, 64, 400} {
		for _, size := range []int{8, 64 << 10, 1 << 20} {
			if members*size > 64<<20 {
				continue
			}
			for name, tr := range map[string]transport{"memory": inMemory, "unix": overSockets} {
				b.Run(fmt.Sprintf("members=%d/size=%s/transport=%s", members, sizeText(size), name), func(b *testing.B) {
					bufs := make([][]float32, members)
					for i := range bufs {
						bufs[i] = make([]float32, size/4)
					}
					b.SetBytes(int64(size))
					benchmark(b, members, tr, func(ctx context.Context, g *Group) error {
						return AllReduce(ctx, g, bufs[g.Rank()], Sum)
					})
				})
			}
		}
	}
}

func BenchmarkBroadcast(b *testing.B) {
	for _, members := range []int{8, 64, 400} {
		for _, size := range []int{8, 64 << 10} {
			b.Run(fmt.Sprintf("members=%d/size=%s/transport=unix", members, sizeText(size)), func(b *testing.B) {
				bufs := make([][]byte, members)
				for i := range bufs {
					bufs[i] = make([]byte, size)
				}
				b.SetBytes(int64(size))
				benchmark(b, members, overSockets, func(ctx context.Context, g *Group) error {
					return Broadcast(ctx, g, bufs[g.Rank()], 0)
				})
			})
		}
	}
}

// benchmarkSizes measures an operation over members whose larger buffer has a number of bytes.
func benchmarkSizes(b *testing.B, members, sizes []int, buffers func(members, size int) func(context.Context, *Group) error) {
	b.Helper()
	for _, n := range members {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("members=%d/size=%s/transport=unix", n, sizeText(size)), func(b *testing.B) {
				b.SetBytes(int64(size))
				benchmark(b, n, overSockets, buffers(n, size))
			})
		}
	}
}

// deal makes one buffer of a number of bytes for each member.
func deal(members, size int) [][]float32 {
	bufs := make([][]float32, members)
	for i := range bufs {
		bufs[i] = make([]float32, size/4)
	}
	return bufs
}

func BenchmarkReduce(b *testing.B) {
	benchmarkSizes(b, []int{8, 64, 400}, []int{8, 64 << 10}, func(n, size int) func(context.Context, *Group) error {
		bufs := deal(n, size)
		return func(ctx context.Context, g *Group) error { return Reduce(ctx, g, bufs[g.Rank()], Sum, 0) }
	})
}

func BenchmarkReduceScatter(b *testing.B) {
	benchmarkSizes(b, []int{8, 64}, []int{4 << 10, 1 << 20}, func(n, size int) func(context.Context, *Group) error {
		ins, outs := deal(n, size), deal(n, size/n)
		return func(ctx context.Context, g *Group) error {
			return ReduceScatter(ctx, g, ins[g.Rank()], outs[g.Rank()], Sum)
		}
	})
}

func BenchmarkAllGather(b *testing.B) {
	benchmarkSizes(b, []int{8, 64}, []int{4 << 10, 1 << 20}, func(n, size int) func(context.Context, *Group) error {
		ins, outs := deal(n, size/n), deal(n, size)
		return func(ctx context.Context, g *Group) error { return AllGather(ctx, g, ins[g.Rank()], outs[g.Rank()]) }
	})
}

func BenchmarkGather(b *testing.B) {
	benchmarkSizes(b, []int{8, 64}, []int{4 << 10, 1 << 20}, func(n, size int) func(context.Context, *Group) error {
		ins, out := deal(n, size/n), deal(1, size)[0]
		return func(ctx context.Context, g *Group) error { return Gather(ctx, g, ins[g.Rank()], out, 0) }
	})
}

func BenchmarkScatter(b *testing.B) {
	benchmarkSizes(b, []int{8, 64}, []int{4 << 10, 1 << 20}, func(n, size int) func(context.Context, *Group) error {
		in, outs := deal(1, size)[0], deal(n, size/n)
		return func(ctx context.Context, g *Group) error { return Scatter(ctx, g, in, outs[g.Rank()], 0) }
	})
}

func BenchmarkAllToAll(b *testing.B) {
	benchmarkSizes(b, []int{8, 64}, []int{512, 4 << 10, 1 << 20}, func(n, size int) func(context.Context, *Group) error {
		ins, outs := deal(n, size), deal(n, size)
		return func(ctx context.Context, g *Group) error { return AllToAll(ctx, g, ins[g.Rank()], outs[g.Rank()]) }
	})
}

// The ring in which each member sends to the next.
func BenchmarkSendRecv(b *testing.B) {
	benchmarkSizes(b, []int{2, 8, 64}, []int{8, 64 << 10, 1 << 20}, func(n, size int) func(context.Context, *Group) error {
		ins, outs := deal(n, size), deal(n, size)
		return func(ctx context.Context, g *Group) error {
			return SendRecv(ctx, g, ins[g.Rank()], (g.Rank()+1)%n, outs[g.Rank()], (g.Rank()+n-1)%n, 0)
		}
	})
}

// Half of the members have all there is.
func BenchmarkAllGatherV(b *testing.B) {
	benchmarkSizes(b, []int{8, 64}, []int{4 << 10, 1 << 20}, func(n, size int) func(context.Context, *Group) error {
		counts, outs := make([]int, n), deal(n, size)
		for r := range n / 2 {
			counts[2*r] = size / 4 / (n / 2)
		}
		return func(ctx context.Context, g *Group) error {
			in := make([]float32, counts[g.Rank()])
			return AllGatherV(ctx, g, in, outs[g.Rank()], counts)
		}
	})
}

func BenchmarkBarrier(b *testing.B) {
	for _, members := range []int{8, 64, 400} {
		for name, tr := range map[string]transport{"memory": inMemory, "unix": overSockets} {
			b.Run(fmt.Sprintf("members=%d/transport=%s", members, name), func(b *testing.B) {
				benchmark(b, members, tr, Barrier)
			})
		}
	}
}

func sizeText(bytes int) string {
	switch {
	case bytes >= 1<<20:
		return fmt.Sprintf("%dMiB", bytes>>20)
	case bytes >= 1<<10:
		return fmt.Sprintf("%dKiB", bytes>>10)
	default:
		return fmt.Sprintf("%dB", bytes)
	}
}
