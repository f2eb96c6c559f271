// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/plan"
	"github.com/tutti-go/tutti/internal/wire"
)

// InlineMax is the size in bytes up to which an argument or a result travels inside the message, as a copy of each actor's own.
// An argument counts once for every actor of a batch on the node that has most of them, because each decodes its own. Anything
// larger is put once into the object store of its host and read there in place. docs/decisions/0001 has the measurement.
const InlineMax = 100 << 10

// eachMax bounds the bytes of inline arguments in one message when every actor gets its own. Where that many actors share a node,
// smaller arguments go through the store.
const eachMax = 16 << 20

// Targets are the actors of a batch, checked and grouped by node once so that repeated calls need not, unless one of them moves. They are immutable.
type Targets struct {
	sys       *System
	kind      *kind
	ids       []ActorID
	places    []ActorID // of the actors, in the epoch of the system's members
	epoch     uint64
	latest    atomic.Pointer[Targets] // the same actors as they were placed when they were last called; nil if that is here
	shares    []share
	slotShare []uint32 // index of a slot's share; nil if there is one share
	// largest is the number of actors in the largest share.
	largest int
	local   bool // all are on the driver's host
	plans   plans
}

// share is the part of a batch that goes to one node, in one message.
type share struct {
	node  uint32
	host  string         // of the node
	rank  int            // number of the host
	order *atomic.Uint64 // number of the last message to the node
	slots []uint32
	runs  []wire.Run
}

// NewTargets checks that the actors can be called together: at least one, none nil, all of one kind and one
// system. The same actor may be there more than once; it then gets several calls. Errors: ErrNoActors, ErrMixed, ErrInvalid, ErrTooLarge.
func NewTargets[A any](handles []*Handle[A]) (*Targets, error) {
	if len(handles) == 0 {
		return nil, fmt.Errorf("batch: %w", ErrNoActors)
	}
	if len(handles) > wire.MaxTargets {
		return nil, fmt.Errorf("batch of %d actors: %w, the bound is %d", len(handles), ErrTooLarge, wire.MaxTargets)
	}
	t := &Targets{ids: make([]ActorID, len(handles))}
	for i, h := range handles {
		if h == nil || h.sys == nil {
			return nil, fmt.Errorf("batch: %w: handle %d is nil", ErrInvalid, i)
		}
		if i == 0 {
			t.sys, t.kind = h.sys, h.kind
		}
		if h.sys != t.sys {
			return nil, fmt.Errorf("batch: %w: actor %d belongs to another system than actor 0", ErrMixed, i)
		}
		if h.kind != t.kind {
			return nil, fmt.Errorf("batch: %w: actor %d is of kind %q, actor 0 of kind %q", ErrMixed, i, h.kind.name, t.kind.name)
		}
		t.ids[i] = h.id
	}
	t.locate()
	return t, nil
}

// group makes the shares, in order of each node's first actor. It takes every lock once and allocates once for all shares, for there may be
// ten thousand.
func (t *Targets) group() {
	of := make([]uint32, len(t.ids)) // share of each slot
	index := map[uint32]uint32{}
	var counts []int
	last := uint32(0)
	for slot, place := range t.places {
		if node := place.Node(); slot == 0 || t.shares[last].node != node { // neighbours are mostly on one node
			i, ok := index[node]
			if !ok {
				i = uint32(len(t.shares))
				index[node] = i
				t.shares = append(t.shares, share{node: node})
				counts = append(counts, 0)
			}
			last = i
		}
		of[slot] = last
		counts[last]++
	}
	t.sys.describe(t.shares)
	slots, serials := make([]uint32, len(t.ids)), make([]uint32, len(t.ids))
	runs := make([]wire.Run, len(t.shares)) // room for one each
	bySerial := make([][]uint32, len(t.shares))
	t.local = true
	for i, n := range counts {
		t.shares[i].slots, slots = slots[:0:n], slots[n:]
		bySerial[i], serials = serials[:0:n], serials[n:]
		t.largest = max(t.largest, n)
		t.local = t.local && t.shares[i].host == t.sys.host
	}
	for slot, i := range of {
		t.shares[i].slots = append(t.shares[i].slots, uint32(slot))
		bySerial[i] = append(bySerial[i], t.places[slot].Serial())
	}
	for i := range t.shares {
		t.shares[i].runs = wire.AppendRuns(runs[i:i:i+1], t.shares[i].slots, bySerial[i])
	}
	if len(t.shares) > 1 {
		t.slotShare = of
	}
}

// describe fills in what the system knows of the nodes of shares.
func (s *System) describe(shares []share) {
	s.members.Lock()
	for i := range shares {
		if shares[i].node == driverNode {
			shares[i].host = s.host
		} else if m := s.members.byID[shares[i].node]; m != nil {
			shares[i].host = m.info.Host
		}
	}
	s.members.Unlock()
	s.orders.Lock()
	for i := range shares {
		shares[i].order = s.orderToLocked(shares[i].node)
	}
	s.orders.Unlock()
	s.routes.Lock()
	defer s.routes.Unlock()
	for i := range shares {
		shares[i].rank = s.routes.rankOfLocked(shares[i].host)
	}
}

// Len returns the number of actors.
func (t *Targets) Len() int { return len(t.ids) }

// System returns the system that the actors belong to.
func (t *Targets) System() *System { return t.sys }

// IDs returns the identities of the actors, in slot order. They must not be changed.
func (t *Targets) IDs() []ActorID { return t.ids }

// argument is an encoded argument, ready to be sent to any number of nodes.
type argument struct {
	payload wire.Payload // of all slots, unless each is set
	origin  uint32       // node whose host has the object that the payload names
	each    []argument   // of one slot each; release and put are those of all together
	release func()       // lets go of the object that the payload names; nil if the payload is inline
	put     int64        // bytes that were put into the store for this call
}

// copiedPart is the size of an actor's own argument up to which it is copied into the message rather than handed to the link
// as a part: a part costs an entry in the vectored write, which is worth more.
const copiedPart = 512

// payloadFor returns what kind of payload goes to the slots of one share, and its data in parts.
func (a *argument) payloadFor(sys *System, s *share) (wire.PayloadKind, [][]byte) {
	if a.each == nil {
		p := a.payloadAt(sys, s.host)
		return p.Kind, [][]byte{p.Data}
	}
	return wire.PayloadEach, a.eachFor(sys, s)
}

// eachFor returns the payloads of the slots of some shares, one after the other, in parts.
func (a *argument) eachFor(sys *System, shares ...*share) (parts [][]byte) {
	size := 0
	for _, s := range shares {
		for _, slot := range s.slots {
			size += wire.EachRoom
			if n := len(a.each[slot].payload.Data); n <= copiedPart {
				size += n
			}
		}
	}
	data := make([]byte, 0, size)
	for _, s := range shares {
		for _, slot := range s.slots {
			p := a.each[slot].payloadAt(sys, s.host)
			if len(p.Data) <= copiedPart {
				data = wire.AppendEach(data, p)
				continue
			}
			data = wire.AppendEachHead(data, p)
			parts = append(parts, data, p.Data)
			data = data[len(data):]
		}
	}
	return append(parts, data)
}

// payloadAt returns what goes to a node of a host, if each is not set.
func (a *argument) payloadAt(sys *System, host string) wire.Payload {
	if a.payload.Kind != wire.PayloadObject || sys.hostOf(a.origin) == host {
		return a.payload
	}
	return a.remotePayload()
}

// remotePayload names the object that the payload is to nodes of other hosts.
func (a *argument) remotePayload() wire.Payload {
	r := wire.Remote{ID: a.payload.Data, Origin: a.origin, Source: a.origin}
	return wire.Payload{Kind: wire.PayloadRemote, Data: r.Append(nil)}
}

// done lets the argument go. Calling it again has no effect.
func (a *argument) done() {
	if a.release != nil {
		a.release()
		a.release = nil
	}
}

// argumentOf decides how an encoded value travels to at most share actors of one node. The value's buffers are copied
// here, once: into the message or into the store.
func (s *System) argumentOf(v codec.Value, share int) (argument, error) {
	if v.Size()*share <= InlineMax {
		return argument{payload: wire.Payload{Kind: wire.PayloadInline, Data: codec.AppendValue(nil, v)}}, nil
	}
	obj, err := s.put(v)
	if err != nil {
		return argument{}, err
	}
	free := func() {
		s.drop(obj)
		obj.Release()
	}
	return argument{payload: objectPayload(obj), release: free, put: obj.Size()}, nil
}

func objectPayload(obj *arrowstore.Object) wire.Payload {
	return wire.Payload{Kind: wire.PayloadObject, Data: idBytes(obj.ID())}
}

// Submit sends one call of method f with argument in to all targets: the one way in which calls leave a process. Everything that can
// be checked is checked first; an error with nil Slots means that nothing was sent. Otherwise the Slots hold what was submitted,
// even beside an error, which under FailFast is the first failed submission; the slots that were not submitted then fail with
// ErrNotSubmitted. in may be changed as soon as Submit returns. The end of ctx cancels the calls, its deadline travels with them.
func Submit[A, In, Out any](ctx context.Context, t *Targets, f func(A, context.Context, In) (Out, error), in In, opts ...CallOption) (*Slots, error) {
	m, err := lookup(t.kind, f)
	if err != nil {
		return nil, err
	}
	t, cfg, err := t.configure(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("call %v: %w", m, err)
	}
	v, err := encode(t.sys.codec, in)
	if err != nil {
		return nil, fmt.Errorf("argument of %v: %w", m, err)
	}
	return t.submitValue(ctx, m, v, cfg)
}

// SubmitRef is Submit with an object as the argument: the value of ref, passed by reference. If ref is the result of a call
// that is still running, SubmitRef waits for it.
func SubmitRef[A, In, Out any](ctx context.Context, t *Targets, f func(A, context.Context, In) (Out, error), ref *Ref[In], opts ...CallOption) (*Slots, error) {
	m, err := lookup(t.kind, f)
	if err != nil {
		return nil, err
	}
	t, cfg, err := t.configure(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("call %v: %w", m, err)
	}
	if ref == nil {
		return nil, fmt.Errorf("argument of %v: %w: nil reference", m, ErrInvalid)
	}
	arg, err := ref.argument(ctx, t.sys, t.largest)
	if err != nil {
		return nil, fmt.Errorf("argument of %v: %w", m, err)
	}
	return t.submit(ctx, m, arg, cfg)
}

// SubmitNamed is Submit with the method given by name and the argument's type checked at run time. A mismatch is an error that
// matches ErrInvalid and names both types; nothing is sent.
func SubmitNamed(ctx context.Context, t *Targets, name string, in any, opts ...CallOption) (*Slots, error) {
	m, err := t.sys.table.named(t.kind, name)
	if err != nil {
		return nil, err
	}
	t, cfg, err := t.configure(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("call %v: %w", m, err)
	}
	v, err := m.encode(t.sys.codec, in)
	if err != nil {
		return nil, fmt.Errorf("argument of %v: %w", m, err)
	}
	return t.submitValue(ctx, m, v, cfg)
}

// SubmitEach is Submit with an argument of its own for every target: ins[i] goes to target i. All are still one message to each node.
// There must be as many as targets. Any of them that cannot be encoded is named by its index, and nothing is sent.
func SubmitEach[A, In, Out any](ctx context.Context, t *Targets, f func(A, context.Context, In) (Out, error), ins []In, opts ...CallOption) (*Slots, error) {
	m, err := lookup(t.kind, f)
	if err != nil {
		return nil, err
	}
	t, cfg, err := t.configureEach(ctx, m, opts, len(ins), "arguments")
	if err != nil {
		return nil, err
	}
	args := make([]argument, 0, len(ins))
	release := func() {
		for i := range args {
			args[i].done()
		}
	}
	all := argument{}
	for i := range ins {
		v, err := encode(t.sys.codec, ins[i])
		var arg argument
		if err == nil {
			arg, err = t.sys.argumentOf(v, 1+t.largest*InlineMax/eachMax)
		}
		if err != nil {
			release()
			return nil, fmt.Errorf("argument %d of %v: %w", i, m, err)
		}
		if arg.release != nil {
			all.release = release
		}
		args = append(args, arg)
		all.put += arg.put
	}
	all.each = args
	return t.submit(ctx, m, all, cfg)
}

// configureEach is configure for a call that gives each target something of its own.
func (t *Targets) configureEach(ctx context.Context, m *method, opts []CallOption, given int, of string) (*Targets, callConfig, error) {
	t, cfg, err := t.configure(ctx, opts)
	if err == nil && given != len(t.ids) {
		err = fmt.Errorf("%w: %d %s for %d actors", ErrInvalid, given, of, len(t.ids))
	}
	if err == nil {
		err = t.sys.err()
	}
	if err != nil {
		return nil, callConfig{}, fmt.Errorf("call %v: %w", m, err)
	}
	return t, cfg, nil
}

func (t *Targets) submitValue(ctx context.Context, m *method, v codec.Value, cfg callConfig) (*Slots, error) {
	if err := t.sys.err(); err != nil {
		return nil, fmt.Errorf("call %v: %w", m, err)
	}
	arg, err := t.sys.argumentOf(v, t.largest)
	if err != nil {
		return nil, fmt.Errorf("argument of %v: %w", m, err)
	}
	return t.submit(ctx, m, arg, cfg)
}

// submit takes arg over.
func (t *Targets) submit(ctx context.Context, m *method, arg argument, cfg callConfig) (*Slots, error) {
	s := newSlots(t, m)
	s.arg, s.cfg = arg, cfg
	s.deadline, _ = ctx.Deadline()
	if err := s.admit(ctx); err != nil {
		return nil, fmt.Errorf("call %v: %w", m, err)
	}
	messages, sent, err := s.send(ctx)
	s.mu.Lock()
	s.mu.messages, s.mu.bytes, s.mu.submitted = messages, arg.put+sent, time.Since(s.began)
	s.mu.Unlock()
	if cfg.cast {
		s.castOff()
	} else {
		s.watch(ctx)
	}
	return s, err
}

// admit prepares a submission for being sent, or lets go of its argument.
func (s *Slots) admit(ctx context.Context) error {
	err := ended(ctx)
	if err == nil {
		err = s.chargeAll(ctx)
	}
	if err == nil {
		if err = s.sys.remember(s); err != nil {
			s.uncharge()
		}
	}
	if err != nil {
		s.arg.done()
	}
	return err
}

// send sends the messages of a submission: to nodes, and to relays for all that is behind them.
func (s *Slots) send(ctx context.Context) (messages int, bytes int64, err error) {
	s.takeOrders()
	way := s.route()
	burst := s.sys.mesh.Burst(len(way.Direct) + len(way.Relays))
	defer burst.End()
	var skips []skipped
	defer func() { s.sys.sendSkips(skips) }()
	actors := 0 // that were submitted to
	var failed error
	for hop := range len(way.Direct) + len(way.Relays) {
		i, n, err := s.sendHop(ctx, burst.Send, way, hop)
		share := &s.targets.shares[i]
		if err == nil {
			messages++
			bytes += n
			actors += s.reached(way, hop)
			continue
		}
		err = sendError(err)
		skips = append(skips, s.skipShare(i))
		followed := s.loseNode(share.node, err)
		if followed {
			actors += len(share.slots)
		} else if failed == nil {
			failed = fmt.Errorf("submit %v to node %d (%d actors): %w", s.method, share.node, len(share.slots), err)
		}
		if s.cfg.policy == FailFast && !followed {
			rest := s.unsent(way, hop)
			nodes := map[uint32]bool{}
			for _, i := range rest {
				nodes[s.targets.shares[i].node] = true
				skips = append(skips, s.skipShare(i))
			}
			s.failWhere(func(slot int) bool { return nodes[s.place(slot).Node()] }, fmt.Errorf("%w: %w", ErrNotSubmitted, failed))
			return messages, bytes, failed
		}
		if relay := hop - len(way.Direct); relay >= 0 {
			var rest []int
			behind(way.Relays[relay:relay+1], func(share int) { rest = append(rest, share) })
			actors += s.reached(way, hop) - len(share.slots)
			s.reroute(ctx, rest)
		}
	}
	if actors < s.cfg.quorum {
		return messages, bytes, fmt.Errorf("submitted to %d actors of %d, the quorum is %d: %w", actors, s.Len(), s.cfg.quorum, failed)
	}
	return messages, bytes, nil
}

// reached returns how many actors a hop leads to.
func (s *Slots) reached(way *plan.Plan, hop int) (actors int) {
	if hop < len(way.Direct) {
		return len(s.targets.shares[way.Direct[hop]].slots)
	}
	relay := hop - len(way.Direct)
	behind(way.Relays[relay:relay+1], func(share int) { actors += len(s.targets.shares[share].slots) })
	return actors
}

// sendHop sends one message, and returns the share of the node that it goes to and its size.
func (s *Slots) sendHop(ctx context.Context, send sender, way *plan.Plan, hop int) (share int, bytes int64, err error) {
	if hop < len(way.Direct) {
		share = way.Direct[hop]
		bytes, err = s.sendShare(ctx, send, share)
		return share, bytes, err
	}
	r := &way.Relays[hop-len(way.Direct)]
	if bytes, err = s.sendRelay(ctx, send, r); err == nil {
		s.mu.Lock()
		s.mu.relays++
		s.mu.Unlock()
	}
	return r.Node, bytes, err
}

// unsent returns the shares that are not reached if a hop fails and the later ones are left out, without that of the hop's own node.
func (s *Slots) unsent(way *plan.Plan, hop int) (rest []int) {
	if hop < len(way.Direct) {
		rest = append(rest, way.Direct[hop+1:]...)
		behind(way.Relays, func(share int) { rest = append(rest, share) })
		return rest
	}
	behind(way.Relays[hop-len(way.Direct):], func(share int) { rest = append(rest, share) })
	return rest[1:]
}

// header returns the header of the call's messages as of now.
func (s *Slots) header(k wire.Kind) wire.Header {
	h := wire.Header{Kind: k, Caller: s.sys.mesh.Incarnation(), Seq: s.seq, From: driverNode}
	if !s.deadline.IsZero() {
		h.Deadline = max(time.Until(s.deadline), 1) // 0 would be none
	}
	return h
}

// sender is Send of a mesh, or of a burst.
type sender func(ctx context.Context, to mesh.NodeID, h *wire.Header, body ...[]byte) error

// sendShare sends the message of one node to it, and returns its size.
func (s *Slots) sendShare(ctx context.Context, send sender, i int) (bytes int64, err error) {
	share, h := &s.targets.shares[i], s.header(wire.KindCall)
	body := wire.Call{Order: s.orderOf(i), Method: s.sys.table.methID[s.method], Flags: s.cfg.flags(), Runs: share.runs}
	var parts [][]byte
	body.Payload.Kind, parts = s.arg.payloadFor(s.sys, share)
	parts = slices.Insert(parts, 0, body.AppendHead(nil))
	if err := send(ctx, share.node, &h, parts...); err != nil {
		return 0, err
	}
	return int64(wire.HeaderSize + h.Length), nil
}

func (s *Slots) skipShare(i int) skipped {
	return skipped{s.targets.shares[i].node, wire.Orders{First: s.orderOf(i), Last: s.orderOf(i)}}
}

// watch cancels the calls when ctx ends before they do.
func (s *Slots) watch(ctx context.Context) {
	if ctx.Done() == nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { s.Cancel(ended(ctx)) })
	s.OnDone(func() { stop() })
}

// encode encodes a value and gives its failure the package's sentinel.
func encode[T any](c *codec.Codec, v T) (codec.Value, error) {
	out, err := codec.Encode(c, v)
	if err != nil {
		return codec.Value{}, fmt.Errorf("%w: %w", ErrEncode, err)
	}
	return out, nil
}

// storeError gives an error of the object store the package's sentinel.
func storeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, arrowstore.ErrNoSpace):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, arrowstore.ErrNotFound), errors.Is(err, arrowstore.ErrCorrupt):
		return fmt.Errorf("%w: %w", ErrObjectLost, err)
	case errors.Is(err, arrowstore.ErrClosed):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	case errors.Is(err, arrowstore.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return err
}
