// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// The environment that makes this binary something else than the tests.
const (
	envDriver = "CORE_TEST_DRIVER" // run as a driver: see driver_test.go
	envNode   = "CORE_TEST_NODE"   // node processes misbehave: see misbehave
)

// patience bounds what should happen at once. The machine may be busy.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv("TUTTI_ROLE") != "node" && os.Getenv(envDriver) != "" {
		runDriver(os.Getenv(envDriver))
		os.Exit(0)
	}
	if driver := os.Getenv(envServe); driver != "" && os.Getenv("TUTTI_ROLE") != "node" {
		os.Exit(serveAndGoOn(driver))
	}
	coretest.Main(m)
}

// It runs before TestMain, and before a node would join.
var _ = misbehave()

func misbehave() string {
	if os.Getenv("TUTTI_ROLE") != "node" {
		return ""
	}
	mode := os.Getenv(envNode)
	switch mode {
	case "exit":
		os.Exit(3)
	case "start":
		_, err := core.Start(context.Background())
		if errors.Is(err, core.ErrNodeRole) {
			os.Exit(4)
		}
		os.Exit(5)
	case "hang":
		for {
			time.Sleep(time.Hour) // an empty select would look like a deadlock to the runtime
		}
	case "other build":
		core.Register("only there", newProbe, core.Method((*probe).Ping))
	}
	return mode
}

// probe is an actor that does what a test needs.
type probe struct {
	mu      sync.Mutex
	log     []int
	active  int
	highest int
	counts  counts
	kept    []float32
}

// counts says what became of calls of Block.
type counts struct {
	Started, Ended int
	Cause          string
}

// setup is the configuration of a probe.
type setup struct {
	Fail    string
	Panic   string
	Goexit  bool
	Wait    bool          // until the constructor's context ends
	Slow    time.Duration // whatever becomes of the context
	Only    bool          // the failure is that of the first actor to be made on its node
	Padding []float32
}

var firsts sync.Map // setups that Only has seen, by Fail

func newProbe(ctx context.Context, s setup) (*probe, error) {
	if s.Only {
		if _, seen := firsts.LoadOrStore(s.Fail, true); seen {
			return &probe{}, nil
		}
	}
	switch {
	case s.Slow > 0:
		time.Sleep(s.Slow)
		return &probe{}, nil
	case s.Wait:
		<-ctx.Done()
		return &probe{}, nil
	case s.Goexit:
		runtime.Goexit()
	case s.Panic != "":
		panic(s.Panic)
	case s.Fail != "":
		return nil, errors.New(s.Fail)
	}
	return &probe{kept: s.Padding}, nil
}

func (*probe) Ping(context.Context, core.Void) (core.Void, error) { return core.Void{}, nil }

func (*probe) PID(context.Context, core.Void) (int, error) { return os.Getpid(), nil }

func (*probe) Echo(_ context.Context, x []float32) ([]float32, error) { return x, nil }

func (*probe) Sum(_ context.Context, x []float32) (float64, error) {
	var sum float64
	for _, v := range x {
		sum += float64(v)
	}
	return sum, nil
}

// SumKept sums what the configuration held, which is the actor's own: it is also written to.
func (p *probe) SumKept(ctx context.Context, _ core.Void) (float64, error) {
	if len(p.kept) > 0 {
		p.kept[0] = 1
	}
	return p.Sum(ctx, p.kept)
}

// Make returns n bytes.
func (*probe) Make(_ context.Context, n int) ([]byte, error) {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b, nil
}

// Slow waits for a while, unless it is interrupted, and makes something.
func (p *probe) Slow(ctx context.Context, n int) ([]byte, error) {
	select {
	case <-time.After(300 * time.Millisecond):
	case <-ctx.Done():
	}
	return p.Make(ctx, n)
}

func (p *probe) Append(_ context.Context, i int) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, i)
	return len(p.log), nil
}

func (p *probe) Log(context.Context, core.Void) ([]int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]int{}, p.log...), nil
}

// Overlap returns how many calls of it have run at once so far.
func (p *probe) Overlap(context.Context, core.Void) (int, error) {
	p.mu.Lock()
	p.active++
	p.highest = max(p.highest, p.active)
	p.mu.Unlock()
	for range 20 {
		runtime.Gosched()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active--
	return p.highest, nil
}

// Meet returns when n calls of it run at once.
func (p *probe) Meet(ctx context.Context, n int) (core.Void, error) {
	p.mu.Lock()
	p.active++
	p.mu.Unlock()
	for ctx.Err() == nil {
		p.mu.Lock()
		met := p.active >= n
		p.mu.Unlock()
		if met {
			return core.Void{}, nil
		}
		runtime.Gosched()
	}
	return core.Void{}, ctx.Err()
}

func (*probe) Fail(_ context.Context, text string) (core.Void, error) {
	return core.Void{}, errors.New(text)
}

// Relay fails as a call to another actor would.
func (*probe) Relay(context.Context, core.Void) (core.Void, error) {
	return core.Void{}, fmt.Errorf("downstream: %w", core.ErrNodeLost)
}

// Odd fails with an error that has nothing to say.
func (*probe) Odd(context.Context, core.Void) (core.Void, error) {
	var e *oddError
	return core.Void{}, e
}

type oddError struct{ text string }

func (e *oddError) Error() string { return e.text }

func (*probe) Panic(_ context.Context, text string) (core.Void, error) { panic(text) }

func (*probe) Goexit(context.Context, core.Void) (core.Void, error) {
	runtime.Goexit()
	return core.Void{}, nil
}

// Block lasts until its context ends.
func (p *probe) Block(ctx context.Context, _ core.Void) (core.Void, error) {
	p.count(func(c *counts) { c.Started++ })
	<-ctx.Done()
	p.count(func(c *counts) {
		c.Ended++
		c.Cause = context.Cause(ctx).Error()
	})
	return core.Void{}, ctx.Err()
}

// Length returns the length of its argument.
func (*probe) Length(_ context.Context, b []byte) (int, error) { return len(b), nil }

// BlockOn blocks while it holds an argument.
func (p *probe) BlockOn(ctx context.Context, _ []float32) (core.Void, error) {
	return p.Block(ctx, core.Void{})
}

// Stubborn ignores its context.
func (p *probe) Stubborn(_ context.Context, d time.Duration) (core.Void, error) {
	p.count(func(c *counts) { c.Started++ })
	time.Sleep(d)
	p.count(func(c *counts) { c.Ended++ })
	return core.Void{}, nil
}

func (p *probe) count(fn func(*counts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn(&p.counts)
}

func (p *probe) Counts(context.Context, core.Void) (c counts, err error) {
	p.count(func(own *counts) { c = *own })
	return c, nil
}

func (*probe) Remaining(ctx context.Context, _ core.Void) (time.Duration, error) {
	d, ok := ctx.Deadline()
	if !ok {
		return 0, nil
	}
	return time.Until(d), nil
}

// Write writes to its argument.
func (*probe) Write(_ context.Context, x []float32) (float32, error) {
	x[0]++
	return x[0], nil
}

func (*probe) TakeAny(context.Context, any) (core.Void, error)       { return core.Void{}, nil }
func (*probe) TakeChan(context.Context, chan int) (core.Void, error) { return core.Void{}, nil }
func (*probe) TakeFunc(context.Context, func()) (core.Void, error)   { return core.Void{}, nil }
func (*probe) TakeRing(context.Context, *ring) (core.Void, error)    { return core.Void{}, nil }

// Give returns a value of the kind named.
func (*probe) Give(_ context.Context, what string) (any, error) { return unencodable(what), nil }

// GiveRing returns a value that contains itself.
func (*probe) GiveRing(context.Context, core.Void) (*ring, error) { return newRing(), nil }

type ring struct{ Next *ring }

func newRing() *ring {
	r := &ring{}
	r.Next = r
	return r
}

func unencodable(what string) any {
	switch what {
	case "channel":
		return make(chan int)
	case "func":
		return func() {}
	}
	m := map[string]any{}
	m["self"] = m
	return m
}

var probes = core.Register("probe", newProbe,
	core.Method((*probe).Ping), core.Method((*probe).PID), core.Method((*probe).Echo), core.Method((*probe).Sum),
	core.Method((*probe).Make), core.Method((*probe).Slow), core.Method((*probe).Append), core.Method((*probe).Log), core.Method((*probe).Overlap),
	core.Method((*probe).Meet), core.Method((*probe).Fail), core.Method((*probe).Relay), core.Method((*probe).Panic),
	core.Method((*probe).Goexit), core.Method((*probe).Block), core.Method((*probe).Stubborn), core.Method((*probe).Counts),
	core.Method((*probe).Remaining), core.Method((*probe).Write), core.Method((*probe).TakeAny), core.Method((*probe).TakeChan),
	core.Method((*probe).TakeFunc), core.Method((*probe).TakeRing), core.Method((*probe).Give), core.Method((*probe).BlockOn), core.Method((*probe).Odd), core.Method((*probe).Length), core.Method((*probe).SumKept), core.Method((*probe).GiveRing))

// pinger is what kinds may have in common.
type pinger interface {
	Ping(ctx context.Context, in core.Void) (core.Void, error)
}

func newPinger(context.Context, core.Void) (pinger, error) { return &probe{}, nil }

func newNothing(context.Context, core.Void) (pinger, error) { return nil, nil }

var (
	leftPingers  = core.Register("left", newPinger, core.Method(pinger.Ping))
	rightPingers = core.Register("right", newPinger, core.Method(pinger.Ping))
	nothings     = core.Register("nothing", newNothing, core.Method(pinger.Ping))
	anyConfigs   = core.Register("any config", func(context.Context, any) (*probe, error) { return &probe{}, nil },
		core.Method((*probe).Ping))
)

// eachSystem runs a test with nodes in this process and with nodes in processes of their own.
func eachSystem(t *testing.T, nodes int, test func(t *testing.T, sys *core.System)) {
	t.Run("in process", func(t *testing.T) { test(t, coretest.Start(t, core.InProcess(nodes))) })
	t.Run("processes", func(t *testing.T) { test(t, coretest.Start(t, core.LocalNodes(nodes))) })
}

func spawn(t testing.TB, sys *core.System, n int, opts ...core.SpawnOption) []*core.Handle[*probe] {
	t.Helper()
	actors, err := probes.Spawn(t.Context(), sys, n, setup{}, opts...)
	require.NoError(t, err)
	return actors
}

// submit calls a method of all actors.
func submit[In, Out any](
	ctx context.Context, t testing.TB, actors []*core.Handle[*probe], f func(*probe, context.Context, In) (Out, error), in In,
) *core.Slots {
	t.Helper()
	targets, err := core.NewTargets(actors)
	require.NoError(t, err)
	s, err := core.Submit(ctx, targets, f, in, core.FailFast)
	require.NoError(t, err)
	return s
}

// get waits for one result, which must not be an error.
func get[T any](t testing.TB, ref *core.Ref[T]) T {
	t.Helper()
	v, err := ref.Get(bounded(t))
	require.NoError(t, err)
	return v
}

// bounded returns a context that ends before the patience of the test does.
func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits for something to become true.
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

// unleaked checks at the end that the object store is as empty as before.
func unleaked(t testing.TB, sys *core.System) {
	t.Helper()
	before := sys.Stats()
	t.Cleanup(func() {
		eventually(t, fmt.Sprintf("no more objects than %+v", before.Objects), func() bool {
			runtime.GC()
			now := sys.Stats()
			return now.Objects.Objects == before.Objects.Objects && now.Objects.Pinned == before.Objects.Pinned && now.Calls == 0
		})
	})
}

// sessionDirs returns the directories of live systems.
func sessionDirs(t testing.TB) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(os.Getenv(core.EnvRunDir), "s*"))
	require.NoError(t, err)
	return dirs
}
