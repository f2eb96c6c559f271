// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/tutti-go/tutti/internal/plan"
	"github.com/tutti-go/tutti/internal/wire"
)

// routes is what the driver knows of the ways to its nodes.
type routes struct {
	sync.Mutex
	epoch  uint64              // rises when a plan that was made may be bad
	avoid  map[uint32]struct{} // nodes that a relay could not reach: they are addressed directly
	hosts  map[string]int      // numbers of the hosts, in the order in which they were seen
	fanOut int                 // option FanOut
}

// rankOf numbers a host.
func (r *routes) rankOf(host string) int {
	r.Lock()
	defer r.Unlock()
	return r.rankOfLocked(host)
}

func (r *routes) rankOfLocked(host string) int {
	if r.hosts == nil {
		r.hosts = map[string]int{}
	}
	rank, ok := r.hosts[host]
	if !ok {
		rank = len(r.hosts)
		r.hosts[host] = rank
	}
	return rank
}

// shun makes plans go around a node from now on.
func (r *routes) shun(node uint32) {
	r.Lock()
	defer r.Unlock()
	if r.avoid == nil {
		r.avoid = map[uint32]struct{}{}
	}
	r.avoid[node] = struct{}{}
	r.epoch++
}

func (r *routes) shuns(node uint32) bool {
	r.Lock()
	defer r.Unlock()
	_, ok := r.avoid[node]
	return ok
}

func (r *routes) now() uint64 {
	r.Lock()
	defer r.Unlock()
	return r.epoch
}

// plans are the ways to the nodes of Targets, made once and again when the membership changes.
type plans struct {
	sync.Mutex
	epoch  uint64
	fanOut int        // of inline and object
	inline *plan.Plan // for an argument that is part of the message
	object *plan.Plan // for one that is an object
	direct *plan.Plan // without relays
}

// plan returns the way of a call to all shares. A fanOut of 0 stands for the system's.
func (t *Targets) plan(object bool, fanOut int) *plan.Plan {
	epoch := t.sys.routes.now()
	t.plans.Lock()
	defer t.plans.Unlock()
	if t.plans.epoch != epoch || t.plans.fanOut != fanOut {
		t.plans.epoch, t.plans.fanOut, t.plans.inline, t.plans.object = epoch, fanOut, nil, nil
	}
	p := &t.plans.inline
	if object {
		p = &t.plans.object
	}
	if *p == nil {
		all := make([]int, len(t.shares))
		for i := range all {
			all[i] = i
		}
		*p = t.planFor(all, object, fanOut)
	}
	return *p
}

// planFor returns the way to some shares, by their indices.
func (t *Targets) planFor(shares []int, object bool, fanOut int) *plan.Plan {
	if fanOut == 0 {
		fanOut = t.sys.routes.fanOut
	}
	in := plan.Input{Nodes: make([]uint32, len(shares)), Own: t.sys.routes.rankOf(t.sys.host), FanOut: fanOut}
	if object {
		in.Size = 1
	}
	ranks := make(map[uint32]int, len(shares))
	for i, s := range shares {
		in.Nodes[i] = t.shares[s].node
		ranks[in.Nodes[i]] = t.shares[s].rank
	}
	in.Host = func(n uint32) int { return ranks[n] }
	in.Avoid = func(n uint32) bool { return t.sys.routes.shuns(n) || t.sys.mesh.IsLost(n) != nil }
	p := plan.Make(in)
	for i, j := range p.Direct {
		p.Direct[i] = shares[j]
	}
	renumber(p.Relays, shares)
	return p
}

// renumber makes the nodes of a plan the shares that it was made for.
func renumber(relays []plan.Relay, shares []int) {
	for i := range relays {
		r := &relays[i]
		r.Node = shares[r.Node]
		for j, l := range r.Local {
			r.Local[j] = shares[l]
		}
		renumber(r.Children, shares)
	}
}

// behind calls yield for every share of relays and of all that is behind them.
func behind(relays []plan.Relay, yield func(share int)) {
	for _, r := range relays {
		yield(r.Node)
		for _, l := range r.Local {
			yield(l)
		}
		behind(r.Children, yield)
	}
}

// findRelay returns the relay that is share i, wherever it is in the tree.
func findRelay(relays []plan.Relay, i int) *plan.Relay {
	for j := range relays {
		if relays[j].Node == i {
			return &relays[j]
		}
		if r := findRelay(relays[j].Children, i); r != nil {
			return r
		}
	}
	return nil
}

// route returns the way of the submission, which is noted before anything is sent, so that the death of a relay finds it.
func (s *Slots) route() *plan.Plan {
	var p *plan.Plan
	if s.targets.local {
		p = s.targets.direct()
	} else {
		p = s.bounded(s.targets.plan(s.arg.payload.Kind == wire.PayloadObject, s.cfg.fanOut))
	}
	s.cfg.acked = s.cfg.cast && (s.arg.release != nil || len(p.Relays) > 0)
	if len(p.Relays) > 0 {
		s.mu.Lock()
		s.mu.plans = append(s.mu.plans, p)
		s.mu.Unlock()
	}
	return p
}

// bounded returns a plan in which no relay is sent more than eachRelayed bytes of arguments of one actor each: what is more, the caller
// sends to several of those behind it instead.
func (s *Slots) bounded(p *plan.Plan) *plan.Plan {
	if s.arg.each == nil || s.eachBehind(p.Relays) <= eachRelayed {
		return p
	}
	out := &plan.Plan{Direct: slices.Clone(p.Direct)} // p is for others, too
	s.cut(out, p.Relays)
	return out
}

// cut adds relays to a plan, in pieces where they would be sent too much.
func (s *Slots) cut(p *plan.Plan, relays []plan.Relay) {
	for i, r := range relays {
		if len(r.Children) > 0 && s.eachBehind(relays[i:i+1]) > eachRelayed {
			s.cut(p, r.Children)
			r.Children = nil
		}
		if len(r.Children)+len(r.Local) == 0 || s.eachBehind([]plan.Relay{r}) > eachRelayed {
			p.Direct = append(append(p.Direct, r.Node), r.Local...)
			continue
		}
		p.Relays = append(p.Relays, r)
	}
}

// eachBehind returns how many bytes of arguments of one actor each go to relays and to all behind them.
func (s *Slots) eachBehind(relays []plan.Relay) (sum int) {
	behind(relays, func(share int) { sum += s.arg.sizeFor(&s.targets.shares[share]) })
	return sum
}

// direct is the plan without relays.
func (t *Targets) direct() *plan.Plan {
	t.plans.Lock()
	defer t.plans.Unlock()
	if t.plans.direct == nil {
		t.plans.direct = &plan.Plan{Direct: make([]int, len(t.shares))}
		for i := range t.plans.direct.Direct {
			t.plans.direct.Direct[i] = i
		}
	}
	return t.plans.direct
}

// branch encodes what a relay does.
func (s *Slots) branch(r *plan.Relay) []byte {
	b := wire.Branch{Own: s.wireShare(r.Node)}
	for _, l := range r.Local {
		b.Local = append(b.Local, s.wireShare(l))
	}
	for i := range r.Children {
		c := &r.Children[i]
		b.Children = append(b.Children, wire.Child{Node: s.targets.shares[c.Node].node, Branch: s.branch(c)})
	}
	return b.Append(nil)
}

func (s *Slots) wireShare(i int) wire.Share {
	return wire.Share{Node: s.targets.shares[i].node, Order: s.orderOf(i), Runs: s.targets.shares[i].runs}
}

// sendRelay sends the message for a relay and all behind it, and returns its size.
func (s *Slots) sendRelay(ctx context.Context, send sender, r *plan.Relay) (bytes int64, err error) {
	h := s.header(wire.KindRelay)
	body := wire.Relay{Method: s.sys.table.methID[s.method], Flags: s.cfg.flags(), Payload: s.arg.payload}
	if body.Payload.Kind == wire.PayloadObject {
		body.Payload = s.arg.remotePayload()
	}
	payload := [][]byte{body.Payload.Data}
	if s.arg.each != nil {
		body.Payload.Kind = wire.PayloadEach
		var shares []*share
		behind([]plan.Relay{*r}, func(i int) { shares = append(shares, &s.targets.shares[i]) })
		payload = s.arg.eachFor(s.sys, shares...)
	}
	size := 0
	for _, p := range payload {
		size += len(p)
	}
	parts := append(slices.Insert(payload, 0, body.AppendHead(nil, size)), s.branch(r))
	if err := send(ctx, s.targets.shares[r.Node].node, &h, parts...); err != nil {
		return 0, err
	}
	return int64(wire.HeaderSize + h.Length), nil
}

// reroute sends a call again, with the same numbers, to those of some shares that have not answered. Nodes that have got it take no
// notice but to say again what they have answered through a relay that died.
func (s *Slots) reroute(ctx context.Context, shares []int) {
	s.mu.Lock()
	if s.mu.shares[0].order == 0 { // nothing was sent
		s.mu.Unlock()
		return
	}
	shares = slices.DeleteFunc(shares, func(i int) bool {
		return !s.pendingShareLocked(i) || s.sys.mesh.IsLost(s.targets.shares[i].node) != nil
	})
	s.mu.Unlock()
	if len(shares) == 0 {
		return
	}
	p := s.bounded(s.targets.planFor(shares, s.arg.payload.Kind == wire.PayloadObject, s.cfg.fanOut))
	s.mu.Lock()
	s.mu.plans = append(s.mu.plans, p)
	s.mu.Unlock()
	for _, i := range p.Direct {
		s.resend(ctx, i)
	}
	for i := range p.Relays {
		if _, err := s.sendRelay(ctx, s.sys.mesh.Send, &p.Relays[i]); err != nil { // it died, too: no more trees
			behind(p.Relays[i:i+1], func(share int) { s.resend(ctx, share) })
		}
	}
}

// rerouteAround sends calls again that went through a relay which is lost.
func (s *System) rerouteAround(node uint32) {
	s.routes.Lock()
	s.routes.epoch++
	s.routes.Unlock()
	for _, c := range s.openCalls() {
		i := c.targets.shareOf(node)
		c.mu.Lock()
		var affected []int
		for _, p := range c.mu.plans {
			if r := findRelay(p.Relays, i); r != nil {
				behind([]plan.Relay{*r}, func(share int) { affected = append(affected, share) })
			}
		}
		c.mu.Unlock()
		if len(affected) > 0 {
			slices.Sort(affected)
			s.background(func() { c.reroute(s.ctx, slices.Compact(affected)) })
		}
	}
}

// onUnreached sends calls again that a relay could not hand on.
func (s *System) onUnreached(from uint32, f wire.Frame) {
	nodes, err := wire.ParseUnreached(f.Body)
	if err != nil || len(nodes) == 0 {
		s.mesh.Lost(from, fmt.Errorf("bad report of nodes out of reach: %w", err))
		return
	}
	if peer := nodes[0]; peer != from && s.mesh.IsLost(peer) == nil {
		s.log.Warn("a relay cannot reach a node", "relay", from, "node", peer)
		s.routes.shun(peer)
	}
	s.calls.Lock()
	c := s.calls.open[f.Seq]
	s.calls.Unlock()
	if c == nil || f.Caller != s.mesh.Incarnation() {
		return
	}
	var shares []int
	for _, n := range nodes[1:] {
		if i := c.targets.shareOf(n); i >= 0 {
			shares = append(shares, i)
		}
	}
	s.background(func() { c.reroute(s.ctx, shares) })
}

// firstHops returns to which nodes a cancellation goes: to those who relay the call, or to the nodes themselves.
func (s *Slots) firstHops(nodes []uint32) []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.plans) != 1 { // direct, or sent again on other ways
		return nodes
	}
	via := map[uint32]uint32{}
	for _, r := range s.mu.plans[0].Relays {
		relay := s.targets.shares[r.Node].node
		if s.sys.mesh.IsLost(relay) == nil {
			behind([]plan.Relay{r}, func(share int) { via[s.targets.shares[share].node] = relay })
		}
	}
	seen := map[uint32]bool{}
	hops := make([]uint32, 0, len(nodes))
	for _, n := range nodes {
		if relay, ok := via[n]; ok {
			n = relay
		}
		if !seen[n] {
			seen[n] = true
			hops = append(hops, n)
		}
	}
	return hops
}
