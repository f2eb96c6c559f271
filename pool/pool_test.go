// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/internal/scope"
	"github.com/tutti-go/tutti/pool"
)

func TestMain(m *testing.M) { coretest.Main(m) }

// worker is the actor of the tests.
type worker struct {
	self    core.ActorID
	running bool
}

func newWorker(ctx context.Context, _ core.Void) (*worker, error) {
	s, ok := scope.From(ctx)
	if !ok {
		return nil, errors.New("no scope")
	}
	return &worker{self: core.ActorID(s.Actor)}, nil
}

// gates are what Hold waits for. They are shared with workers in the test's process only.
var gates sync.Map

// gate stops calls of Hold until it is opened.
type gate struct {
	entered chan core.ActorID // size: calls expected
	open    chan struct{}
}

// newGate makes a gate that n calls may enter, with the key to give to Hold.
func newGate(tb testing.TB, n int) (*gate, string) {
	g := &gate{entered: make(chan core.ActorID, n), open: make(chan struct{})}
	gates.Store(tb.Name(), g)
	tb.Cleanup(func() { gates.Delete(tb.Name()) })
	return g, tb.Name()
}

// await waits until n calls have entered, and returns where they run.
func (g *gate) await(n int) []core.ActorID {
	ids := make([]core.ActorID, n)
	for i := range ids {
		ids[i] = <-g.entered
	}
	return ids
}

// Hold waits until the gate is opened, whatever its context says.
func (w *worker) Hold(_ context.Context, key string) (core.ActorID, error) {
	v, _ := gates.Load(key)
	g, ok := v.(*gate)
	if !ok {
		return 0, errors.New("no gate")
	}
	g.entered <- w.self
	<-g.open
	return w.self, nil
}

// Enter says that it runs and waits until the gate is opened or it is cancelled.
func (w *worker) Enter(ctx context.Context, key string) (core.ActorID, error) {
	v, _ := gates.Load(key)
	g, ok := v.(*gate)
	if !ok {
		return 0, errors.New("no gate")
	}
	g.entered <- w.self
	select {
	case <-g.open:
		return w.self, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// EnterAndPanic is Enter, and then panics.
func (w *worker) EnterAndPanic(ctx context.Context, key string) (core.ActorID, error) {
	_, err := w.Enter(ctx, key)
	panic(fmt.Sprintf("on purpose: %v", err))
}

// Nap takes as long as it is told to.
func (*worker) Nap(_ context.Context, d time.Duration) (core.Void, error) {
	time.Sleep(d)
	return core.Void{}, nil
}

// NapUnlessFirst is Nap, and 20 times as long on the first actor of its node 1.
func (w *worker) NapUnlessFirst(ctx context.Context, d time.Duration) (core.Void, error) {
	if w.self.Node() == 1 && w.self.Serial() == 0 {
		d *= 20
	}
	return w.Nap(ctx, d)
}

// Doze is NapUnlessFirst if first is set, else Nap, and returns how long it has really taken.
func (w *worker) Doze(ctx context.Context, d doze) (time.Duration, error) {
	began := time.Now()
	nap := w.Nap
	if d.First {
		nap = w.NapUnlessFirst
	}
	_, err := nap(ctx, d.For)
	return time.Since(began), err
}

// doze is an item of BenchmarkMapOfSlowItems.
type doze struct {
	For   time.Duration
	First bool
}

// Self returns the actor's identity.
func (w *worker) Self(context.Context, core.Void) (core.ActorID, error) { return w.self, nil }

// Which is Self with an argument.
func (w *worker) Which(context.Context, []byte) (core.ActorID, error) { return w.self, nil }

var errOdd = errors.New("odd")

func (*worker) Nop(context.Context, core.Void) (core.Void, error) { return core.Void{}, nil }
func (*worker) Echo(_ context.Context, x int) (int, error)        { return x, nil }
func (*worker) Len(_ context.Context, x []byte) (int, error)      { return len(x), nil }
func (*worker) Grow(_ context.Context, n int) ([]byte, error)     { return make([]byte, n), nil }

func (*worker) Mirror(_ context.Context, x []byte) ([]byte, error) {
	return append([]byte(nil), x...), nil
}

// Late runs until it is cancelled, with an argument.
func (*worker) Late(ctx context.Context, _ []byte) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// Block runs until it is cancelled.
func (*worker) Block(ctx context.Context, x int) (int, error) {
	<-ctx.Done()
	return x, ctx.Err()
}

// BlockAfterFirst is Block but for 0.
func (w *worker) BlockAfterFirst(ctx context.Context, x int) (int, error) {
	if x == 0 {
		return 0, nil
	}
	return w.Block(ctx, x)
}

// Fail fails for odd numbers, with a panic for multiples of 5.
func (*worker) Fail(_ context.Context, x int) (int, error) {
	if x%2 == 1 {
		if x%5 == 0 {
			panic("odd and a multiple of 5")
		}
		return 0, errOdd
	}
	return x, nil
}

// Exclusive fails if another call runs on the actor.
func (w *worker) Exclusive(_ context.Context, x int) (int, error) {
	if w.running {
		return 0, errors.New("two calls at once")
	}
	w.running = true
	defer func() { w.running = false }()
	return x, nil
}

// Downstream fails as a call to another actor does that is dead.
func (*worker) Downstream(context.Context, int) (int, error) { return 0, core.ErrActorDead }

// Unregistered is not registered.
func (*worker) Unregistered(context.Context, int) (int, error) { return 0, nil }

// Unencodable takes what cannot be encoded.
func (*worker) Unencodable(context.Context, any) (int, error) { return 0, nil }

var workers = core.Register("worker", newWorker,
	core.Method((*worker).Nop), core.Method((*worker).Echo), core.Method((*worker).Len), core.Method((*worker).Grow),
	core.Method((*worker).Block), core.Method((*worker).Fail), core.Method((*worker).Exclusive),
	core.Method((*worker).Downstream), core.Method((*worker).Hold), core.Method((*worker).Self), core.Method((*worker).Which), core.Method((*worker).Nap), core.Method((*worker).Doze), core.Method((*worker).NapUnlessFirst), core.Method((*worker).Enter), core.Method((*worker).EnterAndPanic), core.Method((*worker).Play),
	core.Method((*worker).Mirror), core.Method((*worker).Late), core.Method((*worker).BlockAfterFirst), core.Method((*worker).Unencodable))

func spawn(tb testing.TB, sys *core.System, n int) []*core.Handle[*worker] {
	tb.Helper()
	handles, err := workers.Spawn(tb.Context(), sys, n, core.Void{})
	require.NoError(tb, err)
	return handles
}

// newPool is a pool of n actors on two nodes of this process.
func newPool(tb testing.TB, n int, opts ...pool.Option) (*pool.Pool[*worker], []*core.Handle[*worker]) {
	tb.Helper()
	return poolOn(tb, coretest.Start(tb, core.InProcess(2)), n, opts...)
}

func poolOn(tb testing.TB, sys *core.System, n int, opts ...pool.Option) (*pool.Pool[*worker], []*core.Handle[*worker]) {
	tb.Helper()
	handles := spawn(tb, sys, n)
	p, err := pool.New(handles, opts...)
	require.NoError(tb, err)
	tb.Cleanup(p.Close)
	return p, handles
}

// count yields 0 to n-1.
func count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// repeat yields v n times.
func repeat[T any](v T, n int) iter.Seq[T] {
	return func(yield func(T) bool) {
		for range n {
			if !yield(v) {
				return
			}
		}
	}
}
