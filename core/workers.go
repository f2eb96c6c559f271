// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import "sync"

// maxIdleWorkers bounds the goroutines that a node keeps for work to come, and so the stacks that it keeps.
const maxIdleWorkers = 32

// workers are the goroutines of a node on which its actors' methods run. An actor has one only while it has calls, and gives it
// to the next when it has none left, so that a batch of short calls to many actors runs on few goroutines, with stacks
// that have grown already.
//
// A method may block or compute for as long as it likes: whoever takes work and leaves some behind makes sure that another
// worker is about to look, and one is enough, for it does the same. So work waits for a processor, never for other work.
type workers struct {
	wg *sync.WaitGroup // of the node

	mu struct {
		sync.Mutex
		queue  []turn
		head   int // first waiting turn of queue
		idle   []chan struct{}
		coming bool // a worker was woken or started that has not looked yet
		closed bool
	}
}

// turn is a call that an actor is to run, before what waits in its mailbox.
type turn struct {
	actor *actor
	item  item
	ctx   *callContext
}

// run runs a turn, after those that came before.
func (w *workers) run(t turn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.queue = append(w.mu.queue, t)
	w.callLocked()
}

// quiet reports whether no turn waits.
func (w *workers) quiet() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.head == len(w.mu.queue)
}

// callLocked makes sure that a worker is about to look.
func (w *workers) callLocked() {
	if w.mu.coming {
		return
	}
	w.mu.coming = true
	if last := len(w.mu.idle) - 1; last >= 0 {
		wake := w.mu.idle[last]
		w.mu.idle = w.mu.idle[:last]
		wake <- struct{}{} // has room: its worker waits
		return
	}
	w.wg.Go(w.work)
}

// work is the life of a worker. It ends when there are enough that have nothing to do, with the node, or
// with a method that ends its goroutine.
func (w *workers) work() {
	wake := make(chan struct{}, 1)
	for called := true; ; called = false {
		w.mu.Lock()
		if called {
			w.mu.coming = false
		}
		t, ok := w.takeLocked()
		for !ok {
			if w.mu.closed || len(w.mu.idle) >= maxIdleWorkers {
				w.mu.Unlock()
				return
			}
			w.mu.idle = append(w.mu.idle, wake)
			w.mu.Unlock()
			<-wake // by callLocked or close
			w.mu.Lock()
			w.mu.coming = false
			t, ok = w.takeLocked()
		}
		w.mu.Unlock()
		t.actor.serve(t.item, t.ctx)
	}
}

func (w *workers) takeLocked() (t turn, ok bool) {
	if w.mu.head == len(w.mu.queue) {
		w.mu.queue, w.mu.head = w.mu.queue[:0], 0
		return turn{}, false
	}
	t = w.mu.queue[w.mu.head]
	w.mu.queue[w.mu.head] = turn{}
	w.mu.head++
	if w.mu.head == len(w.mu.queue) {
		w.mu.queue, w.mu.head = w.mu.queue[:0], 0
		return t, true
	}
	w.callLocked()
	return t, true
}

// close ends the workers that have nothing to do, now and later.
func (w *workers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.closed = true
	for _, wake := range w.mu.idle {
		wake <- struct{}{}
	}
	w.mu.idle = nil
}
