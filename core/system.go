// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/rundir"
	"github.com/tutti-go/tutti/internal/scope"
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
