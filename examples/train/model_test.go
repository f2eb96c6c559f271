// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestGradientMatchesFiniteDifferences moves every weight a little to both sides and looks at the loss.
func TestGradientMatchesFiniteDifferences(t *testing.T) {
	const step = 1e-2
	digits, err := dataset()
	require.NoError(t, err)
	w, gradient := newParams(), newParams()
	w.randomize(7)
	for _, d := range digits[:3] {
		clear(gradient.Flat)
		const scale = 0.5
		score := w.backward(&d, scale, gradient)
		assert.InDelta(t, loss(w, &d), score.Loss, 0, "loss")
		skipped := 0
		for i := range w.Flat {
			if unit := i / (pixels + 1); unit < hidden && math.Abs(float64(dot(w.layer1[unit], d.Inputs[:]))) < 2*step {
				skipped++ // the ReLU has no derivative there
				continue
			}
			before := w.Flat[i]
			w.Flat[i] = before + step
			above := loss(w, &d)
			w.Flat[i] = before - step
			below := loss(w, &d)
			w.Flat[i] = before
			require.InDelta(t, scale*(above-below)/(2*step), gradient.Flat[i], 5e-4, "weight %d", i)
		}
		assert.Less(t, skipped, 5*(pixels+1))
	}
}

func loss(w Params, d *Digit) float64 {
	_, p := w.forward(d)
	return scoreOf(d, p).Loss
}

func TestForwardGivesProbabilities(t *testing.T) {
	digits, err := dataset()
	require.NoError(t, err)
	w := newParams()
	for _, factor := range []float32{0, 1, 1e4} { // untrained, usual, and large enough to overflow a careless softmax
		w.randomize(3)
		for i := range w.Flat {
			w.Flat[i] *= factor
		}
		_, p := w.forward(&digits[0])
		var sum float32
		for _, v := range p {
			require.True(t, 0 <= v && v <= 1, "%v", p)
			sum += v
		}
		assert.InDelta(t, 1, sum, 1e-5)
		score := scoreOf(&digits[0], p)
		assert.False(t, math.IsInf(score.Loss, 0) || math.IsNaN(score.Loss), "%v", score.Loss)
	}
}

func TestLayersAreViewsOfFlat(t *testing.T) {
	p := newParams()
	n := 0
	for _, layer := range [][][]float32{p.layer1, p.layer2} {
		for _, unit := range layer {
			for i := range unit {
				n++
				unit[i] = float32(n)
			}
		}
	}
	require.Len(t, p.Flat, n)
	for i, v := range p.Flat {
		require.InDelta(t, float32(i+1), v, 0)
	}
}

func BenchmarkBackward(b *testing.B) {
	digits, err := dataset()
	require.NoError(b, err)
	w, gradient := newParams(), newParams()
	w.randomize(1)
	b.ReportAllocs()
	for b.Loop() {
		w.backward(&digits[0], 1, gradient)
	}
}
