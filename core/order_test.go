// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// However the messages of a caller come in, and however often, its calls run in the order of their numbers, and once.
func TestCallsRunInTheOrderOfTheirNumbersAndOnce(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	rng := rand.New(rand.NewPCG(8, 8))
	for round := range 20 {
		h := spawn(t, sys, 1)[0]
		const calls = 100
		orders := append(rng.Perm(calls), rng.Perm(calls)[:calls/2]...)
		rng.Shuffle(len(orders), func(i, j int) { orders[i], orders[j] = orders[j], orders[i] })
		var want []int
		for i := range calls {
			want = append(want, i)
		}
		caller := uint64(1000 + round)
		for _, i := range orders {
			core.Inject(h, 0, caller, uint64(i+1), uint64(i+1), "Append", i)
		}
		core.Inject(h, 0, caller, calls+1, calls+1, "Append", calls) // behind all of them
		want = append(want, calls)
		for len(get(t, core.Call(t.Context(), h, (*probe).Log, core.Void{}))) < len(want) {
			runtime.Gosched()
		}
		require.Equal(t, want, get(t, core.Call(t.Context(), h, (*probe).Log, core.Void{})))
	}
}

func TestANumberThatWasTakenAndNotSentHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := coretest.Start(t, core.InProcess(2))
		hs := spawn(t, sys, 2)
		for _, h := range hs {
			core.LoseOrder(sys, h.Node())
			core.LoseOrder(sys, h.Node())
		}
		began := time.Now()
		for _, h := range hs {
			get(t, core.Call(t.Context(), h, (*probe).Ping, core.Void{}))
		}
		assert.LessOrEqual(t, time.Since(began), time.Second, "the node asks for what is missing")
		assert.NotZero(t, time.Since(began))
		began = time.Now()
		get(t, core.Call(t.Context(), hs[0], (*probe).Ping, core.Void{}))
		assert.Zero(t, time.Since(began))
	})
}

func TestAMessageThatWasLostIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := coretest.Start(t, core.InProcess(1))
		h := spawn(t, sys, 1)[0]
		restore := core.DropCalls(sys, h.Node())
		lost := core.Call(t.Context(), h, (*probe).Append, 1)
		synctest.Wait()
		restore()
		next := core.Call(t.Context(), h, (*probe).Append, 2)
		start := time.Now()
		get(t, lost)
		require.Equal(t, 3750*time.Millisecond, time.Since(start), "after the node has asked three times in vain")
		get(t, next)
		require.Equal(t, []int{1, 2}, get(t, core.Call(t.Context(), h, (*probe).Log, core.Void{})))
	})
}

func TestHoldingBackIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := coretest.Start(t, core.InProcess(1))
		hs, err := probes.Spawn(t.Context(), sys, 1, setup{}, core.Mailbox(10_000))
		require.NoError(t, err)
		core.LoseOrder(sys, hs[0].Node())
		var refs []*core.Ref[int]
		for i := range 4100 {
			refs = append(refs, core.Call(t.Context(), hs[0], (*probe).Append, i))
		}
		for i, r := range refs {
			_, err := r.Get(t.Context())
			if i < 4096 {
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, core.ErrMailboxFull)
			require.ErrorContains(t, err, "holds back 4096 calls")
		}
		log := get(t, core.Call(t.Context(), hs[0], (*probe).Log, core.Void{}))
		require.Len(t, log, 4096)
		require.True(t, slices.IsSorted(log))
	})
}

func TestCallsThatAreHeldBackCanBeCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := coretest.Start(t, core.InProcess(1))
		h := spawn(t, sys, 1)[0]
		core.LoseOrder(sys, h.Node())
		s, err := core.Submit(t.Context(), mustTargets(t, h), (*probe).Append, 1, core.FailFast)
		require.NoError(t, err)
		synctest.Wait()
		s.Cancel(assert.AnError)
		synctest.Wait()
		require.ErrorIs(t, s.Err(0), assert.AnError)
		get(t, core.Call(t.Context(), h, (*probe).Append, 2))
		require.Equal(t, []int{2}, get(t, core.Call(t.Context(), h, (*probe).Log, core.Void{})), "it did not run")
	})
}

func mustTargets(t *testing.T, hs ...*core.Handle[*probe]) *core.Targets {
	targets, err := core.NewTargets(hs)
	require.NoError(t, err)
	return targets
}
