// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package batch_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
)

// Scaler is an actor.
type Scaler struct{ factor float64 }

// NewScaler makes a Scaler.
func NewScaler(_ context.Context, factor float64) (*Scaler, error) { return &Scaler{factor}, nil }

// Scale returns the scaled sum.
func (s *Scaler) Scale(_ context.Context, x []float64) (float64, error) {
	if len(x) == 0 {
		return 0, errors.New("nothing to scale")
	}
	var sum float64
	for _, v := range x {
		sum += v * s.factor
	}
	return sum, nil
}

var scalers = core.Register("scaler", NewScaler, core.Method((*Scaler).Scale))

func Example() {
	ctx := context.Background()
	sys, err := core.Start(ctx, core.InProcess(2))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := scaleAll(ctx, sys); err != nil {
		fmt.Println(err)
	}
	if err := sys.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// [6 6 6 6] <nil>
	// batch: 4 of 4 calls failed: [0] scaler.Scale on actor 1/0: nothing to scale; [1] scaler.Scale on actor 1/1: nothing to scale; [2] scaler.Scale on actor 2/0: nothing to scale; and 1 more
}

func scaleAll(ctx context.Context, sys *core.System) error {
	actors, err := scalers.Spawn(ctx, sys, 4, 2)
	if err != nil {
		return err
	}
	all := batch.New(actors)
	refs, err := batch.Call(ctx, all, (*Scaler).Scale, []float64{1, 2})
	if err != nil {
		return err // refs, if not nil, holds what was submitted all the same
	}
	fmt.Println(refs.Get(ctx))

	refs, err = batch.Call(ctx, all, (*Scaler).Scale, nil)
	if err != nil {
		return err
	}
	_, err = refs.Get(ctx)
	fmt.Println(err)
	return nil
}
