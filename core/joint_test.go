// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestPreparedCallsShareAMessage(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		actors := spawn(t, sys, 6)
		all, err := core.NewTargets(actors)
		require.NoError(t, err)
		var as []core.Assignment
		for i, a := range actors {
			own, err := core.NewTargets([]*core.Handle[*probe]{a})
			require.NoError(t, err)
			n := small
			if i%3 == 0 {
				n = large
			}
			c, err := core.Prepare(all, (*probe).Sum, ones(n+i))
			require.NoError(t, err)
			if n == small {
				require.Greater(t, c.Size(), 4*(n+i))
			}
			as = append(as, core.Assignment{Call: c, Targets: own})
		}
		as = append(as, core.Assignment{Call: as[0].Call, Targets: all}) // one call to many
		s, err := core.StartAll(t.Context(), as, time.Time{})
		require.NoError(t, err)
		for i := range actors {
			as[i].Call.Release()
		}
		require.Equal(t, 2, s.Stats().Messages)
		require.NoError(t, s.Wait(bounded(t), s.Len()))
		require.Equal(t, 12, s.Len())
		for i := range actors {
			n := small
			if i%3 == 0 {
				n = large
			}
			require.InDelta(t, n+i, get(t, core.RefAt[float64](s, i)), 0)
			require.InDelta(t, large, get(t, core.RefAt[float64](s, 6+i)), 0)
			require.Equal(t, actors[i].ID(), s.Actor(i))
		}
	})
}

func TestStartAllRefuses(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	actors := spawn(t, sys, 2)
	all, err := core.NewTargets(actors)
	require.NoError(t, err)
	sum, err := core.Prepare(all, (*probe).Sum, ones(1))
	require.NoError(t, err)
	defer sum.Release()
	ping, err := core.Prepare(all, (*probe).Ping, core.Void{})
	require.NoError(t, err)
	defer ping.Release()
	_, err = core.StartAll(t.Context(), nil, time.Time{})
	require.ErrorIs(t, err, core.ErrNoActors)
	_, err = core.StartAll(t.Context(), []core.Assignment{{Call: sum, Targets: all}, {Call: ping, Targets: all}}, time.Time{})
	require.ErrorIs(t, err, core.ErrMixed)
	require.NoError(t, actors[1].Kill(t.Context()))
	s, err := core.StartAll(t.Context(), []core.Assignment{{Call: sum, Targets: all}}, time.Time{})
	require.ErrorIs(t, err, core.ErrActorDead)
	require.Nil(t, s, "nothing was sent")
}

func TestOneResultCanBeReleased(t *testing.T) {
	eachSystem(t, 2, func(t *testing.T, sys *core.System) {
		unleaked(t, sys)
		actors := spawn(t, sys, 4)
		s := submit(t.Context(), t, actors, (*probe).Make, 1<<20)
		s.ReleaseSlot(3) // before it is there
		require.NoError(t, s.Wait(bounded(t), 4))
		ref := core.RefAt[[]byte](s, 1)
		require.Equal(t, 1<<20, get(t, core.CallRef(t.Context(), actors[0], (*probe).Length, ref)))
		ref.Release()
		s.ReleaseSlot(1)
		for i, want := range []error{nil, core.ErrObjectLost, nil, core.ErrObjectLost} {
			_, err := core.RefAt[[]byte](s, i).Get(bounded(t))
			require.ErrorIs(t, err, want)
		}
		require.ErrorIs(t, core.CallRef(t.Context(), actors[0], (*probe).Length, ref).Err(bounded(t)), core.ErrObjectLost)
		s.Release()
		_, err := core.RefAt[[]byte](s, 0).Get(bounded(t))
		require.ErrorIs(t, err, core.ErrObjectLost)
	})
}
