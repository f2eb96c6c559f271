// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/collective/flight"
	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/scope"
	"github.com/tutti-go/tutti/internal/wire"
)

// Steps of block frames that carry no data of an operation. Rounds are small numbers.
const (
	stepCredit      = math.MaxUint32 - iota // body: how many bytes the sender of the frame has taken so far from its receiver
	stepVote                                // to the coordinator of a Shrink or Agree; seq: its number; body: a vote
	stepAsk                                 // from the coordinator, to one that has not voted; body: a vote
	stepAlive                               // to a vote or a question of the coordinator: the node lives
	stepVerdict                             // what was decided; body: a verdict
	stepProbe                               // body: the descriptor of an operation in which the sender waits
	stepAnswer                              // to a probe; body: an answer
	stepPoint                               // from Send; seq: the tag; body: the descriptor and data
	stepPointCredit                         // as stepCredit, for the bytes of Send
	stepPointProbe                          // from a member that waits in Send or Recv; seq: its number for that, which the answer repeats
	stepMarks                               // rounds are below
)

// unnumbered stands for the round of operations that have one only.
const unnumbered = -1

// remembered is how many of the last operations a member can name, for comparison with what others called.
const remembered = 16

// member is one rank's end of all its edges. One operation at a time runs on it, in one goroutine; frames are delivered by
// others.
type member struct {
	s       *session
	rank    int
	sc      *scope.Scope  // of the actor
	line    line          // of operations, which run one at a time
	slotted atomic.Bool   // some have run in the background, with a line of their own
	wake    chan struct{} // holds a token after something came from the awaited rank
	plans   plans
	hosts   *hosts    // of the members; nil until an operation needed them
	work    workspace // of the operation that runs
	host    hostState
	heap    heapState
	chooser atomic.Pointer[chooser] // of a group that members have made; nil: the epoch's
	log     *flight.Recorder

	points [4]*schedule.Program // of Send, Recv and SendRecv

	mu struct {
		sync.Mutex

		edges   map[int]*edge
		frames  int              // in their queues
		points  map[int]*edge    // of Send and Recv, whose traffic must not stand in the way of the others'
		seq     uint64           // of the collective operation that began last
		pointed uint64           // how many times Send or Recv were begun
		running bool             // a collective operation
		inHeap  bool             // it, or the last one, goes through the memory of the process
		point   bool             // Send or Recv are running
		calls   [remembered]call // by number of the operation, modulo the length
		awaits  int              // rank that the operation waits for, to receive or to send, or -1
		also    []*flow          // what else it waits for while it awaits that rank
		chase   chase
		moved   uint64 // frames of operations sent and received, and credits
		post    uint64 // how many times something was posted by the operation that runs
		posting int    // rank that something is being posted to, or -1
		rounds  uint64 // of Shrink and Agree that were begun
		guard   guard
		texts   [16]text // of the last calls that differ, for the record
		worded  int      // how many there were
		unused  []*outgoing
	}
}

// call is what a member called.
type call struct {
	descriptor

	hash uint32
}

func newMember(s *session, rank int, sc *scope.Scope) *member {
	m := &member{s: s, rank: rank, sc: sc, wake: make(chan struct{}, 1)}
	m.mu.edges = map[int]*edge{}
	m.mu.points = map[int]*edge{}
	m.mu.awaits = -1
	m.mu.posting = -1
	m.mu.chase = chase{asked: -1, suspect: -1, silent: -1}
	m.log = s.hub.record(flight.Head{Group: s.name, ID: s.id, Epoch: s.epoch, Rank: rank, Size: len(s.members)})
	return m
}

func (m *member) edgeLocked(rank int) *edge { return edgeIn(m.mu.edges, rank, &m.mu.frames) }

func (m *member) pointLocked(rank int) *edge { return edgeIn(m.mu.points, rank, nil) }

// begin takes the next number for an operation; Send and Recv, which not all members call, have none. The error is the *ending
// that a frame which came early calls for.
func (m *member) begin(d descriptor) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.textLocked(&d)
	if d.op.isPoint() {
		m.mu.pointed++
		m.mu.point = true
		m.log.Begin(0, t.hash, t.words)
		return 0, nil
	}
	m.mu.seq++
	m.mu.running, m.mu.inHeap = true, m.s.heap.takes(d.op)
	m.log.Begin(m.mu.seq, t.hash, t.words)
	c := &m.mu.calls[m.mu.seq%remembered]
	if m.mu.inHeap {
		d.counts = nil // all are compared while their calls last
	} else {
		d.counts = append(c.counts[:0], d.counts...) // to name them later
	}
	*c = call{d, t.hash}
	return m.mu.seq, m.checkHeadsLocked()
}

// textLocked describes a call, which is often the same as one of those before: a step of training has one for each of a few buckets.
func (m *member) textLocked(d *descriptor) *text {
	of := d.words()
	for i := range m.mu.texts {
		if t := &m.mu.texts[i]; t.of == of {
			return t
		}
	}
	t := &m.mu.texts[m.mu.worded%len(m.mu.texts)]
	m.mu.worded++
	*t = text{of, d.String(), d.hash()}
	return t
}

// text is the words for a call, and its hash.
type text struct {
	of    [2]uint64 // the call; zero if there is none
	words string
	hash  uint32
}

// finish ends the operation. The error is the *ending that a frame nobody wanted calls for.
func (m *member) finish() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.running, m.mu.point = false, false
	m.unguardLocked()
	m.log.End(flight.Done)
	return m.checkHeadsLocked()
}

func (m *member) checkHeadsLocked() error {
	if m.mu.frames == 0 { // as in the memory of a machine: many members of many processes touch as little as they can
		return nil
	}
	for rank, e := range m.mu.edges {
		if len(e.queue) > 0 {
			if end := m.checkLocked(rank, e.queue[0]); end != nil {
				return end
			}
		}
	}
	return nil
}

// checkLocked compares a frame with what this member called.
func (m *member) checkLocked(from int, f wire.Frame) *ending {
	if f.Seq > m.mu.seq {
		return nil // not begun here
	}
	over := f.Seq < m.mu.seq || !m.mu.running
	known := f.Seq+remembered > m.mu.seq
	ours := m.mu.calls[f.Seq%remembered]
	switch {
	case f.Step == stepProbe && (!known || ours.hash == f.Hash), !over && ours.hash == f.Hash:
		return nil
	}
	theirs, err := parseDescriptor(f.Body)
	switch {
	case err != nil:
		return &ending{code: codeOther, text: fmt.Sprintf("rank %d: from rank %d: %v", m.rank, from, err), cause: err}
	case !known:
		return mismatch("operation %d: rank %d called %v, but rank %d is at operation %d", f.Seq, from, theirs, m.rank, m.mu.seq)
	default:
		return mismatch("operation %d: rank %d called %v, rank %d called %v", f.Seq, from, theirs, m.rank, ours.descriptor)
	}
}

func mismatch(format string, args ...any) *ending {
	return &ending{code: codeMismatch, text: fmt.Sprintf(format, args...)}
}

// deliver takes a block frame in. It does not block. The *ending is what the frame means for the group, if anything.
func (m *member) deliver(from int, local bool, f wire.Frame) *ending {
	m.mu.Lock()
	defer m.mu.Unlock()
	if from == m.mu.chase.silent {
		m.mu.chase.silent = -1
	}
	switch f.Step {
	case stepProbe:
		return m.probedLocked(from, f)
	case stepAnswer:
		return m.answeredLocked(from, f)
	case stepPointProbe:
		m.pointProbedLocked(from, f)
		return nil
	}
	var end *ending
	switch f.Step {
	case stepCredit:
		end = m.creditedLocked(from, m.edgeLocked(from), f)
	case stepPointCredit:
		end = m.creditedLocked(from, m.pointLocked(from), f)
	case stepPoint:
		end = m.queueLocked(from, local, m.pointLocked(from), f)
	default:
		if end = m.checkLocked(from, f); end == nil {
			end = m.queueLocked(from, local, m.edgeLocked(from), f)
		}
	}
	if end != nil {
		return end
	}
	if m.mu.awaits == from || m.hurryLocked(from, f) {
		m.rouse()
	}
	return nil
}

func (m *member) creditedLocked(from int, e *edge, f wire.Frame) *ending {
	if len(f.Body) != 8 {
		return &ending{code: codeOther, text: fmt.Sprintf("rank %d: malformed credit of rank %d", m.rank, from)}
	}
	e.granted = min(e.sent, max(e.granted, binary.LittleEndian.Uint64(f.Body)))
	m.mu.moved++
	return nil
}

func (m *member) queueLocked(from int, local bool, e *edge, f wire.Frame) *ending {
	if len(f.Body) < descriptorSize || e.queued+cost(f.Body) > window && e.queued > 0 {
		return &ending{code: codeOther, text: fmt.Sprintf("rank %d: rank %d sent a malformed block or more than was granted", m.rank, from)}
	}
	const small = 4 << 10
	if !local && !m.awaitsLocked(from) && len(f.Body) <= small {
		// It may wait for long: do not keep the reader's whole arena alive for it.
		f.Body = bytes.Clone(f.Body)
	}
	at := len(e.queue)
	for f.Step < stepMarks && at > 0 && e.queue[at-1].Caller > f.Caller { // what goes over lanes comes in any order
		at--
	}
	e.queue = slices.Insert(e.queue, at, f)
	e.queued += cost(f.Body)
	if e.frames != nil {
		*e.frames++
	}
	m.mu.moved++
	return nil
}

// postGuarded posts a frame for the operation that runs, under the eyes of its guard.
func (m *member) postGuarded(ctx context.Context, to int, k mark, body []byte) error {
	m.mu.Lock()
	m.mu.post++
	m.mu.posting = to
	m.mu.Unlock()
	err := m.post(ctx, to, k, body)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.posting = -1
	return err
}

// await calls take, with the member locked, whenever something came from a rank, until it is done. A stray frame is a reason to
// ask at once what the other called.
func (m *member) await(ctx context.Context, rank, round int, take func() (done, stray bool)) error {
	var timer *time.Timer
	pause, strays := probeAfter, 0
	for {
		m.mu.Lock()
		m.mu.awaits = rank
		done, stray := take()
		m.mu.Unlock()
		if done {
			return nil
		}
		if timer == nil {
			timer = time.NewTimer(pause)
			defer timer.Stop()
		}
		if stray {
			if strays++; strays == 1 {
				timer.Reset(0)
			}
		}
		select {
		case <-m.wake:
		case <-timer.C:
			m.log.Wait(rank)
			quiet, err := m.probe(ctx, rank)
			if err != nil {
				return err
			}
			pause = min(2*pause, probeEvery)
			if quiet {
				timer.Reset(m.s.bounds.tick())
			} else {
				timer.Reset(pause)
			}
		case <-ctx.Done():
			if round == unnumbered {
				return fmt.Errorf("waited for rank %d: %w", rank, stopped(ctx))
			}
			return fmt.Errorf("waited for rank %d in round %d: %w", rank, round, stopped(ctx))
		}
	}
}

// stopped returns why a context is done, in a form that matches the context's error whatever its cause.
func stopped(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// mark is what tells the frames of a member apart.
type mark struct {
	step uint32
	seq  uint64
	hash uint32
	at   uint64 // of a frame of an operation: its place in all that goes to its receiver, in bytes
}

// mark makes the mark of a frame of the operation that runs, which calls it.
func (m *member) mark(step uint32) mark {
	return mark{step: step, seq: m.mu.seq, hash: m.mu.calls[m.mu.seq%remembered].hash} // written by this operation alone, when it began
}

// header makes the header of a frame to another member.
func (m *member) header(to int, k mark) wire.Header {
	return wire.Header{
		Kind: wire.KindBlock, Step: k.step, Seq: k.seq, Hash: k.hash, Caller: k.at,
		Group: m.s.id, Epoch: m.s.epoch, From: uint32(m.rank), To: uint32(to),
	}
}

// post sends one frame to another member.
func (m *member) post(ctx context.Context, to int, k mark, body []byte) error {
	h := m.header(to, k)
	err := m.s.hub.mesh.Send(ctx, m.s.nodeOf(to), &h, body)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return m.unreachable(to, err)
}

// unreachable says what it means that nothing can be sent to a rank: that is as bad as being lost.
func (m *member) unreachable(to int, err error) error {
	if _, lost := errors.AsType[*mesh.LostError](err); lost || errors.Is(err, mesh.ErrClosed) {
		return err
	}
	return &ending{
		code: codeLost, failed: m.s.ranksOn(m.s.nodeOf(to)),
		text: fmt.Sprintf("rank %d cannot reach rank %d: %v", m.rank, to, err), cause: err,
	}
}
