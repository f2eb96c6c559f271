// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// actorModel is what a sequential program would make of one actor: each Append returns the length of the log. A call that was
// cancelled may have run or not, so from then on only bounds are known.
type actorModel struct {
	handle   *core.Handle[*probe]
	certain  int  // calls that have run, or will
	possible int  // the same, with those that were cancelled
	killed   bool // later calls fail
	last     int  // highest length that was returned
}

// expectation is what one slot may answer.
type expectation struct {
	actor     *actorModel
	low, high int  // of the value
	dead      bool // the actor was dead when the call was issued
	mayDie    bool // it was killed afterwards
	cancelled bool
}

// issued is a submission whose answers are still to be checked.
type issued struct {
	slots *core.Slots
	want  []*expectation
	step  int
}

// world runs random steps on a system and on the model.
type world struct {
	t      *testing.T
	sys    *core.System
	rng    *rand.Rand
	actors []*actorModel
	open   []*issued
	step   int
}

func TestRandomSequencesMatchASequentialModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			w := &world{t: t, sys: coretest.Start(t, core.InProcess(3)), rng: rand.New(rand.NewPCG(seed, 7))}
			w.spawn()
			for w.step = range 300 {
				switch p := w.rng.IntN(100); {
				case p < 5:
					w.spawn()
				case p < 40:
					w.call(1)
				case p < 80:
					w.call(1 + w.rng.IntN(2*len(w.actors)))
				case p < 84:
					w.kill()
				case p < 90:
					w.cancel()
				default:
					w.check(w.rng.IntN(len(w.open) + 1))
				}
			}
			w.check(len(w.open))
			nothingIsLeft(t, w.sys)
		})
	}
}

func (w *world) spawn() {
	for _, h := range spawn(w.t, w.sys, 1+w.rng.IntN(5), core.Mailbox(1<<20)) {
		w.actors = append(w.actors, &actorModel{handle: h})
	}
}

// call issues one batch to n actors, some of them perhaps several times.
func (w *world) call(n int) {
	i := &issued{step: w.step}
	var handles []*core.Handle[*probe]
	for range n {
		a := w.actors[w.rng.IntN(len(w.actors))]
		handles = append(handles, a.handle)
		if !a.killed {
			a.certain++
			a.possible++
		}
		i.want = append(i.want, &expectation{actor: a, low: a.certain, high: a.possible, dead: a.killed})
	}
	i.slots = submit(w.t.Context(), w.t, handles, (*probe).Append, w.step)
	w.open = append(w.open, i)
}

func (w *world) kill() {
	a := w.actors[w.rng.IntN(len(w.actors))]
	require.NoError(w.t, a.handle.Kill(bounded(w.t)))
	a.killed = true
	for _, i := range w.open {
		for _, e := range i.want {
			if e.actor == a {
				e.mayDie = true
			}
		}
	}
}

// cancel gives up a submission. Which of its calls have run cannot be known, so they only count as possible.
func (w *world) cancel() {
	if len(w.open) == 0 {
		return
	}
	given := w.open[w.rng.IntN(len(w.open))]
	given.slots.Cancel(context.Canceled)
	for _, e := range given.want {
		if e.cancelled {
			continue
		}
		e.cancelled = true
		if e.dead {
			continue
		}
		if !e.actor.killed {
			e.actor.certain--
		}
		for _, i := range w.open { // also what was issued since may find the log shorter
			for _, later := range i.want {
				if later.actor == e.actor && i.step >= given.step && later != e {
					later.low--
				}
			}
		}
	}
}

// check waits for the oldest n submissions and compares every slot.
func (w *world) check(n int) {
	for _, i := range w.open[:n] {
		require.NoError(w.t, i.slots.Wait(bounded(w.t), i.slots.Len()))
		answered := map[int]bool{}
		for k := range i.slots.Len() {
			slot, ok := i.slots.Completed(k)
			require.True(w.t, ok)
			require.False(w.t, answered[slot], "a slot is answered once")
			answered[slot] = true
		}
		require.Len(w.t, answered, len(i.want))
		for slot, e := range i.want {
			v, err := core.RefAt[int](i.slots, slot).Get(w.t.Context())
			w.compare(e, v, err)
		}
	}
	w.open = w.open[n:]
}

func (w *world) compare(e *expectation, v int, err error) {
	switch {
	case err == nil:
		require.False(w.t, e.dead, "an actor that was dead before does not answer")
		require.GreaterOrEqual(w.t, v, e.low)
		require.LessOrEqual(w.t, v, e.high)
		require.Greater(w.t, v, e.actor.last, "calls run in the order they were issued")
		e.actor.last = v
	case errors.Is(err, core.ErrActorDead):
		require.True(w.t, e.dead || e.mayDie, "%v", err)
	case errors.Is(err, context.Canceled):
		require.True(w.t, e.cancelled, "%v", err)
	default:
		require.NoError(w.t, err)
	}
}
