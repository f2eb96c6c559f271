// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Train is data-parallel training, as PyTorch's DistributedDataParallel does it: every actor has a copy of a small neural
// network and a share of the digits, and in each step they all add up their gradients with one AllReduce.
//
//	go run ./examples/train                       # 32 actors on 8 node processes
//	go run ./examples/train -nodes 2 -actors 1    # 2 actors: the same weights in the end, but for rounding
//
//	go run ./examples/train -elastic              # kills a node in mid-run; the others go on
//
// Read main.go, what the driver does; trainer.go, what every actor does; model.go, the mathematics; data.go, the
// digits; elastic.go, how to go on without those that are lost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/collective"
	"github.com/tutti-go/tutti/core"
)

var (
	nodes   = flag.Int("nodes", 8, "node processes")
	perNode = flag.Int("actors", 4, "actors on each node")
	epochs  = flag.Int("epochs", 20, "how often to go through the training set")
	sharded = flag.Bool("sharded", false, "each trainer keeps the velocities of its part of the weights only: ReduceScatter and AllGather")
	elastic = flag.Bool("elastic", false, "train twice, kill a node with -9 in the second run, and compare")
)

var config = Config{Batch: 256, Rate: 0.2, Momentum: 0.9, Seed: 1}

func main() {
	flag.Parse() // in the node processes too, which are started with the same arguments
	core.Main(run, core.LocalNodes(*nodes))
}

func run(ctx context.Context, sys *core.System) error {
	if *elastic {
		if *sharded {
			return errors.New("-elastic and -sharded: a part that is lost with its trainer is nobody else's; choose one")
		}
		return runElastic(ctx, sys)
	}
	start := time.Now()
	cfg := config
	cfg.Sharded = *sharded
	actors, err := trainers.Spawn(ctx, sys, *nodes**perNode, cfg)
	if err != nil {
		return err
	}
	fmt.Printf("%d actors on %d node processes learn to read digits (E. Alpaydin and C. Kaynak, UCI, CC BY 4.0)\n", len(actors), *nodes)
	weights, err := train(ctx, actors, *epochs, func(epoch int, score Score, took time.Duration) {
		fmt.Printf("epoch %2d: %v, %v\n", epoch, score, took.Round(time.Millisecond))
	})
	if err != nil {
		return err
	}
	digits, err := dataset()
	if err != nil {
		return err
	}
	fmt.Printf("test:     %v, %v in total\n", weights.test(digits[trainLines:]), time.Since(start).Round(time.Millisecond))
	return nil
}

// train puts the actors into a group, has them go through the digits for some epochs, and returns the weights. It calls
// report after each epoch.
func train(
	ctx context.Context, actors []*core.Handle[*Trainer], epochs int, report func(epoch int, score Score, took time.Duration),
) (weights Params, err error) {
	g, err := collective.NewGroup(ctx, group, actors)
	if err != nil {
		return Params{}, err
	}
	defer func() { err = errors.Join(err, g.Close(ctx)) }()
	all := batch.New(actors)
	if _, err := call(ctx, all, (*Trainer).Load); err != nil {
		return Params{}, err
	}
	for epoch := range epochs {
		start := time.Now()
		scores, err := call(ctx, all, (*Trainer).Epoch) // the trainers meet at each step, without the driver
		if err != nil {
			return Params{}, err
		}
		var total Score
		for _, s := range scores {
			total = total.plus(s)
		}
		report(epoch+1, total, time.Since(start))
	}
	flat, err := core.Call(ctx, actors[0], (*Trainer).Weights, core.Void{}).Get(ctx) // they all have the same
	if err != nil {
		return Params{}, err
	}
	return paramsOf(flat), nil
}

// call calls a method of all trainers at once and returns their answers in the order of ranks.
func call[Out any](
	ctx context.Context, all *batch.Remote[*Trainer], method func(*Trainer, context.Context, core.Void) (Out, error),
) ([]Out, error) {
	refs, err := batch.Call(ctx, all, method, core.Void{})
	if err != nil {
		return nil, err
	}
	return refs.Get(ctx)
}
