// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/rundir"
	"github.com/tutti-go/tutti/internal/scope"
	"github.com/tutti-go/tutti/internal/wire"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// driverNode is the number of the node that runs the user's program.
const driverNode = 0

// System is a running set of nodes, seen from the program that started it. It is safe for concurrent use.
type System struct {
	table *table
	codec *codec.Codec
	log   *slog.Logger
	dir   *rundir.Dir
	host  string // identity of the driver's host
	peers *peers
	addr  string // where other machines reach this process; empty if they cannot
	store *arrowstore.Store
	mesh  *mesh.Mesh
	scope *scope.Node // of the driver
	nodes nodes       // where the actors live

	transfers *transfers
	routes    routes

	ctx    context.Context //nolint:containedctx // ends when shutdown begins
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // goroutines that end with ctx

	calls struct {
		sync.Mutex
		closed bool
		next   uint64
		open   map[uint64]*Slots
	}
	windows struct {
		sync.Mutex
		limit  int64
		byNode map[uint32]*window
	}
	names struct {
		sync.Mutex
		of map[string]named
	}
	members members
	results struct {
		sync.Mutex
		held map[arrowstore.ID]struct{} // large answers that were not released yet
	}
	orders struct {
		sync.Mutex
		byNode map[uint32]*atomic.Uint64 // number of the last message to each node
	}
	puts struct {
		sync.Mutex
		closed bool
		open   map[*object]struct{} // not released yet
	}
	shutdown struct {
		sync.Once
		err error
	}
}

// nodes starts, reaches and ends the nodes of a system: in this process, or in processes of their own.
type nodes interface {
	// control returns how to ask a node for something.
	control(node uint32) control
	// discard ends what is left of a member that is lost. It does not block.
	discard(node uint32) error
	// stop ends all nodes and waits for them. Nodes that do not end before ctx does are killed.
	stop(ctx context.Context) error
}

// control asks one node for something.
type control interface {
	do(ctx context.Context, req *controlpb.Request) (*controlpb.Reply, error)
	// lost tells the node that another is gone.
	lost(node uint32, cause string)
	// silent returns how long nothing has been heard of the node.
	silent() time.Duration
}

// member is a node as the driver knows it.
type member struct {
	info   NodeInfo
	serial uint32               // next serial number
	actors map[uint32]*resident // live actors, by serial number
}

// NodeInfo describes a node.
type NodeInfo struct {
	ID   uint32
	Host string // identity of the host; nodes with the same one share memory
	PID  int    // process that hosts it, on its machine
	// Address is where nodes of other machines reach it, "host:port"; empty if they cannot.
	Address string
	Alive   bool // false once it is lost
	Actors  int  // live actors
	// Silent is how long the node has given no sign of life, in whole intervals of Heartbeat: 0 for one that answers
	// in time or lives in this process. It counts as lost when this reaches the timeout.
	Silent time.Duration
}

// ActorInfo describes a live actor.
type ActorInfo struct {
	ID   ActorID
	Node uint32 // where it lives now
	Kind string
	Name string // given by Named; may be empty
}

// Stats counts what a system holds.
type Stats struct {
	Nodes  int // alive
	Actors int // alive
	Calls  int // submissions that wait for answers
	// Served is how many bytes of objects other hosts have fetched from the driver.
	Served  int64
	Pending int // answers that they wait for
	// InFlight is the bytes of calls that were sent and not answered, as counted by the option InFlight.
	InFlight int64
	Objects  arrowstore.Stats
}

// Scope returns what other packages of this module may reach of the node that runs the program, as a call's context leads to that
// of an actor's node. It is nil for a nil system.
func (s *System) Scope() *scope.Node {
	if s == nil {
		return nil
	}
	return s.scope
}

// Address returns where nodes of other machines join and reach this process, "host:port", or "" if it does not listen for them. Where
// it listens on all addresses of the machine and nothing is advertised, it has the port only: ":7000".
func (s *System) Address() string { return s.addr }

// Nodes returns the nodes that can host actors, in order of their numbers. Who has seen a call fail that waited for
// the answer of a node that was lost sees it not alive, and finds the names of its actors free.
func (s *System) Nodes() []NodeInfo {
	infos := s.memberInfos()
	for i := range infos {
		if infos[i].Alive {
			infos[i].Silent = s.nodes.control(infos[i].ID).silent()
		}
	}
	return infos
}

func (s *System) memberInfos() []NodeInfo {
	s.members.Lock()
	defer s.members.Unlock()
	infos := make([]NodeInfo, 0, len(s.members.byID))
	for _, m := range s.members.byID {
		info := m.info
		info.Actors = len(m.actors)
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b NodeInfo) int { return int(a.ID) - int(b.ID) })
	return infos
}

// Actors returns the live actors, in order of their identities.
func (s *System) Actors() []ActorInfo {
	names := map[ActorID]string{}
	s.names.Lock()
	for name, n := range s.names.of {
		if n.kind != nil {
			names[n.id] = name
		}
	}
	s.names.Unlock()
	s.members.Lock()
	defer s.members.Unlock()
	var infos []ActorInfo
	for node, m := range s.members.byID {
		for _, r := range m.actors {
			infos = append(infos, ActorInfo{r.id, node, r.kind.name, names[r.id]})
		}
	}
	slices.SortFunc(infos, func(a, b ActorInfo) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return infos
}

// Stats returns what the system holds at the moment.
func (s *System) Stats() Stats {
	st := Stats{Objects: s.store.Stats(), InFlight: s.inFlight()}
	for _, n := range s.Nodes() {
		if n.Alive {
			st.Nodes++
			st.Actors += n.Actors
		}
	}
	s.transfers.mu.Lock()
	st.Served = s.transfers.mu.sent
	s.transfers.mu.Unlock()
	for _, c := range s.openCalls() {
		if n := c.pending(); n > 0 {
			st.Calls++
			st.Pending += n
		}
	}
	return st
}

// err returns ErrClosed if the system does not take calls any more.
func (s *System) err() error {
	if s == nil {
		return fmt.Errorf("%w: nil system", ErrInvalid)
	}
	if s.ctx.Err() != nil {
		return ErrClosed
	}
	return nil
}

// remember gives a submission its number and makes its answers find it.
func (s *System) remember(c *Slots) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	if s.calls.closed {
		return ErrClosed
	}
	s.calls.next++
	c.seq = s.calls.next
	s.calls.open[c.seq] = c
	return nil
}

func (s *System) forget(seq uint64) {
	s.calls.Lock()
	defer s.calls.Unlock()
	delete(s.calls.open, seq)
}

func (s *System) openCalls() []*Slots {
	s.calls.Lock()
	defer s.calls.Unlock()
	calls := make([]*Slots, 0, len(s.calls.open))
	for _, c := range s.calls.open {
		calls = append(calls, c)
	}
	return calls
}

// onReply takes answers in. It runs on a link's reader.
func (s *System) onReply(from uint32, f wire.Frame) {
	if f.Caller != s.mesh.Incarnation() {
		s.log.Warn("an answer is for another process", "peer", from, "caller", f.Caller)
		return
	}
	s.calls.Lock()
	c := s.calls.open[f.Seq]
	s.calls.Unlock()
	var err error
	if c != nil {
		err = c.apply(f.Body)
	} else {
		err = s.releaseLate(from, f.Body)
	}
	if err != nil { // who waits for what it may have held must not wait for ever
		s.mesh.Lost(from, fmt.Errorf("bad reply: %w", err))
	}
}

// releaseLate releases the objects of answers that nobody waits for any more.
func (s *System) releaseLate(from uint32, body []byte) error {
	var ids []arrowstore.ID
	err := wire.ParseReply(body, func(r wire.Result) bool {
		if r.Status == wire.StatusObject { // one slot
			// An answer may come twice if a relay dies; what the first has brought may be in use.
			if id, err := arrowstore.ParseID(r.Data); err == nil && !s.holdsResult(id) {
				ids = append(ids, id)
			}
		}
		return true
	})
	s.releaseRemote(from, ids)
	return err
}

// releaseRemote tells a node that results it keeps are not needed any more. It does not block.
func (s *System) releaseRemote(node uint32, ids []arrowstore.ID) {
	if len(ids) == 0 {
		return
	}
	s.results.Lock()
	for _, id := range ids {
		delete(s.results.held, id)
	}
	s.results.Unlock()
	var body []byte
	for _, id := range ids {
		body = wire.AppendRelease(body, idBytes(id))
	}
	s.background(func() {
		if err := s.mesh.Send(s.ctx, node, &wire.Header{Kind: wire.KindRelease}, body); err != nil {
			s.log.Debug("objects were not released", "peer", node, "err", err) // they end with the node
		}
	})
}

// sendCancels tells nodes that a call was given up, or slots of it. It does not block.
func (s *System) sendCancels(seq uint64, nodes []uint32, slots ...uint32) {
	if len(nodes) == 0 {
		return
	}
	var body []byte
	if len(slots) > 0 {
		body = wire.AppendSlots(nil, slots)
	}
	s.background(func() {
		for _, n := range nodes {
			h := wire.Header{Kind: wire.KindCancel, Caller: s.mesh.Incarnation(), Seq: seq, From: driverNode}
			if err := s.mesh.Send(s.ctx, n, &h, body); err != nil {
				s.log.Debug("cancellation was not delivered", "peer", n, "err", err)
			}
		}
	})
}

// background runs fn on a goroutine that Shutdown waits for, unless shutdown has begun. fn must end with s.ctx.
func (s *System) background(fn func()) { s.begin(fn) }

// begin is background, and reports false if shutdown has begun.
func (s *System) begin(fn func()) bool {
	s.calls.Lock()
	defer s.calls.Unlock()
	if !s.calls.closed {
		s.wg.Go(fn)
	}
	return !s.calls.closed
}

// hostOf returns the identity of the host that a node is on, or "" if there is no such node.
func (s *System) hostOf(node uint32) string {
	if node == driverNode {
		return s.host
	}
	s.members.Lock()
	defer s.members.Unlock()
	if m := s.members.byID[node]; m != nil {
		return m.info.Host
	}
	return ""
}

// onLost fails everything that waits for a node that is gone, and tells the other nodes.
func (s *System) onLost(e *mesh.LostError) {
	if s.ctx.Err() != nil {
		return // nodes that end during shutdown are not lost
	}
	s.log.Warn("node is lost", "node", e.Node, "err", e.Cause)
	s.members.Lock()
	_, member := s.members.byID[e.Node]
	var others []uint32
	for id, m := range s.members.byID {
		if id == e.Node {
			m.info.Alive = false
		} else if m.info.Alive {
			others = append(others, id)
		}
	}
	var moves []move
	var gone []*resident
	if member {
		moves, gone = s.members.forsakeLocked(e.Node)
	}
	s.takeNames(gone)
	s.members.Unlock()
	s.bury(gone)
	// No call can be added: the mesh refuses to send.
	for _, c := range s.openCalls() {
		c.loseNode(e.Node, fmt.Errorf("%w: %w", ErrNodeLost, e))
	}
	s.rerouteAround(e.Node)
	for _, v := range moves {
		s.background(func() { s.carryOut(v) })
	}
	s.background(func() {
		// It may be stopped, or cut off from us only. Its number is not used again, and others wait for what it holds.
		if member {
			if err := s.nodes.discard(e.Node); err != nil {
				s.log.Error("cannot end a lost node", "node", e.Node, "err", err)
			}
		}
		for _, id := range others {
			s.nodes.control(id).lost(e.Node, e.Cause.Error())
		}
	})
}

// reap frees what a process held that has ended. It does not block.
func (s *System) reap() {
	s.background(func() {
		if err := s.store.Reap(); err != nil && s.ctx.Err() == nil {
			s.log.Warn("cannot free what a lost node held", "err", err)
		}
	})
}

// kill ends actors. Those that are moved to another node meanwhile are ended there.
func (s *System) kill(ctx context.Context, ids []ActorID) error {
	for first := true; first || len(ids) > 0; first = false {
		if err := s.err(); err != nil {
			return fmt.Errorf("kill: %w", err)
		}
		places, _, err := s.members.settle(ctx, ids)
		if err == nil {
			err = s.killAt(ctx, places)
		}
		if err != nil {
			return err
		}
		s.members.Lock()
		ids = slices.DeleteFunc(slices.Clone(ids), func(id ActorID) bool { return s.members.residentLocked(id) == nil })
		s.members.Unlock()
	}
	return nil
}

// killAt ends actors at their places, on all nodes side by side.
func (s *System) killAt(ctx context.Context, places []ActorID) error {
	byNode := map[uint32][]uint32{}
	for _, place := range places {
		byNode[place.Node()] = append(byNode[place.Node()], place.Serial())
	}
	errs := make(chan error, len(byNode)) // one for each
	for node, serials := range byNode {
		go func() { errs <- s.killOn(ctx, node, serials) }()
	}
	var err error
	for range byNode {
		err = errors.Join(err, <-errs)
	}
	return err
}

// killsAtOnce bounds the actors that one request kills, so that a control message always holds them.
const killsAtOnce = 1 << 15

// killOn ends actors of one node. Those of a lost node are dead, or have moved.
func (s *System) killOn(ctx context.Context, node uint32, serials []uint32) error {
	for part := range slices.Chunk(serials, killsAtOnce) {
		if s.mesh.IsLost(node) == nil {
			req := &controlpb.Request{Kind: &controlpb.Request_Kill{Kill: &controlpb.Kill{Serials: part}}}
			if _, err := s.nodes.control(node).do(ctx, req); err != nil && !errors.Is(err, ErrNodeLost) {
				return fmt.Errorf("kill %d actors on node %d: %w", len(serials), node, err)
			}
		}
		var gone []*resident
		s.members.Lock()
		for _, serial := range part {
			if r := s.members.byID[node].actors[serial]; r != nil {
				delete(s.members.byID[node].actors, serial)
				gone = append(gone, r)
			}
		}
		s.members.Unlock()
		s.bury(gone)
	}
	return nil
}

// Shutdown ends the system: calls that wait for answers fail with ErrClosed, actors' contexts are cancelled, nodes end, and
// everything the system made on this machine is removed. Nodes that have not ended when ctx does are killed; the context's error is then
// returned, and so is the error of whatever else could not be ended in order. Later calls return the result of the first.
func (s *System) Shutdown(ctx context.Context) error {
	s.shutdown.Do(func() { s.shutdown.err = s.close(ctx) })
	return s.shutdown.err
}

// refuse ends s.ctx and takes no more calls. s.wg can be waited for afterwards.
func (s *System) refuse() {
	s.calls.Lock()
	s.calls.closed = true
	s.calls.Unlock()
	s.cancel(ErrClosed)
}

func (s *System) close(ctx context.Context) error {
	s.refuse()
	for _, c := range s.openCalls() {
		c.lose(func(int) bool { return true }, ErrClosed)
	}
	err := s.nodes.stop(ctx)
	err = errors.Join(err, s.mesh.Close())
	s.wg.Wait()
	s.transfers.close()
	s.releasePuts()
	s.releaseDescents()
	return errors.Join(err, s.store.Close(), s.dir.Close())
}

// releasePuts releases what Put has made and nobody has released. Views of it end here.
func (s *System) releasePuts() {
	s.puts.Lock()
	s.puts.closed = true
	open := slices.Collect(maps.Keys(s.puts.open))
	s.puts.Unlock()
	for _, o := range open {
		o.hold.release()
	}
}

// releaseDescents releases what actors would be made anew of.
func (s *System) releaseDescents() {
	var all []*resident
	s.members.Lock()
	for _, m := range s.members.byID {
		all = slices.AppendSeq(all, maps.Values(m.actors))
		clear(m.actors)
	}
	s.members.Unlock()
	s.bury(all)
}
