// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/tutti-go/tutti/collective"
)

// shard is what a trainer has of an optimiser that is dealt out: each trainer keeps the velocities of its part of the weights only, and moves
// only those. It sends as many bytes as an all-reduce, which is a ReduceScatter and an AllGather too (Rajbhandari et al., "ZeRO", 2020, stage 1).
type shard struct {
	gradient []float32 // of all weights, of the trainer's digits; made longer to be a multiple of the number of trainers
	weights  []float32 // all, as long
	part     []float32 // of weights: those that this trainer moves
	sum      []float32 // the gradient of part, of all digits
	velocity []float32 // of part
}

// newShard deals the weights out among size trainers.
func newShard(weights []float32, rank, size int) *shard {
	part := (len(weights) + size - 1) / size
	s := &shard{
		gradient: make([]float32, part*size), weights: make([]float32, part*size),
		sum: make([]float32, part), velocity: make([]float32, part),
	}
	copy(s.weights, weights)
	s.part = s.weights[rank*part : (rank+1)*part]
	return s
}

// descend moves all weights by the sum of the gradients of all trainers: each moves its part and gets those of the others.
func (s *shard) descend(ctx context.Context, g *collective.Group, weights, gradient []float32, cfg Config) error {
	copy(s.gradient, gradient)
	if err := collective.ReduceScatter(ctx, g, s.gradient, s.sum, collective.Sum); err != nil {
		return err
	}
	descend(s.part, s.sum, s.velocity, cfg)
	if err := collective.AllGather(ctx, g, s.part, s.weights); err != nil {
		return err
	}
	copy(weights, s.weights)
	return nil
}
