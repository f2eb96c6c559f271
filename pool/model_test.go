// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/pool"
)

// Scene is what Play does.
type Scene struct {
	Run int64 // of the test
	ID  int
	Do  string // "answer", "fail", "panic", "slow" or "block"

	Again bool // may be played more than once
}

func (s Scene) options() []pool.CallOption {
	if s.Again && s.ID%2 == 0 {
		return []pool.CallOption{pool.Hedge(20 * time.Microsecond)}
	}
	if s.Again {
		return []pool.CallOption{pool.Idempotent}
	}
	return nil
}

// stages count how often each scene of a run was played, in this process.
var stages sync.Map

var errPlay = errors.New("played badly")

// Play does what the scene says and counts it.
func (w *worker) Play(ctx context.Context, s Scene) (int, error) {
	v, _ := stages.Load(s.Run)
	played, ok := v.([]atomic.Int64)
	if !ok {
		return 0, errors.New("no stage")
	}
	played[s.ID].Add(1)
	switch s.Do {
	case "fail":
		return 0, errPlay
	case "panic":
		panic("played badly")
	case "slow":
		for range 200 {
			runtime.Gosched()
		}
	case "block":
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return s.ID, nil
}

// outcome is how a scene ended for its caller.
type outcome struct {
	value     int
	err       error
	cancelled bool // by the test
}

// model is what the pool is compared with: the sequential meaning of every scene, and what may befall it.
type model struct {
	scenes   []Scene
	outcomes []outcome
	played   []atomic.Int64
	killed   bool // some actor was
	closed   bool // the pool was, before the end
}

func (m *model) check(t *testing.T) {
	t.Helper()
	for i, s := range m.scenes {
		o, played := m.outcomes[i], m.played[i].Load()
		what := fmt.Sprintf("scene %d %q played %d times: %v", i, s.Do, played, o.err)
		most := int64(1)
		if s.Again {
			most = 2 // by a hedge
		}
		if s.Again && m.killed {
			most = 6
		}
		require.LessOrEqual(t, played, most, what)
		var e *core.ActorError
		switch {
		case o.err == nil:
			require.Contains(t, []string{"answer", "slow"}, s.Do, what)
			require.Equal(t, i, o.value, what)
			require.Positive(t, played, what)
		case errors.Is(o.err, pool.ErrClosed):
			require.True(t, m.closed, what)
		case errors.Is(o.err, context.Canceled):
			require.True(t, o.cancelled, what)
		case errors.Is(o.err, core.ErrNoActors):
			require.True(t, m.killed, what)
			require.True(t, played == 0 || s.Again, what)
		case core.Gone(o.err):
			require.True(t, m.killed, what)
		case errors.As(o.err, &e):
			require.Contains(t, []string{"fail", "panic"}, s.Do, what)
			require.Equal(t, s.Do == "panic", e.Stack != "", what)
			require.Positive(t, played, what)
		default:
			require.NoError(t, o.err, what)
		}
	}
}

// TestEverySceneIsAccountedForOnce lets several users submit and map random scenes, with random cancels and deaths, and
// compares what they saw with the model.
func TestEverySceneIsAccountedForOnce(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 8
	}
	for round := range rounds {
		seed := uint64(round)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { play(t, seed) })
	}
}

const (
	users = 4
	each  = 60
)

func play(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	actors := 1 + rng.IntN(6)
	p, h := newPool(t, actors, pool.InFlight(1+rng.IntN(3)), pool.Queue(1+rng.IntN(20)))
	m := &model{
		scenes: make([]Scene, users*each), outcomes: make([]outcome, users*each), played: make([]atomic.Int64, users*each),
		killed: rng.IntN(2) == 0, closed: rng.IntN(5) == 0,
	}
	run := rng.Int64()
	stages.Store(run, m.played)
	defer stages.Delete(run)
	for i := range m.scenes {
		m.scenes[i] = Scene{Run: run, ID: i, Do: []string{"answer", "answer", "answer", "fail", "panic", "slow", "block"}[rng.IntN(7)]}
		m.scenes[i].Again = rng.IntN(3) == 0
	}
	var wg sync.WaitGroup
	for u := range users {
		seed := rng.Uint64()
		mine, out := m.scenes[u*each:(u+1)*each], m.outcomes[u*each:(u+1)*each]
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 2))
			if u%2 == 0 {
				submitAll(t, p, rng, mine, out)
			} else {
				mapAll(t, p, rng, mine, out)
			}
		})
	}
	if m.killed {
		for range 1 + rng.IntN(actors) {
			for range rng.IntN(2000) {
				runtime.Gosched()
			}
			require.NoError(t, h[rng.IntN(actors)].Kill(t.Context()))
		}
	}
	if m.closed {
		p.Close()
	}
	wg.Wait()
	m.check(t)
	require.Zero(t, p.Stats().Waiting)
	require.Zero(t, p.Stats().Blocked)
}

// submitAll submits scenes and cancels some of them: all that block, and some that do not, at any moment.
func submitAll(t *testing.T, p *pool.Pool[*worker], rng *rand.Rand, scenes []Scene, out []outcome) {
	var wg sync.WaitGroup
	for i, s := range scenes {
		ctx, cancel := context.WithCancel(t.Context())
		if s.Do == "block" || rng.IntN(4) == 0 {
			out[i].cancelled = true
			wait := rng.IntN(300)
			wg.Go(func() {
				for range wait {
					runtime.Gosched()
				}
				cancel()
			})
		}
		ref := pool.Submit(ctx, p, (*worker).Play, s, s.options()...)
		wg.Go(func() {
			defer cancel()
			out[i].value, out[i].err = ref.Get(t.Context())
		})
	}
	wg.Wait()
}

// mapAll maps scenes that do not block, in order or not, in pieces that end by themselves, with their context, or because the loop is left.
func mapAll(t *testing.T, p *pool.Pool[*worker], rng *rand.Rand, scenes []Scene, out []outcome) {
	for i := range scenes {
		if scenes[i].Do == "block" {
			scenes[i].Do = "slow"
		}
	}
	for len(scenes) > 0 {
		n := 1 + rng.IntN(len(scenes))
		taken := mapSome(t, p, rng, scenes[:n], out[:n])
		scenes, out = scenes[taken:], out[taken:]
	}
}

// mapSome maps scenes and returns how many were taken.
func mapSome(t *testing.T, p *pool.Pool[*worker], rng *rand.Rand, scenes []Scene, out []outcome) int {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	taken, yielded := 0, 0
	cancelAt, leaveAt := rng.IntN(3*len(scenes)), rng.IntN(3*len(scenes))+1
	seq := func(yield func(Scene) bool) {
		for _, s := range scenes {
			if taken == cancelAt {
				cancel()
			}
			taken++
			if !yield(s) {
				return
			}
		}
	}
	seen := make([]bool, len(scenes))
	take := func(i, v int, err error) bool {
		if seen[i] {
			t.Errorf("item %d came twice", i)
		}
		seen[i] = true
		out[i] = outcome{value: v, err: err, cancelled: ctx.Err() != nil}
		yielded++
		return yielded != leaveAt
	}
	opts := scenes[0].options()
	for i := range scenes {
		scenes[i].Again = scenes[0].Again
	}
	ordered := rng.IntN(2) == 0
	if ordered {
		i := 0
		for v, err := range pool.Map(ctx, p, (*worker).Play, seq, opts...) {
			if !take(i, v, err) {
				break
			}
			i++
		}
	} else {
		for r, err := range pool.MapUnordered(ctx, p, (*worker).Play, seq, opts...) {
			if !take(r.Index, r.Value, err) {
				break
			}
		}
	}
	if yielded != leaveAt && yielded != taken {
		t.Errorf("%d items were taken and %d yielded", taken, yielded)
	}
	for i := range taken { // what the loop did not want any more
		if !seen[i] {
			out[i] = outcome{err: context.Canceled, cancelled: true}
		}
	}
	return taken
}
