// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tutti-go/tutti/collective"
	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/core"
)

// member is an actor that measures.
type member struct{}

func newMember(context.Context, core.Void) (*member, error) { return &member{}, nil }

var members = core.Register("ranking-member", newMember, core.Method((*member).Run))

// Task says what the members measure.
type Task struct {
	Op      schedule.Op
	Size    int // bytes of the larger buffer
	Repeats int
}

// Run returns the time of each iteration at this member, in nanoseconds, from when it has left a barrier.
func (*member) Run(ctx context.Context, t Task) ([]int64, error) {
	g, err := collective.FromContext(ctx, "ranking")
	if err != nil {
		return nil, err
	}
	in, out := make([]float32, t.Size/4), make([]float32, t.Size/4)
	took := make([]int64, 0, t.Repeats)
	for range t.Repeats + 1 {
		if err := collective.Barrier(ctx, g); err != nil {
			return nil, err
		}
		began := time.Now()
		switch t.Op {
		case schedule.AllReduce:
			err = collective.AllReduce(ctx, g, in, collective.Sum)
		case schedule.Broadcast:
			err = collective.Broadcast(ctx, g, in, 0)
		case schedule.AllToAll:
			n := len(in) / g.Size() * g.Size()
			err = collective.AllToAll(ctx, g, in[:n], out[:n])
		default:
			err = fmt.Errorf("no measurement of %v", t.Op)
		}
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(began).Nanoseconds())
	}
	return took[1:], nil // connections are opened by the first
}
