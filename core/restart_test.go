// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestBackoffDoublesUpToItsBound(t *testing.T) {
	for n, want := range []time.Duration{0, 0, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
		require.Equal(t, want, core.Backoff(n))
	}
	require.Equal(t, 10*time.Second, core.Backoff(9))
	require.Equal(t, 10*time.Second, core.Backoff(1<<30))
}

func one(t *testing.T, sys *core.System, opts ...core.SpawnOption) *core.Handle[*probe] {
	t.Helper()
	return spawn(t, sys, 1, opts...)[0]
}

func TestAnActorThatPanicsIsMadeAnew(t *testing.T) {
	eachSystem(t, 1, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		for _, how := range []string{"panic", "goexit"} {
			a := one(t, sys, core.Restarts(2))
			for range 2 {
				get(t, core.Call(t.Context(), a, (*probe).Append, 1))
				var err error
				if how == "panic" {
					err = core.Call(t.Context(), a, (*probe).Panic, "on purpose").Err(bounded(t))
				} else {
					err = core.Call(t.Context(), a, (*probe).Goexit, core.Void{}).Err(bounded(t))
				}
				var own *core.ActorError
				require.ErrorAs(t, err, &own, "the call that did it has the actor's own error")
				require.Empty(t, get(t, core.Call(t.Context(), a, (*probe).Log, core.Void{})), "the state is new, the handle is not")
			}
			require.Error(t, core.Call(t.Context(), a, (*probe).Panic, "once too often").Err(bounded(t)))
			require.ErrorIs(t, core.Call(t.Context(), a, (*probe).Log, core.Void{}).Err(bounded(t)), core.ErrActorDead)
		}
		stats, err := sys.NodeStats(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(4), stats[0].Restarts)
		require.Zero(t, stats[0].Actors)
	})
}

func TestWithoutRestartsAPanicIsAnError(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	a := one(t, sys)
	get(t, core.Call(t.Context(), a, (*probe).Append, 1))
	require.Error(t, core.Call(t.Context(), a, (*probe).Panic, "on purpose").Err(bounded(t)))
	require.Equal(t, []int{1}, get(t, core.Call(t.Context(), a, (*probe).Log, core.Void{})))
}

func TestConfigurationsAreKeptForRestarts(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		for _, n := range []int{small, large} {
			actors, err := probes.Spawn(t.Context(), sys, 4, setup{Padding: ones(n)}, core.Restarts(1))
			require.NoError(t, err)
			for _, a := range actors {
				require.InDelta(t, n, get(t, core.Call(t.Context(), a, (*probe).SumKept, core.Void{})), 0)
				require.Error(t, core.Call(t.Context(), a, (*probe).Panic, "on purpose").Err(bounded(t)))
				require.InDelta(t, n, get(t, core.Call(t.Context(), a, (*probe).SumKept, core.Void{})), 0)
				require.NoError(t, a.Kill(t.Context()))
				require.ErrorIs(t, core.Call(t.Context(), a, (*probe).Ping, core.Void{}).Err(bounded(t)), core.ErrActorDead, "killed is killed")
			}
		}
	})
}

// A call that waits at a dying actor fails, and is run anew only if it was marked.
func TestCallsThatWaitAtADyingActor(t *testing.T) {
	eachSystem(t, 1, func(t *testing.T, sys *core.System) {
		a := one(t, sys, core.Restarts(1))
		targets, err := core.NewTargets([]*core.Handle[*probe]{a})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		blocked := submit(ctx, t, []*core.Handle[*probe]{a}, (*probe).Block, core.Void{})
		deadly := submit(t.Context(), t, []*core.Handle[*probe]{a}, (*probe).Panic, "on purpose")
		plain := submit(t.Context(), t, []*core.Handle[*probe]{a}, (*probe).Append, 1)
		marked, err := core.Submit(t.Context(), targets, (*probe).Append, 2, core.Idempotent())
		require.NoError(t, err)
		eventually(t, "all wait", func() bool {
			stats, err := sys.NodeStats(t.Context())
			require.NoError(t, err)
			return stats[0].Waiting == 3
		})
		cancel()
		for _, s := range []*core.Slots{blocked, deadly, plain, marked} {
			require.NoError(t, s.Wait(bounded(t), 1))
		}
		require.ErrorIs(t, plain.Err(0), core.ErrActorDead)
		require.ErrorContains(t, plain.Err(0), "it panicked in probe.Panic: on purpose")
		require.ErrorIs(t, plain.Err(0), core.ErrMadeAnew)
		require.False(t, core.Gone(plain.Err(0)), "it is back")
		require.NoError(t, marked.Err(0))
		require.Equal(t, []int{2}, get(t, core.Call(t.Context(), a, (*probe).Log, core.Void{})))
	})
}

// Of calls that run beside the one that panics, those that are marked run once more.
func TestCallsThatRunOnADyingActor(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	a := one(t, sys, core.Restarts(1), core.Concurrency(3))
	targets, err := core.NewTargets([]*core.Handle[*probe]{a})
	require.NoError(t, err)
	plain := submit(t.Context(), t, []*core.Handle[*probe]{a}, (*probe).Block, core.Void{})
	marked, err := core.Submit(t.Context(), targets, (*probe).Block, core.Void{}, core.Idempotent())
	require.NoError(t, err)
	eventually(t, "both run", func() bool {
		return get(t, core.Call(t.Context(), a, (*probe).Counts, core.Void{})).Started == 2
	})
	require.Error(t, core.Call(t.Context(), a, (*probe).Panic, "on purpose").Err(bounded(t)))
	require.NoError(t, plain.Wait(bounded(t), 1))
	require.ErrorIs(t, plain.Err(0), core.ErrActorDead)
	eventually(t, "the marked one runs again", func() bool {
		return get(t, core.Call(t.Context(), a, (*probe).Counts, core.Void{})).Started == 1
	})
	_, done := marked.Completed(0)
	require.False(t, done)
	marked.Cancel(context.Canceled)
}

// inVirtualTime runs a test with a system of one node in virtual time.
func inVirtualTime(t *testing.T, test func(t *testing.T, sys *core.System)) {
	synctest.Test(t, func(t *testing.T) {
		sys, err := core.Start(t.Context(), core.InProcess(1))
		require.NoError(t, err)
		defer func() { require.NoError(t, sys.Shutdown(context.WithoutCancel(t.Context()))) }()
		test(t, sys)
	})
}

func TestAConstructorThatFailsAgainIsADeath(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, sys *core.System) {
		a := spawnMortal(t, sys, 2, 3) // its second and third life fail
		start := time.Now()
		require.Error(t, core.Call(t.Context(), a, (*mortal).Panic, core.Void{}).Err(t.Context()))
		require.Equal(t, 4, get(t, core.Call(t.Context(), a, (*mortal).Life, core.Void{})), "the call waits for it")
		require.Equal(t, 300*time.Millisecond, time.Since(start), "100 ms after the second death, 200 ms after the third")

		b := spawnMortal(t, sys, 9, 2)
		require.Error(t, core.Call(t.Context(), b, (*mortal).Panic, core.Void{}).Err(t.Context()))
		err := core.Call(t.Context(), b, (*mortal).Life, core.Void{}).Err(t.Context())
		require.ErrorIs(t, err, core.ErrActorDead)
	})
}

func TestAnActorThatIsBeingMadeAnewCanBeKilled(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, sys *core.System) {
		a := spawnMortal(t, sys, 1000, 1000)
		start := time.Now()
		require.Error(t, core.Call(t.Context(), a, (*mortal).Panic, core.Void{}).Err(t.Context()))
		waits := core.Call(t.Context(), a, (*mortal).Life, core.Void{})
		time.Sleep(time.Minute)
		require.NoError(t, a.Kill(t.Context()))
		require.ErrorIs(t, waits.Err(t.Context()), core.ErrActorDead)
		require.Equal(t, time.Minute, time.Since(start))
		begun := livesBegun(t, 1000)
		require.Greater(t, begun, 5)
		time.Sleep(time.Hour)
		require.Equal(t, begun, livesBegun(t, 1000), "its next life does not begin")
	})
}

// mortal fails to live for some lives after its first.
type mortal struct{ life int }

// lives counts the lives of the mortals of tests that run, by the names of these.
var lives struct {
	sync.Mutex
	of map[string]int
}

type mortality struct {
	Name     string
	Failures int
}

// spawnMortal makes an actor whose lives after the first fail so often.
func spawnMortal(t *testing.T, sys *core.System, failures, restarts int) *core.Handle[*mortal] {
	t.Helper()
	name := fmt.Sprint(t.Name(), failures)
	t.Cleanup(func() {
		lives.Lock()
		defer lives.Unlock()
		delete(lives.of, name)
	})
	a, err := mortals.Spawn(t.Context(), sys, 1, mortality{name, failures}, core.Restarts(restarts))
	require.NoError(t, err)
	return a[0]
}

// livesBegun is how often the constructor of such an actor has run.
func livesBegun(t *testing.T, failures int) int {
	t.Helper()
	lives.Lock()
	defer lives.Unlock()
	return lives.of[fmt.Sprint(t.Name(), failures)]
}

func newMortal(_ context.Context, m mortality) (*mortal, error) {
	lives.Lock()
	defer lives.Unlock()
	if lives.of == nil {
		lives.of = map[string]int{}
	}
	lives.of[m.Name]++
	if n := lives.of[m.Name]; n > 1 && n <= 1+m.Failures {
		panic("not yet")
	}
	return &mortal{lives.of[m.Name]}, nil
}

func (m *mortal) Life(context.Context, core.Void) (int, error) { return m.life, nil }

func (*mortal) Panic(context.Context, core.Void) (core.Void, error) { panic("on purpose") }

var mortals = core.Register("mortal", newMortal, core.Method((*mortal).Life), core.Method((*mortal).Panic))
