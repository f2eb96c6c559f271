// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/core"
)

// Progress counts the calls of a pool since New.
type Progress struct {
	Given   uint64 // calls that the pool took in: of Submit, Tasks and all Maps
	Done    uint64 // ended with a result
	Failed  uint64 // ended with an error, those that were given up included
	Waiting uint64 // not assigned to an actor yet, Submits that block included
	Running uint64 // all others: assigned, and not ended
}

// OnProgress makes the pool report its progress to fn every so often, for a progress bar or a log: as long as something has changed since the last
// report, and a last time when the pool is closed, after everything has ended. Reports do not overlap; fn runs on a goroutine of
// the pool, which Close waits for, and the last time within Close, so it must not call Close. It may take its time: the pool does not wait for
// it. every must be at least a millisecond, and fn not nil.
func OnProgress(every time.Duration, fn func(Progress)) Option {
	return optionFunc(func(o *options) { o.report = &reporter{every: every, fn: fn} })
}

// reporter is what OnProgress was given.
type reporter struct {
	every time.Duration
	fn    func(Progress)
}

func (r *reporter) check() error {
	if r.every < time.Millisecond || r.fn == nil {
		return fmt.Errorf("pool: %w: OnProgress(%v), must be a millisecond or more, with a function", core.ErrInvalid, r.every)
	}
	return nil
}

// run reports until the scheduler ends. The last report is made by shut.
func (r *reporter) run(s *scheduler) {
	t := time.NewTicker(r.every)
	defer t.Stop()
	var last Progress
	for {
		select {
		case <-t.C:
			if p := s.progress(); p != last {
				last = p
				r.fn(p)
			}
		case <-s.life.done:
			return
		}
	}
}

// tally counts what became of the items that were taken in.
type tally struct{ given, done, failed atomic.Uint64 }

func (t *tally) end(err error) {
	if err == nil {
		t.done.Add(1)
	} else {
		t.failed.Add(1)
	}
}

func (s *scheduler) progress() Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	// What ends between the two then counts as running still.
	p := Progress{Done: s.tally.done.Load(), Failed: s.tally.failed.Load()}
	for src := range s.mu.sources {
		p.Waiting += uint64(src.waiting.len + src.blocked.len)
	}
	p.Given = s.tally.given.Load()
	if ended := p.Done + p.Failed + p.Waiting; ended < p.Given {
		p.Running = p.Given - ended
	}
	return p
}
