// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// keeper keeps the contexts of its calls beyond their end, which it should not.
type keeper struct {
	mu   sync.Mutex
	kept []context.Context
}

var keepers = core.Register("core_test.keeper",
	func(context.Context, core.Void) (*keeper, error) { return &keeper{}, nil },
	core.Method((*keeper).Echo), core.Method((*keeper).Check))

// Echo keeps its context, of which every third has been asked something before the end.
func (k *keeper) Echo(ctx context.Context, i int) (int, error) {
	if i%3 == 0 && ctx.Err() != nil {
		return 0, ctx.Err()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = append(k.kept, ctx)
	return i, nil
}

// Check counts the contexts that were kept, and those of which one would think that their calls still run.
func (k *keeper) Check(context.Context, core.Void) ([2]int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	alive := 0
	for _, ctx := range k.kept {
		if ctx.Err() == nil || context.Cause(ctx) == nil {
			alive++
		}
	}
	return [2]int{len(k.kept), alive}, nil
}

// A node makes calls in room that earlier ones have left. Neither a context that somebody has kept nor a cancellation that comes late may
// touch the call that is there now.
func TestACallDoesNotInheritFromTheOneWhoseRoomItHas(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(1))
	actors, err := keepers.Spawn(t.Context(), sys, 2, core.Void{}, core.Concurrency(4))
	require.NoError(t, err)
	const callers, calls = 6, 300
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range calls {
				ctx, cancel := context.WithCancel(t.Context())
				if i%5 == 0 {
					ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
				}
				f := core.Call(ctx, actors[(c+i)%2], (*keeper).Echo, c*calls+i)
				if i%4 == 0 {
					cancel() // it may be on its way, run, or have been answered
				}
				got, err := f.Get(t.Context())
				switch {
				case err == nil:
					assert.Equal(t, c*calls+i, got)
				case i%4 != 0 || !errors.Is(err, context.Canceled):
					assert.NoError(t, fmt.Errorf("call %d of caller %d: %w", i, c, err))
				}
				cancel()
			}
		})
	}
	wg.Wait()
	for _, a := range actors {
		got, err := core.Call(t.Context(), a, (*keeper).Check, core.Void{}).Get(t.Context())
		require.NoError(t, err)
		assert.Positive(t, got[0])
		assert.Zero(t, got[1], "of %d contexts", got[0])
	}
}
