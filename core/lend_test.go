// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// loan is what goes to all actors of a test, beside a reference for each.
type loan struct{ Add int }

// added returns the length of the value lent, its last element and what is to be added; nothing but the latter if none was lent.
func added(ctx context.Context, l core.Lent[loan, []byte]) ([]int, error) {
	if !l.Has {
		_, _, err := l.Open(ctx)
		if !errors.Is(err, core.ErrInvalid) {
			return nil, fmt.Errorf("a reference that was not lent: %w", err)
		}
		return []int{l.With.Add}, nil
	}
	v, done, err := l.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return []int{len(v), int(v[len(v)-1]) + l.With.Add}, nil
}

var _ = core.RegisterForAll(core.NamedMethod("test.lend",
	func(_ any, ctx context.Context, l core.Lent[loan, []byte]) ([]int, error) { return added(ctx, l) }))

func TestEachActorGetsAReferenceOfItsOwn(t *testing.T) {
	for name, opts := range map[string][]core.Option{
		"in process": {core.InProcess(2)}, "processes": {core.LocalNodes(2)},
		"hosts in process": {core.InProcess(4), core.SimulatedHosts(2)}, "hosts": {core.LocalNodes(4), core.SimulatedHosts(2)},
	} {
		t.Run(name, func(t *testing.T) {
			sys := coretest.Start(t, opts...)
			actors := spawn(t, sys, 5)
			for _, size := range []int{1000, 2 * core.InlineMax} {
				put, err := core.Put(t.Context(), sys, append(make([]byte, size-1), 3))
				require.NoError(t, err)
				made := submit(t.Context(), t, actors[1:2], (*probe).Make, size)
				refs := []*core.Ref[[]byte]{put, core.RefAt[[]byte](made, 0), nil, put, core.RefAt[[]byte](made, 0)}
				targets, err := core.NewTargets(actors)
				require.NoError(t, err)
				s, err := core.SubmitLent(t.Context(), targets, "test.lend", loan{Add: 7}, refs)
				require.NoError(t, err)
				put.Release() // the calls keep it
				last := int(get(t, refs[1])[size-1])
				want := [][]int{{size, 10}, {size, last + 7}, {7}, {size, 10}, {size, last + 7}}
				for i := range want {
					require.Equal(t, want[i], get(t, core.RefAt[[]int](s, i)))
				}
				made.Release()
			}
			nothingIsLeft(t, sys)
		})
	}
}

func TestLendingRefusesWhatCannotBeLent(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	actors := spawn(t, sys, 2)
	targets, err := core.NewTargets(actors)
	require.NoError(t, err)
	put, err := core.Put(t.Context(), sys, []byte{1})
	require.NoError(t, err)
	gone, err := core.Put(t.Context(), sys, []byte{1})
	require.NoError(t, err)
	gone.Release()
	lend := func(name string, refs ...*core.Ref[[]byte]) error {
		_, err := core.SubmitLent(t.Context(), targets, name, loan{}, refs)
		return err
	}
	require.ErrorIs(t, lend("none", put, put), core.ErrNoMethod)
	require.ErrorIs(t, lend("Ping", put, put), core.ErrInvalid)
	require.ErrorIs(t, lend("test.lend", put), core.ErrInvalid)
	err = lend("test.lend", put, gone)
	require.ErrorIs(t, err, core.ErrObjectLost)
	require.ErrorContains(t, err, "argument 1")
	_, err = core.SubmitLent(t.Context(), targets, "test.lend", 5, []*core.Ref[[]byte]{put, put})
	require.ErrorIs(t, err, core.ErrInvalid, "a value of another type")
	_, _, err = core.Lent[loan, []byte]{Has: true}.Open(t.Context())
	require.ErrorIs(t, err, core.ErrInvalid, "outside a call")
	put.Release()
	nothingIsLeft(t, sys)
}
