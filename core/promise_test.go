// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

type promised struct{}

func newPromised(context.Context, core.Void) (*promised, error) { return &promised{}, nil }

func (*promised) Double(_ context.Context, x []float32) ([]float32, error) {
	out := make([]float32, len(x))
	for i := range x {
		out[i] = 2 * x[i]
	}
	return out, nil
}

func (*promised) Block(ctx context.Context, _ core.Void) (bool, error) {
	<-ctx.Done()
	return false, context.Cause(ctx)
}

// Relay fails as if it had called an actor that is dead.
func (*promised) Relay(context.Context, core.Void) (core.Void, error) {
	return core.Void{}, fmt.Errorf("downstream: %w", core.ErrActorDead)
}

var promisers = core.Register("promised", newPromised,
	core.Method((*promised).Double), core.Method((*promised).Block), core.Method((*promised).Relay))

func promisedActors(t *testing.T, n int) ([]*core.Handle[*promised], []*core.Targets) {
	sys := coretest.Start(t, core.InProcess(2))
	handles, err := promisers.Spawn(t.Context(), sys, n, core.Void{})
	require.NoError(t, err)
	targets := make([]*core.Targets, n)
	for i, h := range handles {
		targets[i], err = core.NewTargets([]*core.Handle[*promised]{h})
		require.NoError(t, err)
	}
	return handles, targets
}

func TestPromiseRefGetsWhatItIsResolvedWith(t *testing.T) {
	for _, size := range []int{3, core.InlineMax} {
		t.Run(fmt.Sprintf("size=%d", size), func(t *testing.T) {
			handles, targets := promisedActors(t, 2)
			x := make([]float32, size)
			x[0] = 3
			c, err := core.Prepare(targets[0], (*promised).Double, x)
			require.NoError(t, err)
			x[0] = 100 // it is encoded
			var p core.Promise
			ref := core.RefOf[[]float32](&p)
			again := core.CallRef(t.Context(), handles[1], (*promised).Double, core.RefOf[[]float32](resolved(t, c, targets[0])))
			ready, rest, err := core.Wait(t.Context(), []*core.Ref[[]float32]{ref}, 0)
			require.NoError(t, err)
			require.Empty(t, ready)
			require.Len(t, rest, 1)
			waited := make(chan error, 1)
			go func() {
				_, _, err := core.Wait(t.Context(), []*core.Ref[[]float32]{ref}, 1)
				waited <- err
			}()
			s, err := c.Start(t.Context(), targets[1], time.Now().Add(time.Hour))
			require.NoError(t, err)
			c.Release()
			require.True(t, p.Resolve(s, 0))
			require.False(t, p.Fail(core.ErrClosed), "it is settled")
			require.NoError(t, <-waited)
			v, err := ref.Get(t.Context())
			require.NoError(t, err)
			require.Len(t, v, size)
			require.InDelta(t, 6, v[0], 0)
			require.NoError(t, ref.Err(t.Context()))
			v, err = again.Get(t.Context())
			require.NoError(t, err)
			require.InDelta(t, 12, v[0], 0)
			ref.Release()
			again.Release()
		})
	}
}

// resolved is a promise resolved with a call.
func resolved(t *testing.T, c *core.Prepared, target *core.Targets) *core.Promise {
	var p core.Promise
	s, err := c.Start(t.Context(), target, time.Time{})
	require.NoError(t, err)
	p.Resolve(s, 0)
	return &p
}

func TestPromiseFails(t *testing.T) {
	var p core.Promise
	ref := core.RefOf[int](&p)
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, ref.Err(short), context.DeadlineExceeded)
	_, err := ref.Get(short)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	ref.Release() // before it is settled
	reason := errors.New("no")
	require.True(t, p.Fail(reason))
	_, err = ref.Get(t.Context())
	require.ErrorIs(t, err, reason)
	require.ErrorIs(t, ref.Err(t.Context()), reason)
	ready, _, err := core.Wait(t.Context(), []*core.Ref[int]{ref}, 1)
	require.NoError(t, err)
	require.Len(t, ready, 1)
}

func TestPreparedIsNotStartedOnAnActorKnownToBeDead(t *testing.T) {
	handles, targets := promisedActors(t, 2)
	c, err := core.Prepare(targets[0], (*promised).Block, core.Void{})
	require.NoError(t, err)
	defer c.Release()
	require.NoError(t, targets[0].Check())
	require.NoError(t, handles[0].Kill(t.Context()))
	require.ErrorIs(t, targets[0].Check(), core.ErrActorDead)
	s, err := c.Start(t.Context(), targets[0], time.Time{})
	require.Nil(t, s)
	require.ErrorIs(t, err, core.ErrActorDead)
}

func TestInterruptLeavesTheAnswerToTheActor(t *testing.T) {
	_, targets := promisedActors(t, 1)
	c, err := core.Prepare(targets[0], (*promised).Block, core.Void{})
	require.NoError(t, err)
	s, err := c.Start(t.Context(), targets[0], time.Time{})
	require.NoError(t, err)
	c.Release()
	s.Interrupt()
	require.ErrorIs(t, core.RefAt[bool](s, 0).Err(t.Context()), context.Canceled)
}

func TestGoneTellsAnActorsErrorFromItsDeath(t *testing.T) {
	handles, _ := promisedActors(t, 1)
	err := core.Call(t.Context(), handles[0], (*promised).Relay, core.Void{}).Err(t.Context())
	require.ErrorContains(t, err, "actor is dead")
	require.False(t, core.Gone(err))
	require.NoError(t, handles[0].Kill(t.Context()))
	require.True(t, core.Gone(core.Call(t.Context(), handles[0], (*promised).Relay, core.Void{}).Err(t.Context())))
}
