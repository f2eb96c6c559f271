// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestMain(m *testing.M) { coretest.Main(m) }

func TestEveryAlgorithmIsMeasuredInBothPlaces(t *testing.T) {
	var out bytes.Buffer
	c := config{members: []int{3}, sizes: []int{300, 30000}, repeats: 2, hopeless: 1e9}
	require.NoError(t, run(t.Context(), c, &out))
	for _, op := range operations() {
		for _, a := range schedule.Algorithms(op) {
			assert.Contains(t, out.String(), a.Name+" ")
		}
	}
	assert.Contains(t, out.String(), "8 processes, 3 members")
	assert.Contains(t, out.String(), "pairs of algorithms")
}

func TestAgreementCountsPairsThatAreApart(t *testing.T) {
	prediction := func(name string) schedule.Prediction {
		return schedule.Prediction{Choice: schedule.Choice{Algorithm: &schedule.Algorithm{Name: name}, Parts: 1}}
	}
	c := comparison{
		predicted: []schedule.Prediction{prediction("a"), prediction("b"), prediction("c")},
		measured:  []measurement{{"c", 5 * time.Second}, {"a", 11 * time.Second}, {"b", 10 * time.Second}},
	}
	right, all := c.pairs() // c before a and b is wrong; a and b are too close to count
	assert.Equal(t, [2]int{0, 2}, [2]int{right, all})
	assert.InDelta(t, 2.2, c.loss(), 1e-9)
	c.measured[0].took = 20 * time.Second
	right, all = c.pairs()
	assert.Equal(t, [2]int{2, 2}, [2]int{right, all})
	assert.InDelta(t, 1.1, c.loss(), 1e-9)
	var total agreement
	total.add(c)
	assert.Contains(t, total.String(), "2 of 2 pairs")
}

func TestNumbers(t *testing.T) {
	got, err := numbers("8,16")
	require.NoError(t, err)
	assert.Equal(t, []int{8, 16}, got)
	_, err = numbers("8,-1")
	require.ErrorContains(t, err, "8,-1")
}
