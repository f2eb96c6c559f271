// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/internal/wire"
)

// Whatever outcomes come in whatever order, every slot gets its own once, and bodies stay near their size.
func TestGatheredAnswersAreThoseThatWereAdded(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 1))
	for range 300 {
		var a core.Answers
		n, kinds := 1+rng.IntN(200), 1+rng.IntN(20)
		want, got := map[uint32]string{}, map[uint32]string{}
		take := func() {
			for _, body := range a.Take() {
				require.Less(t, len(body), 2<<20)
				require.NoError(t, wire.ParseReply(body, func(r wire.Result) bool {
					for first, count := range r.Slots.Ranges {
						for i := range count {
							require.NotContains(t, got, first+i)
							got[first+i] = fmt.Sprint(r.Status, string(r.Data))
						}
					}
					return true
				}))
			}
		}
		for _, slot := range rng.Perm(n) {
			status := wire.Status(rng.IntN(4))
			var data []byte
			if status != wire.StatusEmpty {
				data = bytes.Repeat([]byte{byte(rng.IntN(kinds))}, 1+rng.IntN(2)*50_000)
			}
			a.Add(uint32(slot), status, data)
			want[uint32(slot)] = fmt.Sprint(status, string(data))
			if rng.IntN(50) == 0 {
				take()
			}
		}
		take()
		require.Equal(t, want, got)
		require.Empty(t, a.Take())
	}
}

func TestEqualAnswersTravelOnceInAnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 2))
	const n, kinds, size = 10_000, 8, 1000
	var a core.Answers
	for _, slot := range rng.Perm(n) {
		a.Add(uint32(slot), wire.StatusInline, bytes.Repeat([]byte{byte(slot * kinds / n)}, size)) // each is a range
	}
	bodies := a.Take()
	require.Len(t, bodies, 1)
	require.Less(t, len(bodies[0]), kinds*(size+16))

	for _, slot := range rng.Perm(n) {
		a.Add(uint32(slot), wire.StatusEmpty, nil)
	}
	bodies = a.Take()
	require.Len(t, bodies, 1)
	require.Less(t, len(bodies[0]), 10)
}

func TestEqualAnswersReachTheirSlots(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, 200)
		s := submit(t.Context(), t, actors, (*probe).Echo, ones(100))
		require.NoError(t, s.Wait(bounded(t), len(actors)))
		for i := range actors {
			require.Equal(t, ones(100), get(t, core.RefAt[[]float32](s, i)))
		}
		s = submit(t.Context(), t, actors, (*probe).Fail, "the same for all")
		require.NoError(t, s.Wait(bounded(t), len(actors)))
		for i, a := range actors {
			var own *core.ActorError
			require.ErrorAs(t, s.Err(i), &own)
			require.Equal(t, a.ID(), own.Actor)
			require.Equal(t, "the same for all", own.Message)
		}
	})
}

// What answers cost that have little in common.
func BenchmarkGather(b *testing.B) {
	const n = 400
	for _, kinds := range []int{1, 4, n} {
		data := make([][]byte, kinds)
		for i := range data {
			data[i] = []byte{byte(i), byte(i >> 8), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		}
		b.Run(fmt.Sprintf("different=%d", kinds), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var a core.Answers
				for i := range n {
					a.Add(uint32(i), wire.StatusInline, data[i%kinds])
				}
				a.Take()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/slot")
		})
	}
}

func TestOneSlotCanBeInterrupted(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	unleaked(t, sys)
	actors := spawn(t, sys, 4, core.Concurrency(2))
	targets, err := core.NewTargets([]*core.Handle[*probe]{actors[0], actors[0], actors[0], actors[3]})
	require.NoError(t, err)
	s, err := core.Submit(t.Context(), targets, (*probe).Block, core.Void{}, core.FailFast)
	require.NoError(t, err)
	eventually(t, "one waits, three run", func() bool {
		stats, err := sys.NodeStats(t.Context())
		require.NoError(t, err)
		return stats[0].Waiting == 1 && stats[0].Running == 2 && stats[1].Running == 1
	})
	s.InterruptSlots(1, 2, 3)
	require.NoError(t, s.Wait(bounded(t), 3))
	for _, slot := range []int{1, 2, 3} {
		require.ErrorIs(t, s.Err(slot), context.Canceled)
	}
	require.NoError(t, s.Err(0))
	_, more := s.Completed(3)
	require.False(t, more, "the others are unaffected")
	s.InterruptSlots(2) // has no effect any more
	s.InterruptSlots(0)
	require.NoError(t, s.Wait(bounded(t), 4))
	c := get(t, core.Call(t.Context(), actors[0], (*probe).Counts, core.Void{}))
	require.Equal(t, 2, c.Started, "the one that waited did not run")
}
