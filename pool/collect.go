// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"errors"
	"sync"
	"time"

	"github.com/tutti-go/tutti/core"
)

// completion says that some slots of a message were answered.
type completion struct {
	bundle *bundle
	slots  []uint32
	at     time.Time
}

// completions are answers that have arrived. They are added by the goroutines that read answers, which must not
// be held up, and taken by the collector.
type completions struct {
	wake chan struct{} // holds a token while there are some
	mu   struct {
		sync.Mutex
		list []completion
	}
}

func (c *completions) add(x completion) {
	c.mu.Lock()
	c.mu.list = append(c.mu.list, x)
	first := len(c.mu.list) == 1
	c.mu.Unlock()
	if first {
		signal(c.wake)
	}
}

// take returns what has come together, in exchange for an empty slice to fill.
func (c *completions) take(empty []completion) []completion {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.mu.list
	c.mu.list = empty
	return list
}

// collect is the goroutine that takes answers in: it frees members, gives them the next items, and settles those
// that were answered.
func (s *scheduler) collect() {
	var list []completion
	var answers []answered
	for {
		select {
		case <-s.done.wake:
		case <-s.life.done:
			return
		}
		clear(list)
		list = s.done.take(list[:0])
		answers = answers[:0]
		for _, c := range list {
			for _, slot := range c.slots {
				a := answered{item: c.bundle.items[slot], answer: answer{c.bundle.slots, slot}, took: c.at.Sub(c.bundle.sent)}
				a.err = a.answer.err()
				answers = append(answers, a)
				c.bundle.items[slot] = nil // the message may be kept for the answers of others
			}
		}
		s.complete(answers)
		clear(answers)
	}
}

// answered is an item with its answer.
type answered struct {
	item *item
	answer
	err  error
	took time.Duration
}

func (s *scheduler) complete(answers []answered) {
	var stranded []*item
	s.mu.Lock()
	for i := range answers {
		a := &answers[i]
		m := s.releaseLocked(a.item)
		s.countLocked(m, a)
		gone := core.Gone(a.err)
		if gone {
			stranded = append(stranded, s.evictLocked(m, a.err)...)
		}
		if (gone || errors.Is(a.err, core.ErrMadeAnew)) && s.retryLocked(a.item) {
			a.item = nil
		}
	}
	s.dispatchLocked()
	err := s.noActorsLocked()
	s.mu.Unlock()
	for i := range answers {
		a := &answers[i]
		if a.item == nil {
			a.release()
			continue
		}
		a.item.release()
		a.item.resolve(a.answer)
	}
	failAll(stranded, err)
}

// retryLocked puts an item whose actor has died back to the front of its source if it may run again.
func (s *scheduler) retryLocked(it *item) bool {
	if it.attempts++; !it.idempotent || it.attempts >= maxAttempts || it.cause != nil || s.isEmptyLocked() {
		return false
	}
	it.bundle = nil
	s.returnLocked(it)
	return true
}

func (s *scheduler) countLocked(m *member, a *answered) {
	m.times.add(a.took)
	if a.err == nil {
		m.done++
		s.mu.done++
		return
	}
	m.failed++
	s.mu.failed++
}
