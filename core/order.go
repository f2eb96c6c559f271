// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/internal/wire"
)

// Every message of a caller to a node has a number, its order, which the caller takes before it sends anything: one for each node of a
// batch, however many actors it has there. The node takes the messages of a caller in the order of their numbers, whichever way they
// come, and each number once. So calls keep their order when some go through relays and some do not, and a call may be sent
// again when a relay dies without being run twice.

const (
	// maxHeld bounds the messages of one caller that a node holds back while it waits for an earlier one.
	maxHeld = 4096
	// maxHeldBytes bounds their bytes.
	maxHeldBytes = 64 << 20
	// askAfter is how long a node waits for a missing message before it asks the caller; then twice as long each time, up to askAtMost.
	askAfter  = 250 * time.Millisecond
	askAtMost = 8 * time.Second
	// resendAfter is how often a node has to ask for a message before the caller takes it for lost, though no relay is known to be.
	resendAfter = 3
)

// message is a call frame at the node that it is for.
type message struct {
	from      uint32 // node that it came from, which is a relay if it is not the origin
	head      wire.Header
	body      wire.Call
	expires   time.Time // zero if there is no deadline
	cancelled bool      // while it was held back

	call inbound     // what it becomes when its turn comes
	room [1]wire.Run // for body.Runs
}

func (n *node) newMessage(from uint32, head wire.Header) *message {
	m, ok := n.messages.Get().(*message)
	if !ok {
		m = new(message)
	}
	m.from, m.head = from, head
	if head.Deadline > 0 {
		m.expires = time.Now().Add(head.Deadline)
	}
	return m
}

// recycle is called when nobody has a pointer to the message or its call any more.
func (n *node) recycle(m *message) {
	*m = message{}
	n.messages.Put(m)
}

func (m *message) size() int { return len(m.body.Payload.Data) + len(m.body.Runs)*12 }

// lane restores the order of one caller's messages to this node.
type lane struct {
	node   *node
	caller uint64
	origin uint32 // the caller's node

	mu struct {
		sync.Mutex
		next   uint64              // order of the message to be taken next
		held   map[uint64]*message // later ones; nil for one that will never come
		bytes  int                 // in held
		asking *time.Timer         // runs while something is held back
		since  uint64              // value of next when asking was started
		asked  uint64              // how often it has run out since
		closed bool
	}
}

// lane returns the lane of a caller, or nil if the node is closed.
func (n *node) lane(caller uint64, origin uint32) *lane {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.mu.lastLane
	if l != nil && l.caller == caller {
		return l
	}
	l = n.mu.lanes[caller]
	if l == nil && !n.mu.closed {
		l = &lane{node: n, caller: caller, origin: origin}
		l.mu.next = 1
		l.mu.held = map[uint64]*message{}
		n.mu.lanes[caller] = l
	}
	n.mu.lastLane = l
	return l
}

// arrive takes a message in. It runs the message and those behind it that have waited, unless one before it is missing.
func (l *lane) arrive(m *message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	order := m.body.Order
	if order == l.mu.next && len(l.mu.held) == 0 && !l.mu.closed { // the common case
		l.mu.next++
		l.node.accept(m)
		return
	}
	waiting, held := l.mu.held[order]
	switch {
	case l.mu.closed:
	case order < l.mu.next || held && waiting == nil:
		l.node.repeat(m)
	case held: // it waits, and will be answered to where the first copy came from
	case order > l.mu.next && (len(l.mu.held) >= maxHeld || l.mu.bytes+m.size() > maxHeldBytes):
		// Its number is not taken: the caller, when asked for it, will find that nobody waits for its answer.
		l.node.refuse(m, fmt.Errorf("%w: node %d holds back %d calls of %d bytes behind call %d of node %d, which has not arrived",
			ErrMailboxFull, l.node.mesh.Self(), len(l.mu.held), l.mu.bytes, l.mu.next, l.origin))
	default:
		l.mu.held[order] = m
		l.mu.bytes += m.size()
		l.advanceLocked()
	}
}

// skip takes note of messages that will never come.
func (l *lane) skip(first, last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first <= l.mu.next && last >= l.mu.next { // the common case, however long the gap is
		for order := range l.mu.held {
			if order <= last && l.mu.held[order] == nil {
				delete(l.mu.held, order)
			}
		}
		for l.mu.next <= last && l.mu.held[l.mu.next] == nil {
			l.mu.next++
		}
		first = l.mu.next
	}
	for order := first; order <= last && len(l.mu.held) < maxHeld; order++ {
		if _, held := l.mu.held[order]; !held && order >= l.mu.next {
			l.mu.held[order] = nil
		}
	}
	l.advanceLocked()
}

// advanceLocked runs what is next, as long as it is there.
func (l *lane) advanceLocked() {
	for {
		m, ok := l.mu.held[l.mu.next]
		if !ok {
			break
		}
		delete(l.mu.held, l.mu.next)
		l.mu.next++
		if m != nil {
			l.mu.bytes -= m.size()
			l.node.accept(m)
		}
	}
	if len(l.mu.held) > 0 && l.mu.asking == nil && !l.mu.closed {
		l.mu.since, l.mu.asked = l.mu.next, 0
		l.mu.asking = time.AfterFunc(askAfter, l.ask)
	}
}

// ask tells the caller what is missing, if nothing has come since the last time.
func (l *lane) ask() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed || len(l.mu.held) == 0 {
		l.mu.asking = nil
		return
	}
	if l.mu.since != l.mu.next {
		l.mu.since, l.mu.asked = l.mu.next, 0
		l.mu.asking.Reset(askAfter)
		return
	}
	last := l.mu.next // it is missing, or it would have been run
	for last-l.mu.next < maxHeld {
		if _, ok := l.mu.held[last+1]; ok {
			break
		}
		last++
	}
	orders := wire.Orders{First: l.mu.next, Last: last, Asked: l.mu.asked}
	l.mu.asked++
	l.mu.asking.Reset(min(askAfter<<min(l.mu.asked, 16), askAtMost))
	l.node.begin(func() {
		h := wire.Header{Kind: wire.KindMissing, Caller: l.caller, From: l.origin}
		if err := l.node.mesh.Send(l.node.ctx, l.origin, &h, orders.Append(nil)); err != nil {
			l.node.log.Debug("cannot ask for missing calls", "peer", l.origin, "err", err)
		}
	})
}

// cancel marks a call that is held back.
func (l *lane) cancel(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.mu.held {
		if m != nil && m.head.Seq == seq {
			m.cancelled = true
		}
	}
}

// close drops what is held back.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.closed = true
	l.mu.held, l.mu.bytes = nil, 0
	if l.mu.asking != nil {
		l.mu.asking.Stop()
	}
}

// repeat answers a copy of a message that was taken before, to the caller itself: with what has been answered already through a relay,
// which may have died with it. The rest of the answers goes the way of the first copy. What went to the caller itself is not sent
// again, for if that did not arrive, this node is lost.
func (n *node) repeat(m *message) {
	key := inboundKey{m.head.Caller, m.head.Seq}
	n.mu.Lock()
	_, open := n.mu.inbound.find(key)
	n.mu.Unlock()
	bodies, lost, known := n.kept.replay(key)
	if open && !known {
		return
	}
	if !known {
		lost = m.body.Runs // or else it went to the caller itself, before this
	}
	a := &outgoing{key: key, origin: m.head.From}
	a.mu.answers.full = bodies
	a.addFaults(lost, fmt.Errorf("%w: the call has run, but a relay died with its answer, which node %d keeps no longer", ErrNodeLost, n.mesh.Self()))
	n.outbox(m.head.From).put(a)
}

// refuse answers all slots of a message with an error.
func (n *node) refuse(m *message, err error) {
	a := &outgoing{key: inboundKey{m.head.Caller, m.head.Seq}, origin: m.head.From}
	a.addFaults(m.body.Runs, err)
	n.outbox(m.from).put(a)
}

// addFaults fails all slots of runs.
func (a *outgoing) addFaults(runs []wire.Run, err error) {
	f := faultOf(err)
	data := f.Append(nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range runs {
		for i := range r.Count {
			a.mu.answers.add(r.Slot+i, wire.StatusFault, data)
		}
	}
}

func (n *node) onSkip(from uint32, f wire.Frame) {
	orders, err := wire.ParseOrders(f.Body)
	if err != nil {
		n.mesh.Lost(from, fmt.Errorf("bad skip: %w", err))
		return
	}
	if l := n.lane(f.Caller, from); l != nil {
		l.skip(orders.First, orders.Last)
	}
}

// orderTo returns the counter of the messages to a node.
func (s *System) orderTo(node uint32) *atomic.Uint64 {
	s.orders.Lock()
	defer s.orders.Unlock()
	return s.orderToLocked(node)
}

func (s *System) orderToLocked(node uint32) *atomic.Uint64 {
	c := s.orders.byNode[node]
	if c == nil {
		c = new(atomic.Uint64)
		s.orders.byNode[node] = c
	}
	return c
}

// takeOrders numbers the messages of a submission.
func (s *Slots) takeOrders() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.mu.shares {
		s.mu.shares[i].order = s.targets.shares[i].order.Add(1)
	}
}

// orderOf returns the number of the message of a share.
func (s *Slots) orderOf(i int) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.shares[i].order
}

// skipped is a message that was numbered and will not be sent.
type skipped struct {
	node   uint32
	orders wire.Orders
}

// sendSkips tells nodes not to wait for messages. It does not block.
func (s *System) sendSkips(list []skipped) {
	if len(list) == 0 {
		return
	}
	s.background(func() {
		for _, sk := range list {
			h := wire.Header{Kind: wire.KindSkip, Caller: s.mesh.Incarnation(), From: driverNode}
			if err := s.mesh.Send(s.ctx, sk.node, &h, sk.orders.Append(nil)); err != nil {
				s.log.Debug("a skip was not delivered", "peer", sk.node, "err", err) // the node will ask
			}
		}
	})
}

// onMissing is asked by a node for messages that it waits for. Those that nobody waits for any more are skipped, the others sent
// again if the node has asked often enough: they may just take long.
func (s *System) onMissing(from uint32, f wire.Frame) {
	orders, err := wire.ParseOrders(f.Body)
	if err != nil {
		s.mesh.Lost(from, fmt.Errorf("bad question for what is missing: %w", err))
		return
	}
	if last := s.orderTo(from).Load(); orders.Last > last || orders.Last-orders.First > maxHeld {
		s.mesh.Lost(from, fmt.Errorf("%w: it asks for calls %d to %d, and %d were sent", wire.ErrFrame, orders.First, orders.Last, last))
		return
	}
	s.background(func() {
		open := map[uint64]*Slots{}
		for _, c := range s.openCalls() {
			if i := c.targets.shareOf(from); i >= 0 && c.pendingShare(i) {
				c.mu.Lock()
				if order := c.mu.shares[i].order; order != 0 {
					open[order] = c
				}
				c.mu.Unlock()
			}
		}
		var skips []skipped
		for order := orders.First; order <= orders.Last; order++ {
			c := open[order]
			switch n := len(skips) - 1; {
			case c != nil && orders.Asked >= resendAfter:
				c.resend(s.ctx, c.targets.shareOf(from))
			case c != nil:
			case n >= 0 && skips[n].orders.Last == order-1:
				skips[n].orders.Last = order
			default:
				skips = append(skips, skipped{from, wire.Orders{First: order, Last: order}})
			}
		}
		s.sendSkips(skips)
	})
}

// shareOf returns the index of a node's share, or -1.
func (t *Targets) shareOf(node uint32) int {
	return slices.IndexFunc(t.shares, func(s share) bool { return s.node == node })
}

// pendingShare reports whether answers of a share are missing, or a node may need the argument of a cast still.
func (s *Slots) pendingShare(i int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pendingShareLocked(i)
}

func (s *Slots) pendingShareLocked(i int) bool {
	for _, slot := range s.targets.shares[i].slots {
		if c := s.mu.results.code(slot); c == codePending || c == codeUnacked {
			return true
		}
	}
	return false
}

// resend sends the message of a share once more, with the same number.
func (s *Slots) resend(ctx context.Context, i int) {
	if _, err := s.sendShare(ctx, s.sys.mesh.Send, new(draft), i); err != nil {
		s.loseNode(s.targets.shares[i].node, sendError(err))
	}
}
