// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package batch_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// The budget that the package documentation states.
const (
	perActor = 2
	perNode  = 30
)

func TestABatchKeepsToItsBudgetOfAllocations(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates on its own account: run without it for the figures")
		return
	}
	const nodes, few, many = 2, 4, 404
	sys := coretest.Start(t, core.InProcess(nodes))
	measure := func(n int) float64 {
		r := batch.New(spawn(t, sys, n))
		return testing.AllocsPerRun(50, func() {
			refs, err := batch.Call(t.Context(), r, (*worker).Ping, core.Void{})
			require.NoError(t, err)
			_, err = refs.Get(t.Context())
			require.NoError(t, err)
		})
	}
	small, large := measure(few), measure(many)
	each := (large - small) / (many - few)
	t.Logf("%.2f allocations for each actor, %.0f for a batch of %d", each, small, few)
	assert.LessOrEqual(t, each, float64(perActor))
	assert.LessOrEqual(t, small-few*each, float64(nodes*perNode))
}
