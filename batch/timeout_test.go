// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package batch_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
)

// In virtual time: the slots that have no answer fail when the time is over, those that have one keep it, and the methods see their contexts end.
func TestATimeoutEndsABatchToTheMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys, err := core.Start(t.Context(), core.InProcess(2))
		require.NoError(t, err)
		defer func() { require.NoError(t, sys.Shutdown(context.WithoutCancel(t.Context()))) }()
		actors := spawn(t, sys, 4)
		r := batch.New(actors, batch.Timeout(time.Hour))
		for _, tt := range []struct {
			opts  []batch.Option
			lasts time.Duration
		}{
			{nil, time.Hour},
			{[]batch.Option{batch.Timeout(time.Second)}, time.Second},
		} {
			start := time.Now()
			refs, err := batch.Call(t.Context(), r, (*worker).BlockOdd, core.Void{}, tt.opts...)
			require.NoError(t, err)
			values, err := refs.Get(t.Context())
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, tt.lasts, time.Since(start))
			require.Equal(t, 2, values[2])
			for i := range actors {
				require.Equal(t, i%2 == 1, refs.At(i).Err(t.Context()) != nil)
			}
			synctest.Wait()
			for _, a := range actors {
				blocked, err := core.Call(t.Context(), a, (*worker).Blocked, core.Void{}).Get(t.Context())
				require.NoError(t, err)
				require.Zero(t, blocked)
			}
			require.Equal(t, tt.lasts, time.Since(start))
		}
	})
}
