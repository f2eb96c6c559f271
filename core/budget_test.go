// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// What calls in one process may allocate, from the submission to the last answer, on both sides together.
const (
	perActor  = 2  // of a batch without argument or result: its context; 1 when this was written
	perBatch  = 25 // of the same batch for each node, however many actors it has; 16 when this was written
	perSingle = 55 // of a single call, with its answer decoded; 43 when this was written
)

func TestCallsKeepToTheirBudgetOfAllocations(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates on its own account: run without it for the figures")
		return
	}
	sys := coretest.Start(t, core.InProcess(2))
	measure := func(n int) float64 {
		actors := spawn(t, sys, n)
		targets, err := core.NewTargets(actors)
		require.NoError(t, err)
		return testing.AllocsPerRun(50, func() {
			s, err := core.Submit(t.Context(), targets, (*probe).Ping, core.Void{}, core.FailFast)
			require.NoError(t, err)
			require.NoError(t, s.Wait(t.Context(), n))
		})
	}
	few, many := measure(4), measure(404)
	each := (many - few) / 400
	t.Logf("%.2f allocations for each actor, %.0f for a batch of 4", each, few)
	assert.LessOrEqual(t, each, float64(perActor))
	assert.LessOrEqual(t, few-4*each, float64(2*perBatch))

	a := spawn(t, sys, 1)[0]
	x := ones(16)
	single := testing.AllocsPerRun(200, func() {
		if _, err := core.Call(t.Context(), a, (*probe).Sum, x).Get(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Logf("%.0f allocations for a single call", single)
	assert.LessOrEqual(t, single, float64(perSingle))
}
