// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"sync"
	"time"

	"github.com/tutti-go/tutti/core"
)

// completions are items whose answers have arrived. They are added by the goroutines that read answers, which must not
// be held up, and taken by the collector.
type completions struct {
	wake chan struct{} // holds a token while there are some
	mu   struct {
		sync.Mutex
		items []*item
	}
}

func (c *completions) add(it *item) {
	c.mu.Lock()
	c.mu.items = append(c.mu.items, it)
	first := len(c.mu.items) == 1
	c.mu.Unlock()
	if first {
		signal(c.wake)
	}
}

// take returns what has come together, in exchange for an empty slice to fill.
func (c *completions) take(empty []*item) []*item {
	c.mu.Lock()
	defer c.mu.Unlock()
	items := c.mu.items
	c.mu.items = empty
	return items
}

// collect is the goroutine that takes answers in: it frees members, gives them the next items, and settles those
// that were answered.
func (s *scheduler) collect() {
	var items []*item
	for {
		select {
		case <-s.done.wake:
		case <-s.life.done:
			return
		}
		clear(items)
		items = s.done.take(items[:0])
		s.complete(items)
	}
}

func (s *scheduler) complete(items []*item) {
	answers := make([]answer, len(items))
	for i, it := range items {
		slots := it.slots.Load()
		answers[i] = answer{slots.Err(0), slots.Stats().Complete}
	}
	final := items[:0]
	var stranded []*item
	s.mu.Lock()
	for i, it := range items {
		m, err := s.releaseLocked(it), answers[i].err
		s.countLocked(m, answers[i])
		if core.Gone(err) {
			stranded = append(stranded, s.evictLocked(m, err)...)
			if s.retryLocked(it) {
				continue
			}
		}
		final = append(final, it)
	}
	s.dispatchLocked()
	err := s.noActorsLocked()
	s.mu.Unlock()
	for _, it := range final {
		it.release()
		it.resolve(it.slots.Load())
	}
	failAll(stranded, err)
}

// retryLocked puts an item whose actor is gone back to the front of its source if it may run again.
func (s *scheduler) retryLocked(it *item) bool {
	if it.attempts++; !it.idempotent || it.attempts >= maxAttempts || it.cause != nil || s.isEmptyLocked() {
		return false
	}
	it.slots.Store(nil)
	s.returnLocked(it)
	return true
}

// answer is what the statistics want to know of an answer.
type answer struct {
	err  error
	took time.Duration
}

func (s *scheduler) countLocked(m *member, a answer) {
	m.times.add(a.took)
	if a.err == nil {
		m.done++
		s.mu.done++
		return
	}
	m.failed++
	s.mu.failed++
}
