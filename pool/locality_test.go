// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/pool"
)

// onTwoHosts makes a pool of two actors on the driver's host and two on another.
func onTwoHosts(t *testing.T, opts ...pool.Option) (*pool.Pool[*worker], []*core.Handle[*worker], *core.System) {
	t.Helper()
	sys := coretest.Start(t, core.InProcess(4), core.SimulatedHosts(2))
	p, h := poolOn(t, sys, 4, opts...)
	require.Equal(t, h[0].Host(), h[1].Host())
	require.Equal(t, h[2].Host(), h[3].Host())
	require.NotEqual(t, h[0].Host(), h[2].Host())
	return p, h, sys
}

func TestCallGoesToTheHostThatHasItsArgument(t *testing.T) {
	p, h, sys := onTwoHosts(t)
	hosts := map[core.ActorID]string{}
	for _, a := range h {
		hosts[a.ID()] = a.Host()
	}
	big := make([]byte, 2*core.InlineMax)
	here, err := core.Put(t.Context(), sys, big)
	require.NoError(t, err)
	defer here.Release()
	there := core.Call(t.Context(), h[2], (*worker).Grow, len(big)) // its result stays on the other host
	require.NoError(t, there.Err(t.Context()))
	for range 20 {
		for ref, host := range map[*core.Ref[[]byte]]string{here: h[0].Host(), there: h[2].Host()} {
			id, err := pool.SubmitRef(t.Context(), p, (*worker).Which, ref).Get(t.Context())
			require.NoError(t, err)
			require.Equal(t, host, hosts[id])
		}
	}
}

func TestCallLeavesItsHostWhenThatIsBusy(t *testing.T) {
	p, h, sys := onTwoHosts(t)
	ref, err := core.Put(t.Context(), sys, make([]byte, 2*core.InlineMax))
	require.NoError(t, err)
	served := map[core.ActorID]int{}
	var busy []*core.Ref[int]
	for range 2 { // both actors of the driver's host are kept busy
		busy = append(busy, pool.SubmitRef(t.Context(), p, (*worker).Late, ref))
	}
	for range 4 {
		id, err := pool.SubmitRef(t.Context(), p, (*worker).Which, ref).Get(t.Context())
		require.NoError(t, err)
		served[id]++
	}
	require.Zero(t, served[h[0].ID()]+served[h[1].ID()])
	ref.Release() // the calls that run keep the object
	p.Close()
	for _, b := range busy {
		require.ErrorIs(t, b.Err(t.Context()), pool.ErrClosed)
	}
	require.ErrorIs(t, pool.SubmitRef(t.Context(), p, (*worker).Which, ref).Err(t.Context()), core.ErrObjectLost)
	require.ErrorIs(t, pool.SubmitRef[*worker, []byte, core.ActorID](t.Context(), p, (*worker).Which, nil).Err(t.Context()), core.ErrInvalid)
}

func TestSmallArgumentsHaveNoHost(t *testing.T) {
	p, h, sys := onTwoHosts(t)
	ref, err := core.Put(t.Context(), sys, make([]byte, 10))
	require.NoError(t, err)
	defer ref.Release()
	served := map[core.ActorID]bool{}
	for i := range 40 {
		id, err := pool.Submit(t.Context(), p, (*worker).Which, make([]byte, i)).Get(t.Context())
		require.NoError(t, err)
		served[id] = true
	}
	require.Len(t, served, len(h), "each has its turn")
}
