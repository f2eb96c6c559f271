// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package batch_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestABatchAnswersInTheOrderOfItsActors(t *testing.T) {
	eachSystem(t, 3, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, 100)
		slices.Reverse(actors)
		r := batch.New(actors)
		require.Equal(t, 100, r.Len())
		refs, err := batch.Call(t.Context(), r, (*worker).Number, core.Void{})
		require.NoError(t, err)
		require.Equal(t, 100, refs.Len())
		numbers, err := refs.Get(bounded(t))
		require.NoError(t, err)
		for i, n := range numbers {
			require.Equal(t, 99-i, n)
		}
		for i, ref := range refs.Refs() {
			n, err := ref.Get(bounded(t))
			require.NoError(t, err)
			require.Equal(t, numbers[i], n)
			n, err = refs.At(i).Get(bounded(t))
			require.NoError(t, err)
			require.Equal(t, numbers[i], n)
		}
		require.Panics(t, func() { refs.At(-1) })
		require.Panics(t, func() { refs.At(100) })
		require.Equal(t, 3, refs.Stats().Messages, "one for each node")
		require.Positive(t, refs.Stats().Complete)
	})
}

func TestALargeArgumentIsStoredOnceAndShared(t *testing.T) {
	eachSystem(t, 3, func(t *testing.T, sys *core.System) {
		r := batch.New(spawn(t, sys, 30))
		x := ones(1 << 18)
		refs, err := batch.Call(t.Context(), r, (*worker).Sum, x)
		require.NoError(t, err)
		clear(x) // it may be changed as soon as Call returns
		sums, err := refs.Get(bounded(t))
		require.NoError(t, err)
		for _, sum := range sums {
			require.InDelta(t, 1<<18, sum, 0)
		}
		require.Less(t, refs.Stats().Bytes, int64(1<<20+4096), "it did not travel with every message")
		nothingIsLeft(t, sys)

		refs2, err := batch.Call(t.Context(), r, (*worker).Write, ones(1<<18))
		require.NoError(t, err)
		_, err = refs2.Get(bounded(t))
		require.ErrorIs(t, err, core.ErrReadOnly)
		nothingIsLeft(t, sys)
	})
}

func TestCallRefSharesAnObject(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		r := batch.New(spawn(t, sys, 8))
		ref, err := core.Put(t.Context(), sys, ones(1<<18))
		require.NoError(t, err)
		refs, err := batch.CallRef(t.Context(), r, (*worker).Sum, ref)
		require.NoError(t, err)
		ref.Release() // the calls under way keep it
		sums, err := refs.Get(bounded(t))
		require.NoError(t, err)
		require.InDelta(t, 1<<18, sums[7], 0)
		_, err = batch.CallRef(t.Context(), r, (*worker).Sum, ref)
		require.ErrorIs(t, err, core.ErrObjectLost)

		number := refs.Len()
		made, err := batch.Call(t.Context(), r, (*worker).Number, core.Void{})
		require.NoError(t, err)
		set, err := batch.CallRef(t.Context(), r, (*worker).SetNumber, made.At(number-1)) // a result of one for all
		require.NoError(t, err)
		_, err = set.Get(bounded(t))
		require.NoError(t, err)
		nothingIsLeft(t, sys)
	})
}

func TestABatchByNameChecksItsArgument(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	r := batch.New(spawn(t, sys, 4))
	refs, err := r.Method("Sum").Remote(t.Context(), ones(3))
	require.NoError(t, err)
	sums, err := refs.Get(bounded(t))
	require.NoError(t, err)
	require.Equal(t, []any{3.0, 3.0, 3.0, 3.0}, sums)
	refs, err = r.Method("Ping").Remote(t.Context(), core.Void{})
	require.NoError(t, err)
	pings, err := refs.Get(bounded(t))
	require.NoError(t, err)
	require.Equal(t, core.Void{}, pings[0])

	refs, err = r.Method("Sum").Remote(t.Context(), []float64{1})
	require.Nil(t, refs)
	require.ErrorIs(t, err, core.ErrInvalid)
	require.ErrorContains(t, err, "argument of worker.Sum")
	require.ErrorContains(t, err, "[]float32, not []float64")
	refs, err = r.Method("Summ").Remote(t.Context(), ones(3))
	require.Nil(t, refs)
	require.ErrorIs(t, err, core.ErrNoMethod)
	require.ErrorContains(t, err, `"Summ" of kind "worker"`)
	refs, err = r.Method("Any").Remote(t.Context(), make(chan int))
	require.Nil(t, refs)
	require.ErrorIs(t, err, core.ErrEncode)
}

func (*worker) unregistered(context.Context, core.Void) (core.Void, error) { return core.Void{}, nil }

func TestABatchThatCannotBeFailsBeforeAnythingIsSent(t *testing.T) {
	sys, other := coretest.Start(t), coretest.Start(t)
	actors := spawn(t, sys, 2)
	left, err := leftPingers.Spawn(t.Context(), sys, 1, core.Void{})
	require.NoError(t, err)
	right, err := rightPingers.Spawn(t.Context(), sys, 1, core.Void{})
	require.NoError(t, err)
	stranger, err := leftPingers.Spawn(t.Context(), other, 1, core.Void{})
	require.NoError(t, err)
	call := func(r *batch.Remote[*worker], opts ...batch.Option) error {
		refs, err := batch.Call(t.Context(), r, (*worker).Ping, core.Void{}, opts...)
		require.Nil(t, refs)
		_, byName := r.Method("Ping").Remote(t.Context(), core.Void{}, opts...)
		require.EqualError(t, byName, err.Error())
		return err
	}
	callPingers := func(actors ...*core.Handle[pinger]) error {
		refs, err := batch.Call(t.Context(), batch.New(actors), pinger.Ping, core.Void{})
		require.Nil(t, refs)
		return err
	}
	require.ErrorIs(t, call(batch.New[*worker](nil)), core.ErrNoActors)
	require.Zero(t, batch.New[*worker](nil).Len())
	require.ErrorIs(t, call(batch.New([]*core.Handle[*worker]{actors[0], nil})), core.ErrInvalid)
	require.ErrorIs(t, call(nil), core.ErrInvalid)
	require.ErrorIs(t, call(batch.New(actors), nil), core.ErrInvalid)
	require.ErrorIs(t, call(batch.New(actors, nil)), core.ErrInvalid)
	require.ErrorIs(t, call(batch.New(actors, batch.Timeout(0))), core.ErrInvalid)
	require.ErrorIs(t, call(batch.New(actors), batch.Timeout(-time.Second)), core.ErrInvalid)
	require.ErrorIs(t, callPingers(left[0], right[0]), core.ErrMixed)
	require.ErrorIs(t, callPingers(left[0], stranger[0]), core.ErrMixed)
	_, err = batch.Call(t.Context(), batch.New(actors), (*worker).unregistered, core.Void{})
	require.ErrorIs(t, err, core.ErrNoMethod)
	require.ErrorContains(t, err, "unregistered")
	_, err = batch.Call(t.Context(), batch.New(actors), (*worker).Any, any(func() {}))
	require.ErrorIs(t, err, core.ErrEncode)
	_, err = batch.CallRef(t.Context(), batch.New(actors), (*worker).Sum, nil)
	require.ErrorIs(t, err, core.ErrInvalid)
	require.NoError(t, other.Shutdown(bounded(t)))
	require.ErrorIs(t, callPingers(stranger[0]), core.ErrClosed)
}

func TestFailuresComeWithTheValuesOfTheOthers(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, 10)
		refs, err := batch.Call(t.Context(), batch.New(actors), (*worker).OnlyEven, core.Void{})
		require.NoError(t, err)
		numbers, err := refs.Get(bounded(t))
		require.Equal(t, []int{0, 0, 2, 0, 4, 0, 6, 0, 8, 0}, numbers)
		failed, ok := errors.AsType[*batch.Error](err)
		require.True(t, ok)
		require.Equal(t, 10, failed.Total)
		require.Len(t, failed.Failures, 5)
		require.Len(t, failed.Unwrap(), 5)
		for i, a := range actors {
			if i%2 == 0 {
				require.NoError(t, failed.At(i))
				continue
			}
			own, ok := errors.AsType[*core.ActorError](failed.At(i))
			require.True(t, ok)
			require.Equal(t, a.ID(), own.Actor)
			require.Equal(t, a.ID(), failed.Failures[i/2].Actor)
			require.Equal(t, i, failed.Failures[i/2].Index)
		}
		require.NoError(t, failed.At(99))
		require.EqualError(t, err, "batch: 5 of 10 calls failed: [1] worker.OnlyEven on actor 1/1: odd; "+
			"[3] worker.OnlyEven on actor 1/3: odd; [5] worker.OnlyEven on actor 2/0: odd; and 2 more")
		few := &batch.Error{Total: 4, Failures: failed.Failures[:3]}
		require.NotContains(t, few.Error(), "more")
	})
}

func TestAnswersStreamAsTheyCome(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, 10, core.Concurrency(2))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		refs, err := batch.Call(ctx, batch.New(actors), (*worker).BlockOdd, core.Void{})
		require.NoError(t, err)
		first, err := refs.First(bounded(t), 5)
		require.NoError(t, err)
		sum := 0
		for _, r := range first {
			require.NoError(t, r.Err)
			sum += r.Value
		}
		require.Equal(t, 20, sum, "the even ones have answered")
		none, err := refs.First(t.Context(), 0)
		require.NoError(t, err)
		require.Empty(t, none)
		for _, m := range []int{-1, 11} {
			_, err = refs.First(t.Context(), m)
			require.ErrorIs(t, err, core.ErrInvalid)
		}

		short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer stop()
		some, err := refs.First(short, 7)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, some, 5)
		_, err = refs.Get(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var seen []int
		for i, r := range refs.Stream(short) {
			seen = append(seen, i)
			if i < 0 {
				require.ErrorIs(t, r.Err, context.DeadlineExceeded)
			}
		}
		require.Len(t, seen, 6)
		require.Equal(t, -1, seen[5], "the last says why there are no more")

		refs.Cancel()
		all := map[int]error{}
		for i, r := range refs.Stream(bounded(t)) {
			require.NotContains(t, all, i, "every slot comes once")
			all[i] = r.Err
		}
		require.Len(t, all, 10)
		for i, err := range all {
			if i%2 == 0 {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, context.Canceled)
			}
		}
		for range refs.Stream(bounded(t)) {
			break // leaving early is fine
		}
		blocked, err := batch.Call(t.Context(), batch.New(actors), (*worker).Blocked, core.Void{})
		require.NoError(t, err)
		_, err = blocked.Get(bounded(t))
		require.NoError(t, err)
		eventually(t, "the methods have seen the end", func() bool {
			refs, err := batch.Call(t.Context(), batch.New(actors), (*worker).Blocked, core.Void{})
			require.NoError(t, err)
			blocked, err := refs.Get(bounded(t))
			require.NoError(t, err)
			return slices.Max(blocked) == 0
		})
	})
}

func TestATimeoutEndsWhatHasNotAnswered(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, 4)
		r := batch.New(actors, batch.Timeout(time.Hour))
		refs, err := batch.Call(t.Context(), r, (*worker).BlockOdd, core.Void{}, batch.Timeout(50*time.Millisecond))
		require.NoError(t, err)
		_, err = refs.Get(bounded(t))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		failed, _ := errors.AsType[*batch.Error](err)
		require.Len(t, failed.Failures, 2)
		require.NoError(t, refs.At(2).Err(t.Context()))
		refs, err = batch.Call(t.Context(), r, (*worker).Number, core.Void{})
		require.NoError(t, err)
		_, err = refs.Get(bounded(t))
		require.NoError(t, err, "the actors serve on")
		nothingIsLeft(t, sys)
	})
}

func TestANodeThatIsGone(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(3))
	actors := spawn(t, sys, 6)
	coretest.KillNode(t, sys, 2)
	gone := []error{nil, nil, core.ErrNodeLost, core.ErrNodeLost, nil, nil}
	unsent := []error{nil, nil, core.ErrNodeLost, core.ErrNodeLost, core.ErrNotSubmitted, core.ErrNotSubmitted}
	check := func(refs *batch.Refs[int], want []error) {
		t.Helper()
		numbers, err := refs.Get(bounded(t))
		failed, ok := errors.AsType[*batch.Error](err)
		require.True(t, ok)
		for i, want := range want {
			require.ErrorIs(t, failed.At(i), want)
			if want == nil {
				require.Equal(t, i, numbers[i])
			}
		}
	}
	refs, err := batch.Call(t.Context(), batch.New(actors), (*worker).Number, core.Void{})
	require.ErrorIs(t, err, core.ErrNodeLost)
	require.NotNil(t, refs, "what was submitted is kept")
	check(refs, unsent)
	refs, err = batch.Call(t.Context(), batch.New(actors), (*worker).Number, core.Void{}, batch.BestEffort)
	require.NoError(t, err)
	check(refs, gone)
	best := batch.New(actors, batch.BestEffort)
	refs, err = batch.Call(t.Context(), best, (*worker).Number, core.Void{})
	require.NoError(t, err)
	check(refs, gone)
	refs, err = batch.Call(t.Context(), best, (*worker).Number, core.Void{}, batch.FailFast)
	require.ErrorIs(t, err, core.ErrNodeLost, "what is given to a call goes before what was given to New")
	check(refs, unsent)
	nothingIsLeft(t, sys)
}

func TestLargeResultsAreReleased(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		refs, err := batch.Call(t.Context(), batch.New(spawn(t, sys, 4)), (*worker).Make, 1<<20)
		require.NoError(t, err)
		made, err := refs.Get(bounded(t))
		require.NoError(t, err)
		refs.Release()
		require.Len(t, made[3], 1<<20, "values that were returned stay")
		_, err = refs.Get(bounded(t))
		require.ErrorIs(t, err, core.ErrObjectLost)
		nothingIsLeft(t, sys)
	})
}

func TestBatchesAndSingleCallsKeepTheirOrder(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	actors := spawn(t, sys, 6)
	r := batch.New(actors)
	for i := range 100 {
		_, err := batch.Call(t.Context(), r, (*worker).SetNumber, 2*i)
		require.NoError(t, err)
		refs, err := batch.Call(t.Context(), r, (*worker).Number, core.Void{})
		require.NoError(t, err)
		for j, a := range actors {
			core.Call(t.Context(), a, (*worker).SetNumber, 2*i+1)
			n, err := core.Call(t.Context(), a, (*worker).Number, core.Void{}).Get(bounded(t))
			require.NoError(t, err)
			require.Equal(t, 2*i+1, n)
			n, err = refs.At(j).Get(bounded(t))
			require.NoError(t, err)
			require.Equal(t, 2*i, n)
		}
	}
}
