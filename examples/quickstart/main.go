// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Quickstart creates 400 actors on 8 node processes and calls all of them at once.
package main

import (
	"context"
	"fmt"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/pool"
)

type Config struct{ Scale float32 }

type Worker struct{ scale float32 }

func NewWorker(ctx context.Context, cfg Config) (*Worker, error) { return &Worker{cfg.Scale}, nil }

func (w *Worker) Compute(ctx context.Context, x []float32) (float64, error) {
	var sum float64
	for _, v := range x {
		sum += float64(v * w.scale)
	}
	return sum, nil
}

var workers = core.Register("worker", NewWorker, core.Method((*Worker).Compute))

func main() { core.Main(run, core.LocalNodes(8)) }

func run(ctx context.Context, sys *core.System) error {
	actors, err := workers.Spawn(ctx, sys, 400, Config{Scale: 2}) // one batched creation
	if err != nil {
		return err
	}
	p, err := pool.New(actors)
	if err != nil {
		return err
	}
	refs, err := batch.Call(ctx, p.BatchRemote(), (*Worker).Compute, make([]float32, 1<<18))
	if err != nil {
		return err // nothing was lost: refs still holds what was submitted
	}
	sums, err := refs.Get(ctx) // []float64 in actor order; err is *batch.Error, one entry per failed actor
	fmt.Println(len(sums), err)
	return err
}
