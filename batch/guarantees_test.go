// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package batch_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// What doc.go promises and no other test here holds. docs/guarantees.md lists which test holds what.

// once is an argument that counts how often it is encoded.
type once struct{ times *atomic.Int64 }

func (o once) MarshalBinary() ([]byte, error) {
	o.times.Add(1)
	return []byte{1}, nil
}

func (*once) UnmarshalBinary([]byte) error { return nil }

// stage is where calls of players in this process meet the test.
type stage struct {
	entered chan core.Void // a token for each call that runs
	ended   chan error     // the cause of its context's end
	open    chan core.Void // closed to let calls go on
	sums    chan float64   // what was read then
	ran     chan string    // calls of Say, in order

	mu   sync.Mutex
	kept []context.Context // of calls of Say
}

var stages sync.Map // by name of the test

func newStage(t *testing.T, calls int) (*stage, string) {
	s := &stage{
		entered: make(chan core.Void, calls), ended: make(chan error, calls), open: make(chan core.Void),
		sums: make(chan float64, calls), ran: make(chan string, calls),
	}
	stages.Store(t.Name(), s)
	t.Cleanup(func() { stages.Delete(t.Name()) })
	return s, t.Name()
}

// player is an actor that does what a test on the same stage lets it do.
type player struct{ *stage }

func newPlayer(_ context.Context, name string) (*player, error) {
	s, _ := stages.Load(name)
	own, ok := s.(*stage)
	if !ok {
		return nil, errors.New("no stage")
	}
	return &player{own}, nil
}

func (*player) Take(context.Context, once) (core.Void, error) { return core.Void{}, nil }

// Await runs until its context ends.
func (p *player) Await(ctx context.Context, _ core.Void) (core.Void, error) {
	p.entered <- core.Void{}
	<-ctx.Done()
	p.ended <- context.Cause(ctx)
	return core.Void{}, ctx.Err()
}

// Hold reads its argument when it is let go on, whatever becomes of its context.
func (p *player) Hold(_ context.Context, x []float32) (float64, error) {
	p.entered <- core.Void{}
	<-p.open
	var sum float64
	for _, v := range x {
		sum += float64(v)
	}
	p.sums <- sum
	return sum, nil
}

// Say leaves a word, and its context.
func (p *player) Say(ctx context.Context, word string) (core.Void, error) {
	if word == "panic" {
		panic("as told")
	}
	p.mu.Lock()
	p.kept = append(p.kept, ctx)
	p.mu.Unlock()
	p.ran <- word
	return core.Void{}, nil
}

// Part leaves its context. The first call returns at once, the others when they are let go on.
func (p *player) Part(ctx context.Context, _ core.Void) (core.Void, error) {
	p.mu.Lock()
	first := len(p.kept) == 0
	p.kept = append(p.kept, ctx)
	p.mu.Unlock()
	if ctx.Err() == nil && !first {
		<-p.open
	}
	return core.Void{}, nil
}

var players = core.Register("batch_test.player", newPlayer,
	core.Method((*player).Take), core.Method((*player).Await), core.Method((*player).Hold), core.Method((*player).Say), core.Method((*player).Part))

func play(t *testing.T, sys *core.System, name string, n int, opts ...core.SpawnOption) []*core.Handle[*player] {
	t.Helper()
	actors, err := players.Spawn(t.Context(), sys, n, name, opts...)
	require.NoError(t, err)
	return actors
}

func TestTheArgumentOfABatchIsEncodedOnce(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(6), core.SimulatedHosts(3), core.FanOut(2))
	_, name := newStage(t, 1)
	r := batch.New(play(t, sys, name, 60))
	in := once{new(atomic.Int64)}
	refs, err := batch.Call(t.Context(), r, (*player).Take, in)
	require.NoError(t, err)
	require.NoError(t, refs.Err(bounded(t)))
	require.EqualValues(t, 1, in.times.Load())
	ref, err := core.Put(t.Context(), sys, in)
	require.NoError(t, err)
	defer ref.Release()
	refs, err = batch.CallRef(t.Context(), r, (*player).Take, ref)
	require.NoError(t, err)
	require.NoError(t, refs.Err(bounded(t)))
	require.EqualValues(t, 2, in.times.Load(), "once more by Put")
}

// The step between a copy for each and one view for all lies at core.InlineMax for all actors of the fullest node together.
func TestTheFullestNodeDecidesBetweenCopiesAndAView(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	first, err := workers.Spawn(t.Context(), sys, 4, core.Void{}, core.OnNodes(1))
	require.NoError(t, err)
	second, err := workers.Spawn(t.Context(), sys, 1, core.Void{}, core.OnNodes(2))
	require.NoError(t, err)
	all := append(first, second...)
	const most = core.InlineMax / 4 / 4 // elements of 4 bytes for 4 actors
	for _, tt := range []struct {
		actors []*core.Handle[*worker]
		n      int
		view   bool
	}{
		{all, most - 8, false}, // the rest is for what is not data
		{all, most + 1, true},
		{second, most + 1, false},
		{second, 4*most - 8, false},
		{second, 4*most + 1, true},
	} {
		refs, err := batch.Call(t.Context(), batch.New(tt.actors), (*worker).Write, ones(tt.n))
		require.NoError(t, err)
		for i := range tt.actors {
			value, err := refs.At(i).Get(bounded(t))
			if tt.view {
				require.ErrorIs(t, err, core.ErrReadOnly)
				continue
			}
			require.NoError(t, err)
			require.InDelta(t, 2, value, 0, "nobody else has written to it")
		}
	}
	ref, err := core.Put(t.Context(), sys, ones(3))
	require.NoError(t, err)
	defer ref.Release()
	refs, err := batch.CallRef(t.Context(), batch.New(second), (*worker).Write, ref)
	require.NoError(t, err)
	require.ErrorIs(t, refs.Err(bounded(t)), core.ErrReadOnly, "an object is a view, whatever its size")
	nothingWaits(t, sys)
}

// nothingWaits waits until no call is under way.
func nothingWaits(t *testing.T, sys *core.System) {
	t.Helper()
	eventually(t, "no call is under way", func() bool { return sys.Stats().Calls == 0 })
}

// A view is there until its method returns, though its call was given up and its room is wanted.
func TestAViewLastsUntilItsMethodReturns(t *testing.T) {
	const n = 1 << 20 // elements: 4 MiB
	sys := coretest.Start(t, core.InProcess(1), core.StoreLimit(8<<20))
	s, name := newStage(t, 1)
	r := batch.New(play(t, sys, name, 1))
	refs, err := batch.Call(t.Context(), r, (*player).Hold, ones(n))
	require.NoError(t, err)
	<-s.entered
	refs.Cancel()
	require.ErrorIs(t, refs.Err(bounded(t)), context.Canceled)
	refs.Release()
	other := make([]float32, n/4)
	for range 12 { // three times the room
		ref, err := core.Put(t.Context(), sys, other)
		if err != nil {
			require.ErrorIs(t, err, core.ErrNoSpace)
			continue
		}
		ref.Release()
	}
	close(s.open)
	require.InDelta(t, n, <-s.sums, 0)
	nothingIsLeft(t, sys)
}

func TestResultsBelongToWhoGetsThem(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		r := batch.New(spawn(t, sys, 4))
		for _, n := range []int{10, 1 << 20} {
			refs, err := batch.Call(t.Context(), r, (*worker).Make, n)
			require.NoError(t, err)
			values, err := refs.Get(bounded(t))
			require.NoError(t, err)
			values[0][0] = 42
			require.Zero(t, values[1][0], "though they were equal")
			again, err := refs.Get(bounded(t))
			require.NoError(t, err)
			require.Zero(t, again[0][0])
			refs.Release()
		}
	})
}

func TestRemotesAndRefsAreSafeForConcurrentUse(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	r := batch.New(spawn(t, sys, 8, core.Concurrency(8)), batch.BestEffort)
	var users sync.WaitGroup
	for u := range 4 {
		users.Go(func() {
			for i := range 20 {
				refs, err := batch.Call(t.Context(), r, (*worker).OnlyEven, core.Void{}, batch.Timeout(time.Duration(u+1)*time.Minute), batch.Quorum(u+1))
				if err != nil {
					t.Error(err)
					return
				}
				var readers sync.WaitGroup
				readers.Go(func() { _, _ = refs.Get(t.Context()) })
				readers.Go(func() {
					seen := 0
					for range refs.Stream(t.Context()) {
						seen++
					}
					if seen != 8 {
						t.Errorf("%d answers of 8", seen)
					}
				})
				readers.Go(func() { _, _ = refs.First(t.Context(), 3) })
				readers.Go(func() { _, _ = refs.Succeeded(t.Context(), 4) })
				readers.Go(func() { _ = refs.At(i % 8).Err(t.Context()) })
				if i%3 == 0 {
					readers.Go(refs.Cancel)
				}
				readers.Go(refs.Release)
				readers.Wait()
				_ = refs.Stats()
			}
		})
	}
	users.Wait()
	nothingWaits(t, sys)
}

func TestAPanicFailsItsSlotAlone(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	_, name := newStage(t, 4)
	actors := play(t, sys, name, 4)
	refs, err := batch.CallEach(t.Context(), batch.New(actors), (*player).Say, []string{"a", "b", "panic", "c"})
	require.NoError(t, err)
	for i := range actors {
		err := refs.At(i).Err(bounded(t))
		if i != 2 {
			require.NoError(t, err)
			continue
		}
		own, ok := errors.AsType[*core.ActorError](err)
		require.True(t, ok)
		require.Equal(t, "as told", own.Message)
		require.Contains(t, own.Stack, "(*player).Say")
	}
	require.NoError(t, core.Call(t.Context(), actors[2], (*player).Say, "again").Err(bounded(t)), "without restarts the actor goes on")
}

func TestAKilledActorFailsItsSlotsAlone(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	s, name := newStage(t, 4)
	actors := play(t, sys, name, 2)
	r := batch.New(actors)
	running, err := batch.Call(t.Context(), r, (*player).Await, core.Void{})
	require.NoError(t, err)
	<-s.entered
	<-s.entered
	waiting, err := batch.Call(t.Context(), r, (*player).Say, "not by the dead")
	require.NoError(t, err)
	require.NoError(t, actors[0].Kill(bounded(t)))
	require.ErrorIs(t, <-s.ended, core.ErrActorDead, "the context of the call that ran")
	require.ErrorIs(t, running.At(0).Err(bounded(t)), core.ErrActorDead)
	require.ErrorIs(t, waiting.At(0).Err(bounded(t)), core.ErrActorDead)
	require.Equal(t, 2, sys.Stats().Pending, "those of the other go on")
	running.Cancel()
	require.NoError(t, waiting.At(1).Err(bounded(t)))
	require.Len(t, s.ran, 1)
}

func TestTheEndOfTheContextEndsABatchAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := coretest.Start(t, core.InProcess(2))
		s, name := newStage(t, 8)
		actors := play(t, sys, name, 2)
		r := batch.New(actors)
		runs, stop := context.WithCancelCause(t.Context())
		waits, drop := context.WithCancelCause(t.Context())
		running, err := batch.Call(runs, r, (*player).Await, core.Void{})
		require.NoError(t, err)
		waiting, err := batch.Call(waits, r, (*player).Say, "too late")
		require.NoError(t, err)
		synctest.Wait()
		why := errors.New("changed my mind")
		drop(why)
		synctest.Wait() // what waits is dropped before what runs makes room for it; no time passes
		stop(why)
		synctest.Wait()
		for _, refs := range []*batch.Refs[core.Void]{running, waiting} {
			for i := range actors {
				err := refs.At(i).Err(t.Context())
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, why)
			}
		}
		require.ErrorIs(t, <-s.ended, context.Canceled)
		require.ErrorIs(t, <-s.ended, context.Canceled)
		again, err := batch.Call(t.Context(), r, (*player).Say, "later")
		require.NoError(t, err)
		require.NoError(t, again.Err(t.Context()))
		require.Equal(t, "later", <-s.ran, "what waited did not run")
		require.Equal(t, "later", <-s.ran)
		require.Empty(t, s.ran)
		for _, kept := range s.kept {
			require.Error(t, kept.Err(), "a call's context ends when its method returns")
		}
	})
}

// The other calls of the batch go on.
func TestACallsContextEndsWhenItsMethodReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := coretest.Start(t, core.InProcess(1))
		s, name := newStage(t, 2)
		refs, err := batch.Call(t.Context(), batch.New(play(t, sys, name, 2)), (*player).Part, core.Void{})
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, s.kept, 2)
		require.ErrorIs(t, s.kept[0].Err(), context.Canceled)
		require.NoError(t, s.kept[1].Err(), "it runs")
		close(s.open)
		for _, r := range refs.Stream(t.Context()) {
			require.NoError(t, r.Err)
		}
		synctest.Wait()
		require.ErrorIs(t, s.kept[1].Err(), context.Canceled)
	})
}

// Whatever ends, an answer that is there stays.
func TestAnAnswerThatIsThereStays(t *testing.T) {
	sys, err := core.Start(t.Context(), core.LocalNodes(2))
	require.NoError(t, err)
	actors := spawn(t, sys, 4)
	ctx, cancel := context.WithCancel(t.Context())
	refs, err := batch.Call(ctx, batch.New(actors), (*worker).BlockOdd, core.Void{})
	require.NoError(t, err)
	check := func(what string) {
		t.Helper()
		for i := 0; i < len(actors); i += 2 {
			n, err := refs.At(i).Get(bounded(t))
			require.NoError(t, err, what)
			require.Equal(t, i, n, what)
		}
	}
	_, err = refs.First(bounded(t), 2)
	require.NoError(t, err)
	check("at first")
	require.NoError(t, actors[0].Kill(bounded(t)))
	check("the actor was killed")
	coretest.KillNode(t, sys, actors[2].Node())
	require.ErrorIs(t, refs.At(3).Err(bounded(t)), core.ErrNodeLost)
	check("the node is lost")
	cancel()
	require.ErrorIs(t, refs.At(1).Err(bounded(t)), context.Canceled)
	check("the context has ended")
	refs.Cancel()
	check("it was cancelled")
	require.NoError(t, sys.Shutdown(bounded(t)))
	check("the system has ended")
	require.ErrorIs(t, refs.At(3).Err(bounded(t)), core.ErrNodeLost, "errors stay, too")
}

func TestSlotsThatWereNotSubmittedAreTheFirstOfAll(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	actors := spawn(t, sys, 4)
	coretest.KillNode(t, sys, actors[0].Node())
	refs, err := batch.Call(t.Context(), batch.New(actors, batch.BestEffort), (*worker).Number, core.Void{})
	require.NoError(t, err)
	first, err := refs.First(bounded(t), 4)
	require.NoError(t, err)
	for i, res := range first {
		if i < 2 {
			require.ErrorIs(t, res.Err, core.ErrNodeLost)
		} else {
			require.NoError(t, res.Err)
		}
	}
	values, err := refs.Succeeded(bounded(t), 2)
	require.NoError(t, err)
	require.Len(t, values, 2)
}

// A cast that finds no room, or whose deadline passes before its turn, does not run, and only the counters tell.
func TestCastsThatDoNotRunAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := coretest.Start(t, core.InProcess(1))
		s, name := newStage(t, 8)
		actors := play(t, sys, name, 1, core.Mailbox(2))
		r := batch.New(actors, batch.NoReply)
		running, err := batch.Call(t.Context(), batch.New(actors), (*player).Await, core.Void{})
		require.NoError(t, err)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, c := range []struct {
			ctx  context.Context
			word string
		}{{t.Context(), "has room"}, {short, "has a second"}, {t.Context(), "has no room"}} {
			refs, err := batch.Call(c.ctx, r, (*player).Say, c.word)
			require.NoError(t, err)
			require.NoError(t, refs.Err(t.Context()), "it was submitted")
		}
		time.Sleep(2 * time.Second) // virtual
		running.Cancel()
		synctest.Wait()
		require.Equal(t, "has room", <-s.ran)
		require.Empty(t, s.ran)
		stats, err := sys.NodeStats(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 3, stats[0].Casts)
		require.EqualValues(t, 2, stats[0].CastsFailed)
	})
}

// The caller's own clock ends its wait, whatever the nodes do about the deadline.
func TestATimeoutDoesNotWaitForMethodsThatIgnoreIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := coretest.Start(t, core.InProcess(2))
		s, name := newStage(t, 2)
		r := batch.New(play(t, sys, name, 2), batch.Timeout(time.Second))
		start := time.Now()
		refs, err := batch.Call(t.Context(), r, (*player).Hold, ones(3))
		require.NoError(t, err)
		require.ErrorIs(t, refs.Err(t.Context()), context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
		close(s.open)
	})
}
