// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/cluster"
	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/scope"
	"github.com/tutti-go/tutti/internal/wire"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// Start starts a system, for programs and tests that own their main function; others use Main. The context bounds the start only:
// the system lasts until Shutdown, which must be called.
//
// With LocalNodes the program runs again as every node. It must call ServeNode before it does anything else, as Main does; in
// a process that was started as a node, Start fails with ErrNodeRole.
// Errors: ErrInvalid for a bad option, ErrBuild if a node runs another build, or what kept a node from starting.
func Start(ctx context.Context, opts ...Option) (*System, error) {
	if os.Getenv(cluster.EnvRole) == cluster.RoleNode {
		return nil, fmt.Errorf("start: %w: call core.Main, or core.ServeNode before core.Start", ErrNodeRole)
	}
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	if cfg.driver != "" {
		return nil, fmt.Errorf("start: %w: Join makes this program a node: use core.Main or core.Serve", ErrNodeRole)
	}
	s := newSystem(ctx, cfg)
	if err := s.start(ctx, cfg); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	return s, nil
}

func newSystem(ctx context.Context, cfg config) *System {
	s := &System{table: newTable(), codec: newCodec(), log: cfg.logger}
	s.calls.open = map[uint64]*Slots{}
	s.names.of = map[string]named{}
	s.windows.limit, s.windows.byNode = cfg.inFlight, map[uint32]*window{}
	s.members.byID = map[uint32]*member{}
	s.members.moved = map[ActorID]ActorID{}
	s.members.changed = make(chan struct{})
	s.results.held = map[arrowstore.ID]struct{}{}
	s.orders.byNode = map[uint32]*atomic.Uint64{}
	s.puts.open = map[*object]struct{}{}
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	s.members.closing = s.ctx.Done()
	return s
}

func (s *System) start(ctx context.Context, cfg config) (err error) {
	// What was opened is closed in reverse order if a later step fails.
	var opened []func() error
	defer func() {
		if err == nil {
			return
		}
		s.refuse()
		for i := range opened {
			err = errors.Join(err, opened[len(opened)-1-i]())
		}
		s.wg.Wait()
	}()
	if s.dir, err = newRunDir(cfg.logger); err != nil {
		return err
	}
	opened = append(opened, s.dir.Close)
	if s.store, err = openStore(s.dir.Path, cfg.hostOf(driverNode), cfg.storeLimit); err != nil {
		return err
	}
	opened = append(opened, s.store.Close)
	if s.host, err = hostIdentity(cfg.hostOf(driverNode), s.dir.Path); err != nil {
		return err
	}
	end := endpoint{node: driverNode, secret: []byte(cfg.net.Secret), transport: new(link.Memory), control: newConduit()}
	if cfg.net.Secret == "" {
		end.secret = []byte(rand.Text())
	}
	s.peers = newPeers(s.dir.Path, s.host, cfg.net.Listen != "")
	end.peers = s.peers
	if cfg.processes {
		if end.transport, err = cfg.net.transport(); err != nil {
			return err
		}
	}
	if cfg.net.Listen != "" {
		l, addr, err := cfg.net.open(end.transport, "")
		if err != nil {
			return err
		}
		end.listeners, s.addr = []link.Listener{l}, addr
		if addr == "" {
			_, port, _ := net.SplitHostPort(l.Addr())
			s.addr = ":" + port
		}
		s.peers.add(&controlpb.Member{Node: driverNode, Host: s.host, Address: addr})
	}
	// The mesh, the control plane and the nodes outlast s.ctx: shutdown needs them, and closes them.
	if s.mesh, err = end.open(context.WithoutCancel(ctx), s.table, cfg.logger); err != nil {
		return err
	}
	opened = append(opened, s.mesh.Close)
	s.scope = &scope.Node{Mesh: s.mesh, Store: s.store, Host: s.host}
	s.routes.fanOut = cfg.fanOut
	s.routes.rankOf(s.host)
	s.transfers = newTransfers(s.ctx, s.mesh, s.store, s.host, s.log, s.begin)
	s.mesh.Handle(wire.KindReply, s.onReply)
	s.mesh.Handle(wire.KindMissing, s.onMissing)
	s.mesh.Handle(wire.KindUnreached, s.onUnreached)
	s.mesh.Handle(wire.KindDeath, s.onDeath)
	s.mesh.OnLost(s.onLost)
	s.mesh.Start()
	if cfg.processes {
		_, err = startProcesses(ctx, s, cfg, end)
	} else {
		s.nodes, err = startInProcess(ctx, s, cfg, end)
	}
	return err
}

func newCodec() *codec.Codec { return codec.New(arrowData{}) }

func openStore(dir, host string, limit int64) (*arrowstore.Store, error) {
	var opts []arrowstore.Option
	if limit > 0 {
		opts = append(opts, arrowstore.Limit(limit))
	}
	return arrowstore.Open(storePath(dir, host), opts...)
}

// endpoint is what a process needs for its end of the mesh.
type endpoint struct {
	node      uint32
	secret    []byte
	transport link.Transport
	peers     *peers
	listeners []link.Listener // beside that in the directory of the system
	control   *conduit        // of the driver; nil elsewhere
}

// open opens the end of the mesh, which takes the listeners over whatever happens.
func (e endpoint) open(ctx context.Context, t *table, log *slog.Logger) (*mesh.Mesh, error) {
	l, err := e.transport.Listen(socketPath(e.peers.dir, e.node))
	if err != nil {
		for _, l := range e.listeners {
			err = errors.Join(err, l.Close())
		}
		return nil, err
	}
	cfg := mesh.Config{
		Self:        e.node,
		Incarnation: drawIncarnation(),
		Secret:      e.secret,
		Table:       t.hash,
		Transport:   e.transport,
		Listeners:   append([]link.Listener{l}, e.listeners...),
		Address:     e.peers.address,
		Logger:      log,
	}
	if e.control != nil {
		cfg.Control = e.control.give
	}
	return mesh.New(ctx, cfg), nil
}

// drawIncarnation draws the number that tells a process from all others.
func drawIncarnation() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// addMember makes a node known that can host actors.
func (s *System) addMember(node uint32, host, address string, pid int) {
	s.members.Lock()
	defer s.members.Unlock()
	s.members.byID[node] = &member{info: NodeInfo{ID: node, Host: host, Address: address, PID: pid, Alive: true}, actors: map[uint32]*resident{}}
}
