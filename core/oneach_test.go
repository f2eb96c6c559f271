// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/internal/wire"
)

func TestOnEachTellsOfEverySlotOnceInOrderOfCompletion(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 1))
	for range 200 {
		n := 1 + rng.IntN(50)
		s := core.Detached(n)
		var early, late []uint32
		done := false
		s.OnEach(func(slots []uint32) {
			require.NotEmpty(t, slots)
			require.False(t, done, "OnDone comes last")
			early = append(early, slots...)
		})
		s.OnDone(func() { done = true })
		rest := rng.Perm(n)
		join := rng.IntN(n)
		follow := func() {
			s.OnEach(func(slots []uint32) { late = append(late, slots...) })
			require.Len(t, late, n-len(rest), "those that are complete are told of at once")
			join = n + 1
		}
		for len(rest) > 0 {
			if n-len(rest) >= join {
				follow()
			}
			k := 1 + rng.IntN(len(rest))
			var body []byte
			for _, slot := range rest[:k] {
				body = wire.AppendResult(body, wire.StatusEmpty, nil, uint32(slot))
				body = wire.AppendResult(body, wire.StatusEmpty, nil, uint32(slot)) // twice counts once
			}
			rest = rest[k:]
			calls := 0
			s.OnEach(func([]uint32) { calls++ })
			had := calls
			require.NoError(t, s.Answer(body))
			require.Equal(t, had+1, calls, "one call for one reply")
		}
		if join <= n {
			follow()
		}
		require.True(t, done)
		require.Equal(t, early, late)
		for k, slot := range early {
			got, ok := s.Completed(k)
			require.True(t, ok)
			require.Equal(t, int(slot), got)
		}
		slices.Sort(early)
		for i, slot := range early {
			require.Equal(t, i, int(slot))
		}
	}
}

func TestOnEachTellsOfFailuresToo(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	actors := spawn(t, sys, 6)
	s := submit(t.Context(), t, actors, (*probe).Block, core.Void{})
	var told []uint32 // guarded by the slots, and by the order of what follows
	s.OnEach(func(slots []uint32) { told = append(told, slots...) })
	s.Cancel(context.Canceled)
	require.Len(t, told, 6)
	again := 0
	s.OnEach(func(slots []uint32) { again += len(slots) })
	require.Equal(t, 6, again, "registered after the last answer")
}

// What the hook adds to the answer of a slot: the difference of the two, divided by 400.
func BenchmarkAnswers(b *testing.B) {
	const n = 400
	var body []byte
	for i := range uint32(n) {
		body = wire.AppendResult(body, wire.StatusInline, []byte{1}, i)
	}
	for _, hook := range []bool{false, true} {
		name := "alone"
		if hook {
			name = "with OnEach"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			total := 0
			for b.Loop() {
				s := core.Detached(n)
				if hook {
					s.OnEach(func(slots []uint32) { total += len(slots) })
				}
				if err := s.Answer(body); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/slot")
		})
	}
}
