// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/wire"
)

// Unregister takes a kind out that a test has registered. Nodes in processes of their own do not know it.
func Unregister(name string) {
	registry.Lock()
	defer registry.Unlock()
	delete(registry.kinds, name)
}

// WaitingAt counts the nodes in this process at which a submission has not ended.
func WaitingAt(s *Slots) int {
	local, ok := s.sys.nodes.(*inProcess)
	if !ok {
		return 0
	}
	n := 0
	for _, h := range local.local {
		h.node.mu.Lock()
		if c, ok := h.node.mu.inbound.find(inboundKey{s.sys.mesh.Incarnation(), s.seq}); ok {
			c.seen = true
			if c.batch.ended() == nil {
				n++
			}
		}
		h.node.mu.Unlock()
	}
	return n
}

// TableHash is what the nodes of a system compare.
func TableHash(s *System) uint64 { return s.table.hash }

// Detached returns slots of a submission that nobody has sent, for actors 1/0 to 1/n-1.
func Detached(n int) *Slots {
	sys := &System{}
	sys.calls.open = map[uint64]*Slots{}
	sys.orders.byNode = map[uint32]*atomic.Uint64{}
	sys.windows.byNode = map[uint32]*window{}
	t := &Targets{sys: sys, kind: &kind{name: "kind"}}
	for i := range n {
		t.ids = append(t.ids, newActorID(1, uint32(i)))
	}
	t.places = t.ids
	t.group()
	return newSlots(t, &method{kind: "kind", name: "method"})
}

// Answer takes the body of a reply in.
func (s *Slots) Answer(body []byte) error { return s.apply(body) }

// Answers gathers outcomes like a node does.
type Answers struct{ a answers }

// Add takes the outcome of a slot in.
func (a *Answers) Add(slot uint32, status wire.Status, data []byte) { a.a.add(slot, status, data) }

// Take returns the bodies of replies.
func (a *Answers) Take() [][]byte { return a.a.take() }

// nodeOf returns a node in this process.
func nodeOf(s *System, node uint32) *node {
	local, ok := s.nodes.(*inProcess)
	if !ok {
		panic("the nodes have processes of their own")
	}
	return local.local[node].node
}

// Inject hands a call of one actor to its node, as if it had come from a peer that relays for the driver.
func Inject[A any](h *Handle[A], from uint32, caller, seq, order uint64, method string, in any) {
	m, err := h.sys.table.named(h.kind, method)
	if err != nil {
		panic(err)
	}
	v, err := m.encode(h.sys.codec, in)
	if err != nil {
		panic(err)
	}
	c := wire.Call{
		Order: order, Method: h.sys.table.methID[m], Runs: []wire.Run{{Actor: h.id.Serial(), Count: 1}},
		Payload: wire.Payload{Kind: wire.PayloadInline, Data: codec.AppendValue(nil, v)},
	}
	nodeOf(h.sys, h.Node()).onCall(from, wire.Frame{Header: wire.Header{Kind: wire.KindCall, Caller: caller, Seq: seq}, Body: c.Append(nil)})
}

// LoseOrder takes the number of a message to a node that will never be sent.
func LoseOrder(s *System, node uint32) { s.orderTo(node).Add(1) }

// DropCalls makes a node lose call frames until restore is called.
func DropCalls(s *System, node uint32) (restore func()) {
	n := nodeOf(s, node)
	n.mesh.Handle(wire.KindCall, func(uint32, wire.Frame) {})
	return func() { n.mesh.Handle(wire.KindCall, n.onCall) }
}

// PercentFor is percentFor.
var PercentFor = percentFor

// Window is the bound on what is under way to a node.
type Window struct{ w window }

// NewWindow returns a window of so many bytes.
func NewWindow(limit int64) *Window { return &Window{window{limit: limit}} }

// Acquire waits for room.
func (w *Window) Acquire(ctx context.Context, bytes int64) error { return w.w.acquire(ctx, bytes) }

// Release makes room.
func (w *Window) Release(bytes int64) { w.w.release(bytes) }

// Backoff is how long an actor waits after its n-th death.
func Backoff(n int) time.Duration { return backoff(n) }

// OpenCalls counts the submissions that the driver still knows.
func OpenCalls(s *System) int { return len(s.openCalls()) }

// CutOff ends the links between two nodes in this process, which stay connected to all others.
func CutOff(s *System, a, b uint32) {
	nodeOf(s, a).mesh.Lost(b, errCutOff)
	nodeOf(s, b).mesh.Lost(a, errCutOff)
}

var errCutOff = errors.New("cut off by the test")

// FarAway returns handles of actors that are not there, on nodes that are not there, each on a host of its own.
func FarAway[A any](h *Handle[A], nodes, actors int) []*Handle[A] {
	for n := range nodes {
		h.sys.addMember(uint32(1000+n), strconv.Itoa(n), "", 0)
	}
	all := make([]*Handle[A], actors)
	for i := range all {
		all[i] = &Handle[A]{id: newActorID(uint32(1000+i*nodes/actors), uint32(i%(actors/nodes))), kind: h.kind, sys: h.sys}
	}
	return all
}

// Plan plans the way to all targets, anew after Forget.
func (t *Targets) Plan() int { return len(t.plan(false, 0).Relays) }

// Forget makes the next Plan make a plan.
func (t *Targets) Forget() {
	t.sys.routes.Lock()
	defer t.sys.routes.Unlock()
	t.sys.routes.epoch++
}

// Renew makes all slots pending, in new memory.
func Renew(s *Slots) {
	s.mu.results, s.mu.order = outcomes{}, completions{}
	s.mu.results.init(len(s.targets.ids))
	s.mu.order.init(len(s.targets.ids))
}

// Outcome returns the flat value of a slot, or its error.
func (s *Slots) Outcome(i int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.mu.results.of(uint32(i))
	return o.data, o.err
}
