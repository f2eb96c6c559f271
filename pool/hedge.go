// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"errors"
	"sync"
	"time"

	"github.com/tutti-go/tutti/core"
)

// errOvertaken is why a run is given up whose race another has won. Nobody sees it.
var errOvertaken = errors.New("another actor has answered")

// race is a hedged call: an item that is not scheduled itself, but settled by the first of its runs to answer. The runs are items of
// their own.
type race struct {
	owner *item
	sched *scheduler
	after time.Duration

	mu struct {
		sync.Mutex
		runs  []*item
		live  int // runs that are not settled
		over  bool
		cause error // why the owner was given up; nil if it was not
		timer *time.Timer
	}
}

// begin starts the first run, as enqueue does for other items.
func (r *race) begin() (admitted <-chan struct{}, err error) {
	run := r.newRun()
	run.sent = r.watch
	r.mu.Lock()
	r.mu.runs, r.mu.live = append(r.mu.runs, run), 1
	cause := r.mu.cause
	r.mu.Unlock()
	if cause != nil {
		r.sched.giveUp(cause, run) // admit refuses it
	}
	return r.sched.admit(run)
}

func (r *race) newRun() *item {
	run := newItem(r.owner.src)
	run.call = r.owner.call.Retain()
	run.deadline = r.owner.deadline
	run.idempotent = true
	run.host = r.owner.host
	run.finished = r.finish
	return run
}

// watch starts the wait for the answer of the first run once it is sent, and again when it is sent again.
func (r *race) watch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.mu.over || len(r.mu.runs) > 1:
	case r.mu.timer == nil:
		r.mu.timer = time.AfterFunc(r.after, r.hedge)
	default:
		r.mu.timer.Reset(r.after)
	}
}

// hedge starts the second run, if an actor is free for it. If none is, it would only delay others.
func (r *race) hedge() {
	free := r.sched.hasFree()
	r.mu.Lock()
	if r.mu.over || r.mu.cause != nil {
		r.mu.Unlock()
		return
	}
	if !free {
		r.mu.timer.Reset(r.after)
		r.mu.Unlock()
		return
	}
	run := r.newRun()
	r.mu.runs = append(r.mu.runs, run)
	r.mu.live++
	r.mu.Unlock()
	_, _ = r.sched.admit(run) // its end is reported to finish, whatever it is
}

// finish takes in a run that is settled. An actor's answer, a result or its own error, ends the race; anything else only when no other
// run is left.
func (r *race) finish(run *item) {
	r.mu.Lock()
	r.mu.live--
	over := r.mu.over
	decided := !over && (r.mu.live == 0 || isAnswered(run))
	runs := r.mu.runs
	if decided {
		r.mu.over = true
		if r.mu.timer != nil {
			r.mu.timer.Stop()
		}
	}
	r.mu.Unlock()
	if !decided {
		if over && run.answer.slots != nil {
			run.answer.release()
		}
		return
	}
	for _, other := range runs {
		if other != run {
			r.sched.giveUp(errOvertaken, other)
		}
	}
	r.owner.release()
	if run.answer.slots != nil {
		r.owner.resolve(run.answer)
		return
	}
	r.owner.fail(run.err)
}

// giveUp ends the race early.
func (r *race) giveUp(cause error) {
	r.mu.Lock()
	r.mu.cause = cause
	runs := r.mu.runs
	r.mu.Unlock()
	for _, run := range runs {
		r.sched.giveUp(cause, run)
	}
}

// isAnswered reports whether a run ended with what its actor said.
func isAnswered(run *item) bool {
	if run.answer.slots == nil {
		return false
	}
	err := run.answer.err()
	_, own := errors.AsType[*core.ActorError](err)
	return err == nil || own
}
