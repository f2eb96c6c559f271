// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/pool"
)

// idle is the period of the elastic pools in these tests, which run in virtual time.
const idle = time.Minute

// elasticPool is a pool of 2 to 6 actors. The calls of its function are counted, and fail while failing says so.
func elasticPool(t *testing.T, spawned *atomic.Int64, failing *atomic.Pointer[error]) (*core.System, *pool.Pool[*worker], []*core.Handle[*worker]) {
	sys := coretest.Start(t, core.InProcess(2))
	p, h := poolOn(t, sys, 2, pool.Elastic(2, 6, idle, func(ctx context.Context, n int) ([]*core.Handle[*worker], error) {
		spawned.Add(1)
		if err := failing.Load(); err != nil {
			return nil, *err
		}
		return workers.Spawn(ctx, sys, n, core.Void{})
	}))
	return sys, p, h
}

func TestElasticPoolGrowsWhileCallsWaitAndShrinksWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var spawned atomic.Int64
		var failing atomic.Pointer[error]
		sys, p, _ := elasticPool(t, &spawned, &failing)
		g, key := newGate(t, 10)
		tasks := pool.Tasks(p, (*worker).Enter)
		for range 4 {
			tasks.Submit(t.Context(), key)
		}
		synctest.Wait()
		require.Equal(t, 4, p.Len(), "one for each call")
		for range 6 {
			go tasks.Submit(t.Context(), key)
		}
		synctest.Wait()
		require.Equal(t, 6, p.Len(), "no more than it may have")
		require.Len(t, g.entered, 6)

		time.Sleep(5 * idle)
		require.Equal(t, 6, p.Len(), "all are busy")
		close(g.open)
		for tasks.HasNext() {
			_, err := tasks.Next(t.Context())
			require.NoError(t, err)
		}
		for range 3 { // it needs two at a time now
			_, err := pool.Submit(t.Context(), p, (*worker).Nap, idle/2).Get(t.Context())
			require.NoError(t, err)
			a, b := pool.Submit(t.Context(), p, (*worker).Nap, idle/2), pool.Submit(t.Context(), p, (*worker).Nap, idle/2)
			require.NoError(t, a.Err(t.Context()))
			require.NoError(t, b.Err(t.Context()))
		}
		time.Sleep(3 * idle)
		synctest.Wait()
		require.Equal(t, 2, p.Len(), "no fewer than it must have")
		require.Equal(t, 2, sys.Stats().Actors, "the others were killed")
		require.NoError(t, p.Stats().Keep)
	})
}

func TestElasticPoolMakesUpForLostActors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var spawned atomic.Int64
		var failing atomic.Pointer[error]
		_, p, h := elasticPool(t, &spawned, &failing)
		require.NoError(t, h[0].Kill(t.Context()))
		require.NoError(t, h[1].Kill(t.Context()))
		require.NoError(t, pool.Submit(t.Context(), p, (*worker).Echo, 1).Err(t.Context()))
		synctest.Wait()
		require.Equal(t, 2, p.Len())
	})
}

func TestElasticPoolPausesAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var spawned atomic.Int64
		var failing atomic.Pointer[error]
		_, p, h := elasticPool(t, &spawned, &failing)
		broken := errors.New("no more machines")
		failing.Store(&broken)
		require.NoError(t, h[0].Kill(t.Context()))
		require.NoError(t, h[1].Kill(t.Context()))
		for range 10 {
			err := pool.Submit(t.Context(), p, (*worker).Echo, 1).Err(t.Context())
			require.ErrorIs(t, err, core.ErrNoActors)
			require.ErrorIs(t, err, broken)
		}
		require.Equal(t, int64(1), spawned.Load())
		require.ErrorIs(t, p.Stats().Keep, broken)
		failing.Store(nil)
		time.Sleep(2 * idle)
		synctest.Wait()
		require.NoError(t, pool.Submit(t.Context(), p, (*worker).Echo, 1).Err(t.Context()))
		require.NoError(t, p.Stats().Keep)
		require.Equal(t, 2, p.Len())
	})
}

func TestElasticOptionsAreChecked(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	h := spawn(t, sys, 1)
	fn := func(context.Context, int) ([]*core.Handle[*worker], error) { return nil, nil }
	replace := pool.Replace(func(context.Context, []*core.Handle[*worker]) ([]*core.Handle[*worker], error) { return nil, nil })
	for name, opts := range map[string][]pool.Option{
		"none":         {pool.Elastic(0, 2, idle, fn)},
		"upside down":  {pool.Elastic(3, 2, idle, fn)},
		"no period":    {pool.Elastic(1, 2, 0, fn)},
		"nil":          {pool.Elastic[*worker](1, 2, idle, nil)},
		"another type": {pool.Elastic(1, 2, idle, func(context.Context, int) ([]*core.Handle[int], error) { return nil, nil })},
		"with Replace": {pool.Elastic(1, 2, idle, fn), replace},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pool.New(h, opts...)
			require.ErrorIs(t, err, core.ErrInvalid)
		})
	}
}
