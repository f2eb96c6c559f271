// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// allowed are the ways in which a call may fail while actors and nodes die around it.
func allowed(err error) bool {
	for _, want := range []error{
		core.ErrActorDead, core.ErrNodeLost, core.ErrNotSubmitted, core.ErrMailboxFull, core.ErrObjectLost,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, want) {
			return true
		}
	}
	return err == nil
}

// turmoil makes random calls until its steps are over, and waits for all answers.
func turmoil(t *testing.T, sys *core.System, seed uint64, steps int) {
	rng := rand.New(rand.NewPCG(seed, 11))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	check := func(err error) {
		if !allowed(err) || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	var actors []*core.Handle[*probe]
	var open []*core.Slots
	for range steps {
		if len(actors) == 0 || rng.IntN(10) == 0 {
			more, err := probes.Spawn(ctx, sys, 1+rng.IntN(6), setup{}, core.Mailbox(1+rng.IntN(8)), core.Concurrency(1+rng.IntN(2)))
			check(err)
			actors = append(actors, more...)
			continue
		}
		one := actors[rng.IntN(len(actors))]
		sizes := []int{0, small, large}
		switch rng.IntN(8) {
		case 0:
			check(core.Call(ctx, one, (*probe).Sum, ones(sizes[rng.IntN(3)])).Err(ctx))
		case 1:
			check(one.Kill(ctx))
		case 2:
			ref, err := core.Put(ctx, sys, ones(sizes[rng.IntN(3)]))
			check(err)
			check(core.CallRef(ctx, one, (*probe).Echo, ref).Err(ctx))
			ref.Release()
		case 3:
			check(core.CallRef(ctx, one, (*probe).Sum, core.Call(ctx, actors[0], (*probe).Echo, ones(sizes[rng.IntN(3)]))).Err(ctx))
		case 4:
			short, cancel := context.WithTimeout(ctx, time.Duration(rng.IntN(3000))*time.Microsecond)
			check(core.Call(short, one, (*probe).Block, core.Void{}).Err(ctx))
			cancel()
		default:
			targets, err := core.NewTargets(actors)
			check(err)
			s, err := core.Submit(ctx, targets, (*probe).Echo, ones(sizes[rng.IntN(3)]), core.Policy(rng.IntN(2)))
			check(err)
			if s == nil {
				continue
			}
			open = append(open, s)
			if rng.IntN(3) == 0 {
				s.Cancel(context.Canceled)
			}
		}
	}
	for _, s := range open {
		check(s.Wait(ctx, s.Len()))
		for i := range s.Len() {
			check(s.Err(i))
		}
		s.Release()
	}
}

func TestTurmoilIsSurvived(t *testing.T) {
	for name, opt := range map[string]core.Option{"in process": core.InProcess(3), "processes": core.LocalNodes(4)} {
		t.Run(name, func(t *testing.T) {
			sys := coretest.Start(t, opt)
			var wg sync.WaitGroup
			for seed := range uint64(4) {
				wg.Go(func() { turmoil(t, sys, seed, 60) })
			}
			if name == "processes" {
				for node := range uint32(3) {
					turmoil(t, sys, uint64(100+node), 10)
					coretest.KillNode(t, sys, node+1)
				}
			}
			wg.Wait()
			nothingIsLeft(t, sys)
			last := spawn(t, sys, 2)
			require.InDelta(t, large, get(t, core.Call(t.Context(), last[1], (*probe).Sum, ones(large))), 0)
		})
	}
}
