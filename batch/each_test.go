// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package batch_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// holder takes arguments of any type that can be sent, and some that cannot.
type holder struct{}

func newHolder(context.Context, core.Void) (*holder, error) { return &holder{}, nil }

func (*holder) Hold(context.Context, any) (core.Void, error) { return core.Void{}, nil }

var holders = core.Register("batch_test.holder", newHolder, core.Method((*holder).Hold))

func TestEveryActorGetsItsOwnArgumentInOneMessageToEachNode(t *testing.T) {
	for name, where := range map[string]core.Option{"in process": core.InProcess(3), "processes": core.LocalNodes(3)} {
		t.Run(name, func(t *testing.T) {
			sys := coretest.Start(t, where)
			actors, err := workers.Spawn(t.Context(), sys, 20, core.Void{})
			require.NoError(t, err)
			ins, want := make([][]float32, len(actors)), make([]float64, len(actors))
			for i := range ins {
				n := 10
				if i%3 == 0 {
					n = 50_000 // goes through the store
				}
				ins[i] = make([]float32, n)
				ins[i][n-1] = float32(i)
				want[i] = float64(i)
			}
			refs, err := batch.CallEach(t.Context(), batch.New(actors), (*worker).Sum, ins)
			require.NoError(t, err)
			clear(ins) // they are ours again
			got, err := refs.Get(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, 3, refs.Stats().Messages)
			require.Eventually(t, func() bool { return sys.Stats().Objects.Objects == 0 }, patience, time.Millisecond, "arguments were let go")
		})
	}
}

func TestManyLargeArgumentsFitTheMessage(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(1))
	actors, err := workers.Spawn(t.Context(), sys, 1000, core.Void{})
	require.NoError(t, err)
	ins := make([][]float32, len(actors))
	for i := range ins {
		ins[i] = make([]float32, 24<<10) // 96 KiB each would be more than a frame together
		ins[i][0] = float32(i)
	}
	refs, err := batch.CallEach(t.Context(), batch.New(actors), (*worker).Sum, ins)
	require.NoError(t, err)
	sums, err := refs.Get(t.Context())
	require.NoError(t, err)
	for i, sum := range sums {
		require.InDelta(t, float64(i), sum, 0)
	}
}

func TestCallEachChecksAllArgumentsBeforeItSends(t *testing.T) {
	sys := coretest.Start(t)
	actors, err := holders.Spawn(t.Context(), sys, 3, core.Void{})
	require.NoError(t, err)
	r := batch.New(actors)

	refs, err := batch.CallEach(t.Context(), r, (*holder).Hold, []any{1, 2})
	require.ErrorIs(t, err, core.ErrInvalid)
	require.ErrorContains(t, err, "2 arguments for 3 actors")
	require.Nil(t, refs)

	refs, err = batch.CallEach(t.Context(), r, (*holder).Hold, []any{1, "two", make(chan int)})
	require.ErrorIs(t, err, core.ErrEncode)
	require.ErrorContains(t, err, "argument 2")
	require.Nil(t, refs)
}
