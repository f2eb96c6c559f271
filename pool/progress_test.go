// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/pool"
)

// reports collects what OnProgress reports.
type reports struct {
	sync.Mutex
	all []pool.Progress
}

func (r *reports) add(p pool.Progress) {
	r.Lock()
	defer r.Unlock()
	r.all = append(r.all, p)
}

func (r *reports) take() []pool.Progress {
	r.Lock()
	defer r.Unlock()
	all := r.all
	r.all = nil
	return all
}

func TestProgressIsReportedWhileItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		sys, err := core.Start(t.Context(), core.InProcess(1))
		require.NoError(t, err)
		defer func() { require.NoError(t, sys.Shutdown(context.WithoutCancel(t.Context()))) }()
		p, _ := poolOn(t, sys, 2, pool.OnProgress(time.Second, r.add))
		time.Sleep(5500 * time.Millisecond)
		require.Empty(t, r.take(), "nothing was given")
		refs := make([]*core.Ref[core.Void], 3)
		for i := range refs {
			refs[i] = pool.Submit(t.Context(), p, (*worker).Nap, 5*time.Second) // two run until 10.5 s, the third until 15.5 s
		}
		failed := pool.Submit(t.Context(), p, (*worker).Fail, 1, pool.Hedge(time.Hour))
		time.Sleep(20 * time.Second)
		require.NoError(t, refs[2].Err(t.Context()))
		require.Error(t, failed.Err(t.Context()))
		require.Equal(t, []pool.Progress{
			{Given: 4, Waiting: 2, Running: 2},
			{Given: 4, Done: 2, Failed: 1, Running: 1},
			{Given: 4, Done: 3, Failed: 1},
		}, r.take())
		p.Close()
		require.Equal(t, []pool.Progress{{Given: 4, Done: 3, Failed: 1}}, r.take(), "the last report comes with Close")
	})
}

func TestLastReportCountsWhatCloseGaveUp(t *testing.T) {
	var r reports
	sys := coretest.Start(t, core.InProcess(1))
	p, _ := poolOn(t, sys, 1, pool.OnProgress(time.Hour, r.add), pool.Queue(8))
	done := pool.Submit(t.Context(), p, (*worker).Echo, 1)
	require.NoError(t, done.Err(t.Context()))
	for range 3 {
		pool.Submit(t.Context(), p, (*worker).Block, 1)
	}
	p.Close()
	require.Equal(t, []pool.Progress{{Given: 4, Done: 1, Failed: 3}}, r.take())
}

func TestBadReportsAreRefused(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	h := spawn(t, sys, 1)
	for _, o := range []pool.Option{pool.OnProgress(time.Microsecond, func(pool.Progress) {}), pool.OnProgress(time.Second, nil)} {
		_, err := pool.New(h, o)
		require.ErrorIs(t, err, core.ErrInvalid)
	}
}
