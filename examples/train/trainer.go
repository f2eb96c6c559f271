// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/tutti-go/tutti/collective"
	"github.com/tutti-go/tutti/core"
)

// group is the name that all trainers know their group by.
const group = "dp"

var trainers = core.Register("trainer", NewTrainer,
	core.Method((*Trainer).Load), core.Method((*Trainer).Epoch), core.Method((*Trainer).ElasticEpoch),
	core.Method((*Trainer).Weights))

// Config is what all trainers must agree on.
type Config struct {
	Batch          int // digits in a step, over all trainers
	Rate, Momentum float32
	Seed           uint64
	Sharded        bool // deal the optimiser out, see shard
}

// Trainer is an actor that trains its copy of the network on its share of the digits. The copies stay the same, bit for bit:
// they begin with the weights of rank 0, and AllReduce gives the same gradient to all.
type Trainer struct {
	cfg      Config
	shares   []share // one for each step of an epoch
	weights  Params
	gradient Params    // of the batch: first of the trainer's share, then of all
	velocity []float32 // of the weights
	shard    *shard    // instead of velocity, if the optimiser is dealt out

	// Of trainers that go on when others are lost.
	step   int    // since the beginning
	before state  // the last step
	member uint32 // epoch of the group that the shares are for
}

// NewTrainer makes a trainer that has neither digits nor weights yet.
func NewTrainer(_ context.Context, cfg Config) (*Trainer, error) {
	return &Trainer{cfg: cfg, weights: newParams(), gradient: newParams(), velocity: newParams().Flat}, nil
}

// Load takes the trainer's share of the digits and the weights of rank 0.
func (t *Trainer) Load(ctx context.Context, _ core.Void) (core.Void, error) {
	g, err := collective.FromContext(ctx, group)
	if err != nil {
		return core.Void{}, err
	}
	digits, err := dataset()
	if err != nil {
		return core.Void{}, err
	}
	t.shares = sharesOf(digits[:trainLines], t.cfg, g.Rank(), g.Size())
	t.member = g.Epoch()
	if g.Rank() == 0 {
		t.weights.randomize(t.cfg.Seed)
	}
	if err := collective.Broadcast(ctx, g, t.weights.Flat, 0); err != nil {
		return core.Void{}, err
	}
	if t.cfg.Sharded {
		t.velocity, t.shard = nil, newShard(t.weights.Flat, g.Rank(), g.Size())
	}
	return core.Void{}, nil
}

// Epoch goes through the trainer's digits once, step by step with all others: each works out the gradient of its share,
// AllReduce adds them up, and each moves its weights by the sum.
func (t *Trainer) Epoch(ctx context.Context, _ core.Void) (Score, error) {
	g, err := collective.FromContext(ctx, group)
	if err != nil {
		return Score{}, err
	}
	var epoch Score
	for _, s := range t.shares {
		clear(t.gradient.Flat)
		for i := range s.digits {
			epoch = epoch.plus(t.weights.backward(&s.digits[i], s.scale, t.gradient))
		}
		if err := t.move(ctx, g); err != nil {
			return Score{}, err
		}
	}
	return epoch, nil
}

// move moves the weights by the sum of the gradients of all trainers.
func (t *Trainer) move(ctx context.Context, g *collective.Group) error {
	if t.cfg.Sharded {
		return t.shard.descend(ctx, g, t.weights.Flat, t.gradient.Flat, t.cfg)
	}
	if err := collective.AllReduce(ctx, g, t.gradient.Flat, collective.Sum); err != nil {
		return err
	}
	descend(t.weights.Flat, t.gradient.Flat, t.velocity, t.cfg)
	return nil
}

// Weights returns the weights as they are now. Every trainer has the same.
func (t *Trainer) Weights(context.Context, core.Void) ([]float32, error) { return t.weights.Flat, nil }

// share is what one trainer has of a batch.
type share struct {
	digits []Digit
	scale  float32 // of each digit's gradient
}

// sharesOf returns what a rank has of each batch. All ranks shuffle the digits alike, cut them into the same batches and deal
// each batch out like cards. So the batches, and with them the training, are the same for any number of ranks.
//
// A digit's gradient is divided by the size of the whole batch. The sum over all ranks is then the mean over the batch, even
// where some ranks have a digit more than others; in a mean of the ranks' means the digits of the others would count for more.
func sharesOf(digits []Digit, cfg Config, rank, size int) []share {
	digits = slices.Clone(digits)
	random := rand.New(rand.NewPCG(cfg.Seed, 1)) //nolint:gosec // all trainers must draw the same
	random.Shuffle(len(digits), func(i, j int) { digits[i], digits[j] = digits[j], digits[i] })
	var shares []share
	for batch := range slices.Chunk(digits, cfg.Batch) {
		s := share{scale: 1 / float32(len(batch))}
		for i := rank; i < len(batch); i += size {
			s.digits = append(s.digits, batch[i])
		}
		shares = append(shares, s)
	}
	return shares
}
