// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package batch_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// patience bounds what should happen at once. The machine may be busy.
const patience = 20 * time.Second

func TestMain(m *testing.M) { coretest.Main(m) }

// worker is an actor that knows its number after Number.
type worker struct {
	mu      sync.Mutex
	number  int
	blocked int
}

func newWorker(context.Context, core.Void) (*worker, error) { return &worker{number: -1}, nil }

func (*worker) Ping(context.Context, core.Void) (core.Void, error) { return core.Void{}, nil }

func (*worker) Sum(_ context.Context, x []float32) (float64, error) {
	var sum float64
	for _, v := range x {
		sum += float64(v)
	}
	return sum, nil
}

func (*worker) Write(_ context.Context, x []float32) (float32, error) {
	x[0]++
	return x[0], nil
}

func (*worker) Make(_ context.Context, n int) ([]byte, error) { return make([]byte, n), nil }

func (*worker) Length(_ context.Context, b []byte) (int, error) { return len(b), nil }

func (w *worker) SetNumber(_ context.Context, n int) (core.Void, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number = n
	return core.Void{}, nil
}

// Number returns the number that the actor was given.
func (w *worker) Number(context.Context, core.Void) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.number, nil
}

// OnlyEven fails if the actor's number is odd.
func (w *worker) OnlyEven(ctx context.Context, _ core.Void) (int, error) {
	n, _ := w.Number(ctx, core.Void{})
	if n%2 != 0 {
		return 0, errors.New("odd")
	}
	return n, nil
}

// BlockOdd blocks if the actor's number is odd.
func (w *worker) BlockOdd(ctx context.Context, _ core.Void) (int, error) {
	n, _ := w.Number(ctx, core.Void{})
	if n%2 != 0 {
		w.mu.Lock()
		w.blocked++
		w.mu.Unlock()
		<-ctx.Done()
		w.mu.Lock()
		w.blocked--
		w.mu.Unlock()
		return 0, ctx.Err()
	}
	return n, nil
}

// Blocked returns how many calls of BlockOdd the actor is in.
func (w *worker) Blocked(context.Context, core.Void) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.blocked, nil
}

func (*worker) Any(context.Context, any) (any, error) { return "any", nil }

var workers = core.Register("worker", newWorker,
	core.Method((*worker).Ping), core.Method((*worker).Sum), core.Method((*worker).Write), core.Method((*worker).Make), core.Method((*worker).Length),
	core.Method((*worker).SetNumber), core.Method((*worker).Number), core.Method((*worker).OnlyEven), core.Method((*worker).BlockOdd),
	core.Method((*worker).Blocked), core.Method((*worker).Any))

type pinger interface {
	Ping(ctx context.Context, in core.Void) (core.Void, error)
}

func newPinger(context.Context, core.Void) (pinger, error) { return &worker{}, nil }

var (
	leftPingers  = core.Register("left", newPinger, core.Method(pinger.Ping))
	rightPingers = core.Register("right", newPinger, core.Method(pinger.Ping))
)

func eachSystem(t *testing.T, nodes int, test func(t *testing.T, sys *core.System)) {
	t.Run("in process", func(t *testing.T) { test(t, coretest.Start(t, core.InProcess(nodes))) })
	t.Run("processes", func(t *testing.T) { test(t, coretest.Start(t, core.LocalNodes(nodes))) })
}

// spawn makes actors that know their numbers.
func spawn(t testing.TB, sys *core.System, n int, opts ...core.SpawnOption) []*core.Handle[*worker] {
	t.Helper()
	actors, err := workers.Spawn(t.Context(), sys, n, core.Void{}, opts...)
	require.NoError(t, err)
	for i, a := range actors {
		require.NoError(t, core.Call(t.Context(), a, (*worker).SetNumber, i).Err(bounded(t)))
	}
	return actors
}

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func nothingIsLeft(t *testing.T, sys *core.System) {
	t.Helper()
	eventually(t, "the store is empty", func() bool {
		runtime.GC()
		st := sys.Stats()
		return st.Objects.Objects == 0 && st.Calls == 0
	})
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}
