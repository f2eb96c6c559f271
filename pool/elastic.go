// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tutti-go/tutti/core"
)

// ReplaceFunc makes actors in place of those that are gone. It may return fewer or more. ctx ends when the pool is closed, and Close
// waits for the function to return.
type ReplaceFunc[A any] func(ctx context.Context, gone []*core.Handle[A]) ([]*core.Handle[A], error)

// Replace makes the pool call fn when actors were lost, with all that were lost since it was last called, so that one Spawn can replace them, and
// take in what it returns. Calls of fn do not overlap. While it runs, calls wait even if no actor is left; if it fails, they
// fail with core.ErrNoActors, and the error is in Stats until fn succeeds. It is not called again before
// another actor is lost. Type A must be that of the pool.
func Replace[A any](fn ReplaceFunc[A]) Option {
	return optionFunc(func(o *options) { o.replace = fn })
}

// SpawnFunc makes n actors. ctx ends when the pool is closed, and Close waits for the function to return.
type SpawnFunc[A any] func(ctx context.Context, n int) ([]*core.Handle[A], error)

// Elastic lets the pool change its size between low and high actors. While calls wait, it calls fn for as many more as could run
// them, with one call of fn at a time, so that one Spawn can make them. When some actors were not needed at any
// moment of the period idle, as many are taken out and killed: who makes a pool elastic gives it the actors. Actors that are
// lost are replaced as far as low and the calls that wait ask for it, so Replace cannot be given too. After fn failed it is not called again for the time
// of idle, and the error is in Stats until it succeeds. 1 <= low <= high, idle must be positive, and A the pool's type.
func Elastic[A any](low, high int, idle time.Duration, fn SpawnFunc[A]) Option {
	return optionFunc(func(o *options) { o.elastic = &elastic{low: low, high: high, idle: idle, fn: fn} })
}

// elastic is what Elastic was given.
type elastic struct {
	low, high int
	idle      time.Duration
	fn        any // a SpawnFunc of the pool's type
}

func (e *elastic) check() error {
	if e.low < 1 || e.high < e.low || e.idle <= 0 {
		return fmt.Errorf("pool: %w: Elastic(%d, %d, %v)", core.ErrInvalid, e.low, e.high, e.idle)
	}
	return nil
}

// keeper keeps the number of members where it should be, on a goroutine of its own, because making actors takes time.
type keeper struct {
	wake    chan struct{} // holds a token while there may be something to do
	replace func(gone []*member) ([]*member, error)
	spawn   func(n int) ([]*member, error) // nil unless the pool is elastic
	kill    func(*member) error
	elastic
}

// newKeeper gives what the options hold the form that the scheduler needs, or returns nil if the members are left alone.
func (p *Pool[A]) newKeeper(o options) (*keeper, error) {
	k := &keeper{wake: make(chan struct{}, 1)}
	switch {
	case o.replace != nil && o.elastic != nil:
		return nil, fmt.Errorf("pool: %w: Replace and Elastic given together", core.ErrInvalid)
	case o.replace != nil:
		fn, ok := o.replace.(ReplaceFunc[A])
		if !ok || fn == nil {
			return nil, fmt.Errorf("pool: %w: Replace(%T) in a pool that takes a %T", core.ErrInvalid, o.replace, fn)
		}
		k.replace = func(gone []*member) ([]*member, error) {
			handles := make([]*core.Handle[A], len(gone))
			for i, m := range gone {
				handles[i] = handleOf[A](m)
			}
			return p.membersOf(fn(&p.sched.life, handles))
		}
	case o.elastic != nil:
		fn, ok := o.elastic.fn.(SpawnFunc[A])
		if !ok || fn == nil {
			return nil, fmt.Errorf("pool: %w: Elastic(%T) in a pool that takes a %T", core.ErrInvalid, o.elastic.fn, fn)
		}
		k.elastic = *o.elastic
		k.spawn = func(n int) ([]*member, error) { return p.membersOf(fn(&p.sched.life, n)) }
		k.kill = func(m *member) error { return handleOf[A](m).Kill(&p.sched.life) }
	default:
		return nil, nil
	}
	return k, nil
}

func (p *Pool[A]) membersOf(handles []*core.Handle[A], err error) ([]*member, error) {
	var members []*member
	for _, h := range handles {
		m, e := p.newMember(h)
		if e == nil {
			members = append(members, m)
		}
		err = errors.Join(err, e)
	}
	return members, err
}

// lostLocked is told of members that are gone.
func (k *keeper) lostLocked(s *scheduler, gone []*member) {
	if k.replace != nil {
		s.mu.gone = append(s.mu.gone, gone...)
		s.mu.replacing = true
	} else if len(s.mu.members) < k.low {
		s.mu.replacing = true
	}
	signal(k.wake)
}

// run is the goroutine of the keeper.
func (k *keeper) run(s *scheduler) {
	period := make(<-chan time.Time)
	if k.spawn != nil {
		t := time.NewTicker(k.idle)
		defer t.Stop()
		period = t.C
	}
	pause := false // fn failed in this period
	for {
		over := false
		select {
		case <-k.wake:
		case <-period:
			over, pause = true, false
		case <-s.life.done:
			return
		}
		s.mu.Lock()
		gone := s.mu.gone
		s.mu.gone = nil
		n := 0
		var surplus []*member
		if k.spawn != nil && !pause {
			n = k.wantLocked(s)
		}
		if over {
			surplus = k.surplusLocked(s)
		}
		s.mu.Unlock()
		var members []*member
		var err error
		switch {
		case len(gone) > 0:
			members, err = k.replace(gone)
		case n > 0:
			members, err = k.spawn(n)
			pause = err != nil
		}
		k.settle(s, members, err, len(gone) > 0 || n > 0)
		k.retire(s, surplus)
	}
}

// wantLocked returns how many members are missing.
func (k *keeper) wantLocked(s *scheduler) int {
	waiting := 0
	for src := range s.mu.sources {
		waiting += src.waiting.len + src.blocked.len
	}
	n := (waiting + s.inFlight - 1) / s.inFlight
	return min(max(n, k.low-len(s.mu.members)), k.high-len(s.mu.members))
}

// surplusLocked takes out members that were idle throughout the period, and starts the next.
func (k *keeper) surplusLocked(s *scheduler) []*member {
	idle := &s.mu.roster.all.byLoad[0]
	n := min(s.mu.minIdle, len(s.mu.members)-k.low)
	var surplus []*member
	for place := idle.front; place != nil && len(surplus) < n; place = place.next {
		surplus = append(surplus, place.value)
		place.value.gone = true
	}
	s.removeLocked(func(m *member) bool { return m.gone })
	s.mu.minIdle = idle.len
	return surplus
}

// settle takes in what a function of the user returned.
func (k *keeper) settle(s *scheduler, members []*member, err error, tried bool) {
	s.mu.Lock()
	for _, m := range members {
		e := s.addLocked(m)
		if e == nil && len(s.mu.dead) > 0 {
			s.mu.dead = s.mu.dead[1:] // it takes the place of one of them
		}
		err = errors.Join(err, e)
	}
	if tried {
		s.mu.keepErr = err
	}
	s.mu.replacing = len(s.mu.gone) > 0
	var stranded []*item
	if s.isEmptyLocked() {
		stranded = s.strandLocked()
	}
	s.dispatchLocked()
	reason := s.noActorsLocked()
	s.mu.Unlock()
	failAll(stranded, reason)
}

// retire ends actors that are not needed.
func (k *keeper) retire(s *scheduler, surplus []*member) {
	for _, m := range surplus {
		if err := k.kill(m); err != nil {
			s.mu.Lock()
			s.mu.keepErr = err
			s.mu.Unlock()
		}
	}
}
