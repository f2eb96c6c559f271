// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// Faults are what goes wrong in a simulation. The zero value is nothing.
type Faults struct {
	Late map[int]time.Duration // by rank: how long after the others it begins
	Slow map[int]float64       // by rank: how many times longer its work takes
	Fail map[int]time.Duration // by rank: from when on it does nothing
	// Detect is how long after a failure some rank knows of it, and tells all others. 0: nobody ever does.
	Detect time.Duration
}

// Outcome is what a simulation found.
type Outcome struct {
	Time      time.Duration   // until the last rank that completes the operation does
	Ends      []time.Duration // by rank: when it completes; -1 if it never does
	Completed int             // ranks that do
	Aborted   time.Duration   // when the last survivor that cannot complete knows of a failure; 0 if none has to
	Stuck     int             // survivors that wait for ever
	Messages  int             // sent by all ranks
	Bytes     float64         // in them
	Between   float64         // bytes from one host to another
	Uplinks   float64         // bytes from one rack to another
}

// Simulate runs the schedules of all ranks of an algorithm in virtual time, by the machines that real members use, over data of which
// the larger buffer of a rank has size bytes. A rank works on one message at a time, the ranks of a host share its processors
// and its card, those of a rack its uplink. The same arguments give the same outcome. The model must be valid.
func Simulate(m *Model, c Choice, ranks, root, size int, f Faults) Outcome {
	return simulate(m, c, prepare(c, ranks, root), size, f, never)
}

// cast is what all ranks of an algorithm do.
type cast struct {
	plans    []Schedule
	programs []*Program
}

func prepare(c Choice, ranks, root int) cast {
	var all cast
	var shared *Program
	for r := range ranks {
		s := c.Algorithm.Plan(ranks, r, root, c.Parts)
		if shared == nil || s.Turn == 0 {
			shared = Compile(s)
		}
		all.plans, all.programs = append(all.plans, s), append(all.programs, shared)
	}
	return all
}

// simulate gives up at a bound: the time is then never.
func simulate(m *Model, c Choice, all cast, size int, f Faults, bound time.Duration) Outcome {
	ranks := len(all.plans)
	e := newEngine(m, c, all.plans[0], size)
	e.faults = f
	e.out.Ends = slices.Repeat([]time.Duration{-1}, ranks)
	e.plans = all.plans
	steps := 0
	for _, s := range all.plans {
		steps += s.steps
	}
	e.machines, e.threads, e.begun = make([]Machine, ranks), make([]float64, ranks), make([]bool, ranks)
	left, queue, states := make([]int32, 2*steps), make([]int32, 2*steps), make([]uint8, steps) // of all ranks
	for r, s := range all.plans {
		n := s.steps
		e.machines[r].left, e.machines[r].queue = left[:0:2*n], queue[:0:2*n]
		e.machines[r].Reset(all.programs[r])
		e.states = append(e.states, states[:n:n])
		left, queue, states = left[2*n:], queue[2*n:], states[n:]
	}
	for r := range ranks {
		e.push(event{at: float64(f.Late[r]), rank: int32(r), kind: begins})
	}
	if !e.run(bound) {
		return Outcome{Time: never}
	}
	return e.outcome()
}

// What happens at a time.
const (
	begins  = iota // a rank begins the operation
	sent           // a message has left a rank
	arrives        // a message has come to a rank
	placed         // a rank has put a message where it belongs
	ends           // a rank has done what is left to do by itself
)

type event struct {
	at   float64 // nanoseconds
	seq  uint32  // breaks ties, in the order of creation
	rank int32
	step int32
	kind uint8
}

// state of a step's receive.
const (
	isReleased = 1 << iota
	hasCome
)

// engine is a simulation under way. In a folded one there is one rank, which stands for all: what it sends comes to itself.
type engine struct {
	model      *Model
	ranks      int
	folded     bool
	blockBytes float64
	after      float64 // nanoseconds of work that each rank does in the end
	host, rack int     // ranks of each
	faults     Faults

	plans    []Schedule
	machines []Machine
	states   [][]uint8 // by rank and step
	begun    []bool
	threads  []float64   // by rank: when it is free
	cores    [][]float64 // by host
	cards    [2][]float64
	uplinks  [2][]float64

	queue heap
	seq   uint32
	out   Outcome
}

// newEngine returns one without ranks; first is the schedule of rank 0.
func newEngine(m *Model, c Choice, first Schedule, size int) *engine {
	ranks := first.Ranks
	e := &engine{model: m, ranks: ranks, blockBytes: c.Algorithm.BlockBytes(first, size)}
	_, e.host, e.rack = m.shape()
	if c.Algorithm.Local {
		each := m.Combine
		if c.Algorithm.Op == AllToAll {
			each = m.Copy / float64(ranks)
		}
		e.after = each * float64(size) * float64(ranks-1)
	}
	hosts := (ranks + e.host - 1) / e.host
	for i := range e.cards {
		e.cards[i] = make([]float64, hosts)
		if e.rack > 0 {
			e.uplinks[i] = make([]float64, (ranks+e.rack-1)/e.rack)
		}
	}
	if m.Cores > 0 && m.Cores < e.host {
		for range hosts {
			e.cores = append(e.cores, make([]float64, m.Cores))
		}
	}
	return e
}

func (e *engine) push(ev event) {
	ev.seq = e.seq
	e.seq++
	e.queue.push(ev)
}

// run lets happen what happens, up to a bound, and reports whether that was all.
func (e *engine) run(bound time.Duration) bool {
	last := float64(bound)
	for len(e.queue) > 0 {
		ev := e.queue.pop()
		if ev.at > last {
			return false
		}
		if fail, ok := e.faults.Fail[int(ev.rank)]; ok && ev.at >= float64(fail) {
			continue
		}
		r := int(ev.rank)
		switch ev.kind {
		case begins:
			e.begun[r] = true
			e.threads[r] = ev.at
		case sent:
			e.transmit(ev)
			e.machines[r].Complete(Action{Step: int(ev.step), Send: true})
		case arrives:
			e.states[r][ev.step] |= hasCome
			if e.states[r][ev.step]&isReleased != 0 {
				e.place(ev.at, r, int(ev.step))
			}
		case placed:
			e.machines[r].Complete(Action{Step: int(ev.step)})
		case ends:
			e.out.Ends[r] = time.Duration(math.Ceil(ev.at))
			continue
		}
		if e.begun[r] && ev.kind != arrives {
			e.release(ev.at, r)
		}
	}
	return true
}

// release begins what the machine of a rank lets go.
func (e *engine) release(now float64, r int) {
	m := &e.machines[r]
	for a, ok := m.Next(); ok; a, ok = m.Next() {
		if a.Send {
			t := e.plans[r].at(a.Step).Send
			overhead, work := e.labour(r, t.Peer)
			e.push(event{at: e.work(now, r, overhead+work*e.bytes(t)), rank: int32(r), step: int32(a.Step), kind: sent})
			continue
		}
		e.states[r][a.Step] |= isReleased
		if e.states[r][a.Step]&hasCome != 0 {
			e.place(now, r, a.Step)
		}
	}
	if m.Done() {
		e.begun[r] = false
		e.push(event{at: e.work(now, r, e.after), rank: int32(r), kind: ends})
	}
}

// place begins the work on a message that has come.
func (e *engine) place(now float64, r, step int) {
	st := e.plans[r].at(step)
	overhead, work := e.labour(r, st.Recv.Peer)
	if st.Reduce {
		work += e.model.Combine
	}
	e.push(event{at: e.work(now, r, overhead+work*e.bytes(st.Recv)), rank: int32(r), step: int32(step), kind: placed})
}

func (e *engine) bytes(t Transfer) float64 { return float64(t.Blocks.Len()) * e.blockBytes }

// labour returns a processor's work for a message between two ranks, and for each of its bytes.
func (e *engine) labour(r, peer int) (overhead, work float64) {
	if e.folded {
		_, overhead, work, _ = e.model.folded(e.ranks, e.distance(peer))
		return overhead, work
	}
	l, _ := e.model.between(r, peer)
	return float64(l.Overhead), l.Work
}

func (e *engine) distance(peer int) int { return min(peer, e.ranks-peer) }

// work lets a rank work for a while, as soon as it and a processor are free, and returns when it is done.
func (e *engine) work(now float64, r int, long float64) float64 {
	start := max(now, e.threads[r])
	switch {
	case e.folded:
		long *= e.model.crowd(e.ranks)
	case e.faults.Slow != nil:
		if slow, ok := e.faults.Slow[r]; ok {
			long *= slow
		}
	}
	if e.cores != nil && !e.folded {
		cores := e.cores[r/e.host]
		best := 0 // the one that was free last, of those that are; else the first to be
		for i, free := range cores {
			switch old := cores[best]; {
			case free <= start && (old > start || free > old), free > start && old > start && free < old:
				best = i
			}
		}
		start = max(start, cores[best])
		cores[best] = start + long
	}
	e.threads[r] = start + long
	return start + long
}

// transmit takes a message from the sender's memory to the receiver.
func (e *engine) transmit(ev event) {
	r := int(ev.rank)
	st := e.plans[r].at(int(ev.step))
	size := e.bytes(st.Send)
	e.out.Messages++
	e.out.Bytes += size
	if e.folded {
		latency, _, _, perByte := e.model.folded(e.ranks, e.distance(st.Send.Peer))
		gone := max(ev.at, e.cards[0][0]) + perByte*size
		e.cards[0][0] = gone
		e.push(event{at: gone + latency, step: ev.step, kind: arrives})
		return
	}
	to := st.Send.Peer
	l, leaves := e.model.between(r, to)
	at := ev.at + l.PerByte*size + float64(l.Latency)
	if leaves {
		at = e.cross(ev.at, r, to, size)
	}
	e.push(event{at: at, rank: int32(to), step: int32(e.stepOf(to, ev, st)), kind: arrives})
}

// cross takes a message over the cards of two hosts, and the uplinks of two racks, and returns when it is there.
func (e *engine) cross(now float64, from, to int, size float64) float64 {
	e.out.Between += size
	pass := func(free *float64, at, long float64) float64 {
		*free = max(*free, at) + long
		return *free
	}
	long := e.model.Network.PerByte * size
	at := pass(&e.cards[0][from/e.host], now, long)
	if e.rack > 0 && from/e.rack != to/e.rack {
		e.out.Uplinks += size
		up := long * e.model.oversubscription() * float64(e.host) / float64(e.rack)
		at = max(at, pass(&e.uplinks[0][from/e.rack], at-long, up))
		at = max(at, pass(&e.uplinks[1][to/e.rack], at-up, up))
	}
	at += float64(e.model.Network.Latency)
	return max(at, pass(&e.cards[1][to/e.host], at-long, long)) // the first byte does not wait for the last
}

// stepOf returns the step of the receiver in which it takes a message.
func (e *engine) stepOf(to int, ev event, st Step) int {
	p := &e.plans[to]
	if p.Turn > 0 {
		return int(ev.step)
	}
	lo, hi := 0, p.steps
	for lo < hi {
		if mid := (lo + hi) / 2; p.at(mid).Round < st.Round {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// outcome sums up what happened.
func (e *engine) outcome() Outcome {
	o := e.out
	known := time.Duration(math.MaxInt64) // when the first failure is
	for _, at := range e.faults.Fail {
		known = min(known, at)
	}
	for r, end := range o.Ends {
		if end >= 0 {
			o.Completed++
			o.Time = max(o.Time, end)
		} else if _, failed := e.faults.Fail[r]; !failed {
			o.Stuck++
		}
	}
	if o.Stuck > 0 && e.faults.Detect > 0 && len(e.faults.Fail) > 0 {
		// The notice goes from rank to rank along a binomial tree.
		hop := e.model.Network.Latency + 2*e.model.Network.Overhead
		o.Aborted = known + e.faults.Detect + time.Duration(bits.Len(uint(e.ranks-1)))*hop
		o.Stuck = 0
	}
	return o
}

// heap is a queue of events, the earliest first.
type heap []event

func (a *event) before(b *event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (h *heap) push(ev event) {
	*h = append(*h, ev)
	q := *h
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q[i].before(&q[up]) {
			break
		}
		q[i], q[up] = q[up], q[i]
		i = up
	}
}

func (h *heap) pop() event {
	q := *h
	first, last := q[0], len(q)-1
	q[0] = q[last]
	q = q[:last]
	*h = q
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			break
		}
		if down+1 < last && q[down+1].before(&q[down]) {
			down++
		}
		if !q[down].before(&q[i]) {
			break
		}
		q[i], q[down] = q[down], q[i]
		i = down
	}
	return first
}
