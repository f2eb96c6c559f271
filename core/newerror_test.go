// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

var (
	errStale = core.NewError("core_test: stale")
	errFresh = core.NewError("core_test: fresh")
)

type failing struct{}

func newFailing(_ context.Context, fail bool) (*failing, error) {
	if fail {
		return nil, fmt.Errorf("constructor: %w", errStale)
	}
	return &failing{}, nil
}

// Fail wraps two registered sentinels and one that only this process knows.
func (*failing) Fail(context.Context, core.Void) (core.Void, error) {
	return core.Void{}, fmt.Errorf("%w and %w and %w", errStale, context.Canceled, io.ErrUnexpectedEOF)
}

var failings = core.Register("core_test.failing", newFailing, core.Method((*failing).Fail))

func TestSentinelsMadeWithNewErrorCrossAsThemselves(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(1))
	hs, err := failings.Spawn(t.Context(), sys, 1, false)
	require.NoError(t, err)
	_, err = core.Call(t.Context(), hs[0], (*failing).Fail, core.Void{}).Get(t.Context())
	var own *core.ActorError
	require.ErrorAs(t, err, &own)
	require.ErrorIs(t, err, errStale)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, errFresh)
	require.NotErrorIs(t, err, io.ErrUnexpectedEOF, "nobody made it known")

	_, err = failings.Spawn(t.Context(), sys, 2, true)
	require.ErrorIs(t, err, errStale)
}

func TestNewErrorWantsATextOfItsOwn(t *testing.T) {
	for _, text := range []string{"", "core_test: stale"} {
		require.Panics(t, func() { _ = core.NewError(text) })
	}
}
