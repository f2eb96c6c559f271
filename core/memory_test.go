// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

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

// small and large are lengths of []float32 below and above core.InlineMax.
const (
	small = 100
	large = core.InlineMax
)

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

func TestArgumentsMayBeChangedOnceTheyAreSubmitted(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		actors := spawn(t, sys, 4)
		for _, n := range []int{small, large} {
			x := ones(n)
			block, cancel := context.WithCancel(t.Context())
			submit(block, t, actors, (*probe).Block, core.Void{})
			s := submit(t.Context(), t, actors, (*probe).Sum, x)
			clear(x)
			cancel()
			for i := range s.Len() {
				require.InDelta(t, n, get(t, core.RefAt[float64](s, i)), 0)
			}
		}
	})
}

func TestWritesToSharedArgumentsFailTheirSlotAndHarmNobody(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		actors := spawn(t, sys, 4)
		same := append(actors, actors...)
		written := submit(t.Context(), t, same, (*probe).Write, ones(large))
		require.NoError(t, written.Wait(bounded(t), written.Len()))
		for i := range written.Len() {
			err := written.Err(i)
			require.ErrorIs(t, err, core.ErrReadOnly)
			_, own := errors.AsType[*core.ActorError](err)
			require.True(t, own)
			require.ErrorContains(t, err, "copy it first")
		}
		ref, err := core.Put(t.Context(), sys, ones(large))
		require.NoError(t, err)
		defer ref.Release()
		require.ErrorIs(t, core.CallRef(t.Context(), actors[0], (*probe).Write, ref).Err(bounded(t)), core.ErrReadOnly)
		require.InDelta(t, large, get(t, core.CallRef(t.Context(), actors[0], (*probe).Sum, ref)), 0)

		private := submit(t.Context(), t, same, (*probe).Write, ones(small))
		for i := range private.Len() {
			require.InDelta(t, 2, get(t, core.RefAt[float32](private, i)), 0, "each call has a copy of its own")
		}
	})
}

func TestArgumentsOfEverySizeArrive(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		actors := spawn(t, sys, 2)
		const edge = core.InlineMax / 4 // elements that just travel in a message
		for _, n := range []int{0, 1, 2, edge - 1, edge, edge + 1, 10 * edge} {
			s := submit(t.Context(), t, actors, (*probe).Echo, ones(n))
			for i := range s.Len() {
				require.Equal(t, ones(n), get(t, core.RefAt[[]float32](s, i)))
			}
			s.Release()
		}
		s := submit(t.Context(), t, actors, (*probe).Echo, nil)
		require.Nil(t, get(t, core.RefAt[[]float32](s, 0)))
	})
}

func TestLargeResultsStayUntilTheyAreReleased(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, 4)
		for range 3 {
			s := submit(t.Context(), t, actors, (*probe).Make, core.InlineMax+1)
			first := get(t, core.RefAt[[]byte](s, 0))
			again := get(t, core.RefAt[[]byte](s, 0))
			require.Equal(t, first, again)
			first[0] = 42
			require.NotEqual(t, first, again, "each Get has memory of its own")
			sum := core.Call(t.Context(), actors[3], (*probe).Make, 3)
			require.Len(t, get(t, sum), 3)
			ref := core.RefAt[[]byte](s, 1)
			ref.Release()
			ref.Release()
			_, err := ref.Get(bounded(t))
			require.ErrorIs(t, err, core.ErrObjectLost)
			require.Equal(t, byte(1), again[1], "what was returned stays valid")
		}
		nothingIsLeft(t, sys)
	})
}

// nothingIsLeft waits until no store holds an object. The nodes' own stores show in the driver's only in process; for nodes of
// their own, a result that a test makes large enough would not fit into the limit again and again.
func nothingIsLeft(t *testing.T, sys *core.System) {
	t.Helper()
	eventually(t, "the store is empty", func() bool {
		runtime.GC()
		st := sys.Stats()
		return st.Objects.Objects == 0 && st.Calls == 0
	})
}

func TestCollectedReferencesReleaseTheirObjects(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	actors := spawn(t, sys, 4)
	func() {
		s := submit(t.Context(), t, actors, (*probe).Make, 2*core.InlineMax)
		require.NoError(t, s.Wait(bounded(t), s.Len()))
		ref, err := core.Put(t.Context(), sys, ones(large))
		require.NoError(t, err)
		require.InDelta(t, large, get(t, core.CallRef(t.Context(), actors[0], (*probe).Sum, ref)), 0)
		require.Equal(t, 5, sys.Stats().Objects.Objects)
		runtime.KeepAlive(ref)
	}()
	nothingIsLeft(t, sys)
}

func TestLimitedStoresServeForEver(t *testing.T) {
	// Each round needs most of what a process may hold, so that what stays behind is missed soon.
	sys := coretest.Start(t, core.LocalNodes(2), core.StoreLimit(16<<20))
	actors := spawn(t, sys, 4)
	for range 8 {
		s := submit(t.Context(), t, actors, (*probe).Make, 3<<20)
		for i := range s.Len() {
			require.Len(t, get(t, core.RefAt[[]byte](s, i)), 3<<20)
		}
		s.Release()
		s = submit(t.Context(), t, actors, (*probe).Sum, ones(2<<20))
		require.NoError(t, s.Wait(bounded(t), s.Len()))
		require.NoError(t, s.Err(0))
		cancelled := submit(t.Context(), t, actors, (*probe).Sum, ones(2<<20))
		cancelled.Cancel(context.Canceled)
		late := submit(t.Context(), t, actors, (*probe).Make, 3<<20)
		late.Cancel(context.Canceled) // the answers come nevertheless
		eventually(t, "what was dropped is free again", func() bool { return sys.Stats().Objects.Objects == 0 })
		eventually(t, "also on the nodes", func() bool {
			fits := submit(t.Context(), t, actors, (*probe).Make, 3<<20)
			defer fits.Release()
			require.NoError(t, fits.Wait(bounded(t), fits.Len()))
			for i := range fits.Len() {
				if fits.Err(i) != nil {
					require.ErrorIs(t, fits.Err(i), core.ErrNoSpace)
					return false
				}
			}
			return true
		})
	}
}

func TestAFullStoreFailsWhatNeedsIt(t *testing.T) {
	eachSystemWith(t, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, 2)
		_, err := core.Put(t.Context(), sys, ones(8<<20))
		require.ErrorIs(t, err, core.ErrNoSpace)
		require.ErrorIs(t, core.Call(t.Context(), actors[0], (*probe).Sum, ones(8<<20)).Err(t.Context()), core.ErrNoSpace)
		_, err = probes.Spawn(t.Context(), sys, 1, setup{Padding: ones(8 << 20)})
		require.ErrorIs(t, err, core.ErrNoSpace)
		err = core.Call(t.Context(), actors[1], (*probe).Make, 32<<20).Err(bounded(t))
		require.ErrorIs(t, err, core.ErrNoSpace)
		require.ErrorContains(t, err, "result of probe.Make")
		get(t, core.Call(t.Context(), actors[0], (*probe).Ping, core.Void{}))
		nothingIsLeft(t, sys)
	}, core.StoreLimit(16<<20))
}

func eachSystemWith(t *testing.T, test func(t *testing.T, sys *core.System), opts ...core.Option) {
	t.Run("in process", func(t *testing.T) { test(t, coretest.Start(t, append(opts, core.InProcess(2))...)) })
	t.Run("processes", func(t *testing.T) { test(t, coretest.Start(t, append(opts, core.LocalNodes(2))...)) })
}

func TestPutIsReadInPlace(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, 4)
		for _, n := range []int{small, large} {
			x := ones(n)
			ref, err := core.Put(t.Context(), sys, x)
			require.NoError(t, err)
			require.NoError(t, ref.Err(t.Context()))
			clear(x)
			view := get(t, ref)
			require.Equal(t, ones(n), view)
			require.Same(t, &view[0], &get(t, ref)[0], "no Get copies")
			for _, a := range actors {
				require.InDelta(t, n, get(t, core.CallRef(t.Context(), a, (*probe).Sum, ref)), 0)
			}
			// Released while calls are under way.
			slow, cancel := context.WithCancel(t.Context())
			core.Call(slow, actors[0], (*probe).Block, core.Void{})
			late := core.CallRef(t.Context(), actors[0], (*probe).Sum, ref)
			ref.Release()
			ref.Release()
			cancel()
			require.InDelta(t, n, get(t, late), 0)
			_, err = ref.Get(t.Context())
			require.ErrorIs(t, err, core.ErrObjectLost)
			require.ErrorIs(t, core.CallRef(t.Context(), actors[0], (*probe).Sum, ref).Err(t.Context()), core.ErrObjectLost)
		}
		nothingIsLeft(t, sys)
	})
}

func TestValuesOfNoBytesCanBePut(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(1))
	a := spawn(t, sys, 1)[0]
	void, err := core.Put(t.Context(), sys, core.Void{})
	require.NoError(t, err)
	get(t, core.CallRef(t.Context(), a, (*probe).Ping, void))
	require.Equal(t, core.Void{}, get(t, void))
	for _, x := range [][]float32{nil, {}} {
		ref, err := core.Put(t.Context(), sys, x)
		require.NoError(t, err)
		require.Equal(t, x, get(t, ref))
		require.Equal(t, x, get(t, core.CallRef(t.Context(), a, (*probe).Echo, ref)))
		ref.Release()
	}
	text, err := core.Put(t.Context(), sys, "")
	require.NoError(t, err)
	require.Empty(t, get(t, text))
	text.Release()
	void.Release()
	nothingIsLeft(t, sys)
}

func TestCallRefPassesResultsOn(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		actors := spawn(t, sys, 2)
		for _, n := range []int{0, small, large} {
			made := core.Call(t.Context(), actors[0], (*probe).Echo, ones(n))
			passed := core.CallRef(t.Context(), actors[1], (*probe).Echo, made)
			require.InDelta(t, n, get(t, core.CallRef(t.Context(), actors[0], (*probe).Sum, passed)), 0)
			made.Release()
			passed.Release()
		}
		nothingIsLeft(t, sys)

		lost := core.Call(t.Context(), actors[0], (*probe).Give, "channel")
		_, err := core.CallRef(t.Context(), actors[1], (*probe).TakeAny, lost).Get(bounded(t))
		require.ErrorIs(t, err, core.ErrEncode, "the reason of the argument's failure")

		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		blocked, stop := context.WithCancel(t.Context())
		defer stop()
		never := core.Call(blocked, actors[0], (*probe).Block, core.Void{})
		require.ErrorIs(t, core.CallRef(ctx, actors[1], (*probe).Ping, never).Err(t.Context()), context.DeadlineExceeded)
	})
}

func TestReferencesFitTheSystemAndTheTypeOfTheCall(t *testing.T) {
	one, two := coretest.Start(t), coretest.Start(t)
	here, there := spawn(t, one, 1)[0], spawn(t, two, 1)[0]
	put, err := core.Put(t.Context(), one, ones(small))
	require.NoError(t, err)
	defer put.Release()
	require.ErrorIs(t, core.CallRef(t.Context(), there, (*probe).Sum, put).Err(t.Context()), core.ErrMixed)
	for _, n := range []int{small, large} {
		result := core.Call(t.Context(), here, (*probe).Echo, ones(n))
		require.ErrorIs(t, core.CallRef(t.Context(), there, (*probe).Sum, result).Err(t.Context()), core.ErrMixed)
		require.InDelta(t, n, get(t, core.CallRef(t.Context(), here, (*probe).Sum, result)), 0)
	}
	s := submit(t.Context(), t, []*core.Handle[*probe]{here}, (*probe).PID, core.Void{})
	err = core.CallRef(t.Context(), here, (*probe).TakeAny, core.RefAt[any](s, 0)).Err(t.Context())
	require.ErrorIs(t, err, core.ErrInvalid, "what a method returned is not encoded as what another takes")
	require.ErrorContains(t, err, "a int, not a interface {}")
}

func TestReferencesAreSafeForConcurrentUse(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	actors := spawn(t, sys, 2)
	for range 50 {
		ref, err := core.Put(t.Context(), sys, ones(small))
		require.NoError(t, err)
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				err := core.CallRef(t.Context(), actors[i%2], (*probe).Sum, ref).Err(t.Context())
				if err != nil && !errors.Is(err, core.ErrObjectLost) {
					t.Error(err)
				}
				if i == 2 {
					ref.Release()
				}
			})
		}
		wg.Wait()
		ref.Release()
	}
	nothingIsLeft(t, sys)
}

func TestConfigurationsOfEverySizeArrive(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		for _, n := range []int{0, small, large} {
			actors, err := probes.Spawn(t.Context(), sys, 3, setup{Padding: ones(n)})
			require.NoError(t, err)
			require.InDelta(t, n, get(t, core.Call(t.Context(), actors[2], (*probe).SumKept, core.Void{})), 0)
		}
		nothingIsLeft(t, sys)
	})
}
