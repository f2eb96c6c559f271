// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/pool"
)

// These tests run in virtual time. The first actor of a pool takes 20 times as long as others for NapUnlessFirst.

func TestHedgedCallIsAnsweredByTheFasterActor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPool(t, 3)
		start := time.Now()
		ref := pool.Submit(t.Context(), p, (*worker).NapUnlessFirst, time.Second, pool.Hedge(2*time.Second))
		require.NoError(t, ref.Err(t.Context()))
		require.Equal(t, 3*time.Second, time.Since(start), "2 s until the second was asked, 1 s until it answered")
		synctest.Wait()
		require.Equal(t, 1, p.Stats().InFlight, "the first does not stop when it is asked to")
		time.Sleep(20 * time.Second)
		require.Zero(t, p.Stats().InFlight)
		require.Equal(t, uint64(2), p.Stats().Done)
	})
}

func TestQuickCallIsNotHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPool(t, 3)
		ref := pool.Submit(t.Context(), p, (*worker).Nap, time.Second, pool.Hedge(2*time.Second))
		require.NoError(t, ref.Err(t.Context()))
		time.Sleep(10 * time.Second)
		require.Equal(t, uint64(1), p.Stats().Done)
	})
}

func TestHedgeWaitsForAFreeActor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPool(t, 2)
		start := time.Now()
		ref := pool.Submit(t.Context(), p, (*worker).NapUnlessFirst, time.Second, pool.Hedge(2*time.Second))
		other := pool.Submit(t.Context(), p, (*worker).Nap, 7*time.Second)
		require.NoError(t, other.Err(t.Context()))
		require.NoError(t, ref.Err(t.Context()))
		require.Equal(t, 9*time.Second, time.Since(start), "asked at 2, 4, 6 and 8 s, and only then was the other free")
		time.Sleep(20 * time.Second)
	})
}

func TestHedgeOutlivesTheDeathOfEitherActor(t *testing.T) {
	for name, dead := range map[string]int{"first": 0, "second": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, h := newPool(t, 3)
				ref := pool.Submit(t.Context(), p, (*worker).NapUnlessFirst, 10*time.Second, pool.Hedge(2*time.Second))
				time.Sleep(5 * time.Second)
				require.NoError(t, h[dead].Kill(t.Context()))
				require.NoError(t, ref.Err(t.Context()))
				time.Sleep(200 * time.Second)
				require.Equal(t, 2, p.Len())
			})
		})
	}
}

func TestHedgedCallEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPool(t, 2)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		ref := pool.Submit(ctx, p, (*worker).Block, 1, pool.Hedge(2*time.Second))
		time.Sleep(3 * time.Second)
		require.Equal(t, 2, p.Stats().InFlight)
		require.ErrorIs(t, ref.Err(t.Context()), context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(start))
		synctest.Wait()
		require.Zero(t, p.Stats().InFlight, "both have stopped")
	})
}

func TestHedgedMapKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPool(t, 3)
		start := time.Now()
		i := 0
		for v, err := range pool.Map(t.Context(), p, (*worker).Fail, count(50), pool.Hedge(time.Second)) {
			require.Equal(t, i%2 == 1, err != nil, "an actor's error is an answer")
			if err == nil {
				require.Equal(t, i, v)
			}
			i++
		}
		require.Equal(t, 50, i)
		n := 0
		for _, err := range pool.Map(t.Context(), p, (*worker).NapUnlessFirst, repeat(time.Second, 30), pool.Hedge(2*time.Second)) {
			require.NoError(t, err)
			n++
		}
		require.Equal(t, 30, n)
		require.Less(t, time.Since(start), 25*time.Second)
		time.Sleep(40 * time.Second)
	})
}

func TestHedgeMustBePositive(t *testing.T) {
	p, _ := newPool(t, 1)
	require.ErrorIs(t, pool.Submit(t.Context(), p, (*worker).Echo, 1, pool.Hedge(0)).Err(t.Context()), core.ErrInvalid)
}
