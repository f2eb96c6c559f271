// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/collective"
	"github.com/tutti-go/tutti/core"
)

// tolerance is how far the accuracy of a training that lost a node may be from that of one that did not.
const tolerance = 0.01

// ElasticEpoch is Epoch for trainers that go on without those that are lost. epoch counts from 0.
//
// Nobody returns before all that are left have finished the epoch: at its end, or when an operation fails, each tells the others by
// Agree how it went. If it did not go well for all, they make a group without the lost, deal the digits out anew and go on from the
// step that the slowest was in.
func (t *Trainer) ElasticEpoch(ctx context.Context, epoch int) (Score, error) {
	g, err := collective.FromContext(ctx, group)
	if err != nil {
		return Score{}, err
	}
	for {
		score, err := t.goOn(ctx, g, epoch)
		if err != nil && !errors.Is(err, collective.ErrAborted) {
			return Score{}, err
		}
		done, err := g.Agree(ctx, err == nil)
		if done || err != nil {
			return score, err
		}
		if g, err = g.Shrink(ctx); err != nil {
			return Score{}, err
		}
	}
}

// goOn takes the steps that are left of an epoch.
func (t *Trainer) goOn(ctx context.Context, g *collective.Group, epoch int) (Score, error) {
	if t.member != g.Epoch() {
		if err := t.meet(ctx, g); err != nil {
			return Score{}, err
		}
	}
	var score Score
	for t.step < (epoch+1)*len(t.shares) {
		s := t.shares[t.step%len(t.shares)]
		clear(t.gradient.Flat)
		for i := range s.digits {
			score = score.plus(t.weights.backward(&s.digits[i], s.scale, t.gradient))
		}
		if err := collective.AllReduce(ctx, g, t.gradient.Flat, collective.Sum); err != nil {
			return Score{}, err
		}
		t.before = state{slices.Clone(t.weights.Flat), slices.Clone(t.velocity)}
		descend(t.weights.Flat, t.gradient.Flat, t.velocity, t.cfg)
		t.step++
	}
	return score, nil
}

// meet brings the members of a new group to the same step, and deals the digits out among them. An all-reduce that succeeded for one
// had the gradients of all, so that nobody is more than a step ahead, which it takes back.
func (t *Trainer) meet(ctx context.Context, g *collective.Group) error {
	slowest := []int{t.step}
	if err := collective.AllReduce(ctx, g, slowest, collective.Min); err != nil {
		return err
	}
	if t.step > slowest[0] {
		copy(t.weights.Flat, t.before.weights)
		copy(t.velocity, t.before.velocity)
		t.step = slowest[0]
	}
	digits, err := dataset()
	if err != nil {
		return err
	}
	t.shares = sharesOf(digits[:trainLines], t.cfg, g.Rank(), g.Size())
	t.member = g.Epoch()
	return nil
}

// state is what a step changes.
type state struct{ weights, velocity []float32 }

// trainElastic is train for trainers of which some may be lost. It calls during when the epoch of the same number is under way,
// and returns the weights and how many trainers are left.
func trainElastic(
	ctx context.Context, actors []*core.Handle[*Trainer], epochs int, during func(epoch int) error,
) (weights Params, left int, err error) {
	g, err := collective.NewGroup(ctx, group, actors)
	if err != nil {
		return Params{}, 0, err
	}
	defer func() { err = errors.Join(err, g.Close(ctx)) }()
	if _, err := call(ctx, batch.New(actors), (*Trainer).Load); err != nil {
		return Params{}, 0, err
	}
	for epoch := range epochs {
		refs, err := batch.Call(ctx, batch.New(actors, batch.BestEffort), (*Trainer).ElasticEpoch, epoch)
		if err != nil {
			return Params{}, 0, err
		}
		if err := during(epoch); err != nil {
			return Params{}, 0, err
		}
		var alive []*core.Handle[*Trainer]
		for i, r := range refs.Stream(ctx) {
			switch {
			case r.Err == nil:
				alive = append(alive, actors[i])
			case !errors.Is(r.Err, core.ErrNodeLost):
				return Params{}, 0, r.Err
			}
		}
		actors = alive
	}
	flat, err := core.Call(ctx, actors[0], (*Trainer).Weights, core.Void{}).Get(ctx)
	if err != nil {
		return Params{}, 0, err
	}
	return paramsOf(flat), len(actors), nil
}

// runElastic trains twice, the second time with a node that is killed in the middle, and compares.
func runElastic(ctx context.Context, sys *core.System) error {
	digits, err := dataset()
	if err != nil {
		return err
	}
	accuracy := func(during func(int) error) (float64, error) {
		start := time.Now()
		actors, err := trainers.Spawn(ctx, sys, *nodes**perNode, config)
		if err != nil {
			return 0, err
		}
		weights, left, err := trainElastic(ctx, actors, *epochs, during)
		if err != nil {
			return 0, err
		}
		score := weights.test(digits[trainLines:])
		fmt.Printf("%d of %d trainers to the end, test: %v, %v\n", left, len(actors), score, time.Since(start).Round(time.Millisecond))
		return score.Accuracy(), nil
	}
	fmt.Printf("undisturbed: ")
	undisturbed, err := accuracy(func(int) error { return nil })
	if err != nil {
		return err
	}
	disturbed, err := accuracy(func(epoch int) error {
		if epoch != *epochs/2 {
			return nil
		}
		victim := sys.Nodes()[*nodes/2]
		fmt.Printf("epoch %d of %d: kill -9 %d, which is node %d\ndisturbed: ", epoch+1, *epochs, victim.PID, victim.ID)
		process, err := os.FindProcess(victim.PID)
		if err != nil {
			return err
		}
		return errors.Join(process.Kill(), process.Release())
	})
	if err != nil {
		return err
	}
	difference := math.Abs(disturbed - undisturbed)
	if difference > tolerance {
		return fmt.Errorf("the accuracies differ by %.4f, which is more than %.2f", difference, tolerance)
	}
	fmt.Printf("the accuracies differ by %.4f, at most %.2f is allowed: training went on without the node\n", difference, tolerance)
	return nil
}
