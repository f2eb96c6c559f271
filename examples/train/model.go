// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

const (
	hidden = 64 // units
	layer1 = hidden * (pixels + 1)
	layer2 = classes * (hidden + 1)
)

// Params is a number for each weight of the network: the weights themselves, or their gradient. Flat holds them in one
// piece, so that one Broadcast or AllReduce moves them all; the layers are views of it, with a row for each unit. A row ends
// with the unit's bias: it is the weight of an input that is always 1.
type Params struct {
	Flat   []float32
	layer1 [][]float32
	layer2 [][]float32
}

func newParams() Params { return paramsOf(make([]float32, layer1+layer2)) }

func paramsOf(flat []float32) Params {
	return Params{
		Flat:   flat,
		layer1: slices.Collect(slices.Chunk(flat[:layer1], pixels+1)),
		layer2: slices.Collect(slices.Chunk(flat[layer1:], hidden+1)),
	}
}

// randomize draws weights to begin with: normal, scaled by the number of the unit's inputs (He et al., 2015).
func (w Params) randomize(seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // each run must draw the same
	for _, unit := range slices.Concat(w.layer1, w.layer2) {
		for i := range unit {
			unit[i] = float32(random.NormFloat64() * math.Sqrt(2/float64(len(unit))))
		}
	}
}

// forward runs the network: a layer of ReLU units, then a softmax that gives each class a probability.
func (w Params) forward(d *Digit) (h [hidden + 1]float32, p [classes]float32) {
	for i, unit := range w.layer1 {
		h[i] = max(0, dot(unit, d.Inputs[:]))
	}
	h[hidden] = 1
	for k, unit := range w.layer2 {
		p[k] = dot(unit, h[:])
	}
	var sum float32
	top := slices.Max(p[:])
	for k, v := range p {
		p[k] = float32(math.Exp(float64(v - top))) // at most 1: no overflow
		sum += p[k]
	}
	for k := range p {
		p[k] /= sum
	}
	return h, p
}

// backward adds the gradient of the digit's cross-entropy loss, times scale, to grad.
func (w Params) backward(d *Digit, scale float32, grad Params) Score {
	h, p := w.forward(d)
	score := scoreOf(d, p)
	p[d.Label]-- // the derivative of the loss by what went into the softmax: probability minus truth
	var back [hidden + 1]float32
	for k, e := range p {
		addScaled(grad.layer2[k], scale*e, h[:])
		addScaled(back[:], scale*e, w.layer2[k])
	}
	for i, unit := range grad.layer1 {
		if h[i] > 0 { // a unit that let nothing through lets nothing back
			addScaled(unit, back[i], d.Inputs[:])
		}
	}
	return score
}

// test returns how well the network does on the digits.
func (w Params) test(digits []Digit) (total Score) {
	for i := range digits {
		_, p := w.forward(&digits[i])
		total = total.plus(scoreOf(&digits[i], p))
	}
	return total
}

// descend moves the weights against the gradient: gradient descent with momentum.
func descend(weights, gradient, velocity []float32, cfg Config) {
	for i, g := range gradient {
		velocity[i] = cfg.Momentum*velocity[i] + g
		weights[i] -= cfg.Rate * velocity[i]
	}
}

func dot(x, y []float32) (sum float32) {
	for i, v := range x {
		sum += v * y[i]
	}
	return sum
}

func addScaled(sum []float32, scale float32, x []float32) {
	for i, v := range x {
		sum[i] += scale * v
	}
}

// Score is how well a network did on some digits: on how many its first choice was right, and the sum of the losses.
type Score struct {
	Digits, Right int
	Loss          float64
}

func scoreOf(d *Digit, p [classes]float32) Score {
	s := Score{Digits: 1, Loss: -math.Log(float64(max(p[d.Label], math.SmallestNonzeroFloat32)))} // finite where p was rounded to 0
	if p[d.Label] == slices.Max(p[:]) {
		s.Right = 1
	}
	return s
}

func (s Score) plus(o Score) Score {
	return Score{s.Digits + o.Digits, s.Right + o.Right, s.Loss + o.Loss}
}

// Accuracy returns the share of digits that it got right.
func (s Score) Accuracy() float64 { return float64(s.Right) / float64(s.Digits) }

// String returns the mean loss and the accuracy.
func (s Score) String() string {
	return fmt.Sprintf("loss %.3f, accuracy %.3f", s.Loss/float64(s.Digits), s.Accuracy())
}
