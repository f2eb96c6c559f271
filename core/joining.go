// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/cluster"
	"github.com/tutti-go/tutti/internal/handshake"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/reach"
	"github.com/tutti-go/tutti/internal/rundir"
	"github.com/tutti-go/tutti/internal/wire"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

const (
	// joinPatience is how long a node tries to reach a driver that has not come up yet.
	joinPatience = 5 * time.Minute
	// reachTimeout bounds one attempt, with its handshake.
	reachTimeout = 10 * time.Second
	// The pause between attempts doubles from the one to the other.
	minReachPause = 50 * time.Millisecond
	maxReachPause = 2 * time.Second
)

// nodeEnv is what a node process is told: by its environment, or by options.
type nodeEnv struct {
	id         uint32 // wire.NoNode if the driver is to give one
	dir        string // of the system, in a node that the driver has started
	driver     string // its address, in any other
	host       string // name of the host; empty for the machine's own
	net        network
	storeLimit int64 // of a node that the driver has started
}

// takeNodeEnv reads the environment and removes it, so that programs which an actor starts do not take themselves for nodes
// and do not learn the secret.
func takeNodeEnv() (env nodeEnv, err error) {
	get := func(key string) string {
		v := os.Getenv(key)
		err = errors.Join(err, os.Unsetenv(key))
		return v
	}
	node, limit := get(cluster.EnvNode), get(envStoreLimit)
	env.dir, env.driver, env.host = get(cluster.EnvDir), get(cluster.EnvDriver), get(EnvHost)
	get(cluster.EnvRole)
	get(envWaitNodes)
	e := env.net.readEnv(get)
	if err = errors.Join(err, e, env.net.check()); err != nil {
		return env, err
	}
	if env.host != "" && !validHost(env.host) {
		return env, fmt.Errorf("%w: %s=%q, must be 1 to %d letters, digits, dots, dashes or underscores", ErrInvalid, EnvHost, env.host, maxHostName)
	}
	if env.driver != "" {
		env.id = wire.NoNode
		return env, nil
	}
	id, e1 := strconv.ParseUint(node, 10, 32)
	bytes, e2 := strconv.ParseInt(limit, 10, 64)
	if e1 != nil || e2 != nil || env.dir == "" {
		return env, fmt.Errorf("%w: a node needs %s; or, from the driver that started it, %s=%q, %s=%q, %s=%q",
			ErrInvalid, cluster.EnvDriver, cluster.EnvNode, node, cluster.EnvDir, env.dir, envStoreLimit, limit)
	}
	env.id, env.storeLimit = uint32(id), bytes
	return env, nil
}

func serveFromEnv(ctx context.Context) error {
	env, err := takeNodeEnv()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return serveNode(ctx, env, log)
}

// serveNode is the life of a node process. A node that the driver has not started and that loses it joins again, as a new node, unless
// the driver has ended.
func serveNode(ctx context.Context, env nodeEnv, log *slog.Logger) error {
	if env.driver == "" {
		s := &joining{env: env, log: log.With("node", env.id), table: newTable(), patience: joinPatience}
		return s.run(ctx, env.net)
	}
	if env.net.Secret == "" {
		return fmt.Errorf("%w: join %s without the cluster secret: set %s or %s", ErrInvalid, env.driver, cluster.EnvSecret, reach.EnvSecretIn)
	}
	if err := env.net.checkReach("join", env.driver); err != nil {
		return err
	}
	patience, system := joinPatience, uint64(0)
	for {
		s := &joining{env: env, log: log, table: newTable(), patience: patience, system: system}
		err := s.run(ctx, env.net)
		if !s.lostDriver || ctx.Err() != nil {
			return err
		}
		log.Warn("lost the driver, joining again as a new node", "driver", env.driver, "err", err)
		patience, system = s.silence, s.system
	}
}

// joining is the time from a node's joining to the end of its session.
type joining struct {
	env      nodeEnv
	log      *slog.Logger
	table    *table
	patience time.Duration // with a driver that does not answer
	system   uint64        // incarnation of the driver; 0 while any will do

	lostDriver bool          // the session ended without the driver's saying so, and the node joins again
	orphaned   bool          // it ended so, whatever follows
	withDriver bool          // on its machine: they share a directory
	silence    time.Duration // after which the driver would have given this node up

	end      endpoint
	address  string // for other machines
	held     *rundir.Dir
	store    *arrowstore.Store
	mesh     *mesh.Mesh
	node     *node
	shutdown atomic.Bool // the driver has asked for the end
}

// run joins and serves. It returns nil if the driver ended, in order or not.
func (s *joining) run(ctx context.Context, n network) (err error) {
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	tr, err := n.transport()
	if err != nil {
		return err
	}
	s.end = endpoint{node: s.env.id, secret: []byte(n.Secret), transport: tr}
	again := s.system != 0
	conn, err := s.reach(ctx)
	if err != nil && again && ctx.Err() == nil {
		err = fmt.Errorf("%w: the driver, and it does not come back: %w", ErrNodeLost, err)
	}
	if err != nil {
		return err
	}
	if err := s.listen(n, conn); err != nil {
		return errors.Join(err, conn.Close())
	}
	err = s.serve(ctx, conn)
	s.orphaned = errors.Is(err, cluster.ErrSessionEnded) && !s.shutdown.Load()
	switch {
	case !errors.Is(err, cluster.ErrSessionEnded):
		return err
	case s.env.driver != "" && s.orphaned:
		s.lostDriver = true
		return err
	}
	return nil // the driver ended: so does this node
}

// reach connects to the driver's control plane, waiting for a driver that is not there yet.
func (s *joining) reach(ctx context.Context) (link.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, max(s.patience, reachTimeout), errNotReached)
	defer cancel()
	pause := minReachPause
	for attempt := 1; ; attempt++ {
		conn, err := s.tryReach(ctx)
		if err == nil || ctx.Err() != nil || !s.worthAnother(err, attempt) {
			return conn, err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
		pause = min(2*pause, maxReachPause)
	}
}

// maxHangUps is how often a driver may hang up on a node that joins. It does so when many join at once and this one was slow; or always, if one
// of them speaks TLS and the other does not.
const maxHangUps = 6

// worthAnother tells whether to try again after a failure to reach the driver.
func (s *joining) worthAnother(err error, attempt int) bool {
	switch {
	case errors.Is(err, errSlowDriver):
		return true
	case errors.Is(err, handshake.ErrHungUp):
		return attempt < maxHangUps
	case s.env.driver == "" || s.system != 0 && errors.Is(err, syscall.ECONNREFUSED):
		return false // it was there, and is no more
	}
	return link.IsRefused(err)
}

var (
	errNotReached = errors.New("the driver was not reached in time")
	errSlowDriver = fmt.Errorf("no handshake within %v", reachTimeout)
)

func (s *joining) tryReach(ctx context.Context) (link.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, errSlowDriver)
	defer cancel()
	addr, tr := s.env.driver, s.end.transport
	if addr == "" { // a socket will do: what travels is little
		addr, tr = socketPath(s.env.dir, driverNode), link.Unix{}
	}
	conn, err := tr.Dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	party := handshake.Party{
		Hello:  wire.Hello{Node: s.env.id, Table: s.table.hash, Purpose: wire.PurposeControl, Incarnation: drawIncarnation()},
		Secret: s.end.secret,
	}
	peer, err := party.Dial(ctx, conn, func(peer wire.Hello) error {
		if s.system != 0 && peer.Incarnation != s.system {
			return errors.New("another driver answers: this node's has ended")
		}
		return nil
	})
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("join the driver at %s: %w", addr, err), conn.Close())
	}
	s.system = peer.Incarnation
	return conn, nil
}

// listen opens an address for other machines, if there may be any.
func (s *joining) listen(n network, control link.Conn) error {
	host, _, err := net.SplitHostPort(link.Local(control))
	switch {
	case s.env.driver != "" && err != nil:
		return err
	case n.Listen == "" && s.env.driver == "":
		return nil
	case n.Listen == "": // where this node reaches the driver, others reach it
		n.Listen = net.JoinHostPort(host, "0")
	case s.env.driver == "":
		host = ownAddress()
	}
	l, addr, err := n.open(s.end.transport, host)
	if err == nil {
		s.end.listeners, s.address = []link.Listener{l}, addr
	}
	return err
}

// ownAddress is an address of this machine that others may know, or that of loopback.
func ownAddress() string {
	addrs, _ := net.InterfaceAddrs() // none, then
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	return "127.0.0.1"
}

// serve is the session.
func (s *joining) serve(ctx context.Context, conn link.Conn) error {
	d, ok := conn.(link.Detacher)
	if !ok {
		return errors.Join(errors.New("join: the connection carries frames only"), conn.Close())
	}
	nc, err := d.Detach()
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	join := &controlpb.Join{
		Node: s.env.id, Incarnation: drawIncarnation(), Build: buildVersion(), WireVersion: wire.Version, Pid: int64(os.Getpid()),
		Address: s.address,
	}
	for _, e := range s.table.entries {
		join.Table = append(join.Table, &controlpb.Entry{Kind: e.kind, Method: e.name, Signature: e.sig})
	}
	once := make(chan net.Conn, 1)
	once <- nc
	err = cluster.Join(ctx, cluster.JoinConfig{
		Dial: func(context.Context) (net.Conn, error) {
			select {
			case nc := <-once:
				return nc, nil
			default:
				return nil, errors.New("the connection to the driver has ended")
			}
		},
		Join: join, Grace: requestGrace, Handle: s.handle, Lost: s.lost,
		Setup:   func(w *controlpb.Welcome) (*controlpb.Ready, error) { return s.setUp(ctx, w) },
		Members: s.members,
	})
	_ = nc.Close() // closed already, unless Join got nowhere
	return err
}

// setUp takes the node into service under the number that the driver has given it.
func (s *joining) setUp(ctx context.Context, w *controlpb.Welcome) (*controlpb.Ready, error) {
	s.silence = time.Duration(w.GetSilence())
	s.end.node = w.GetNode()
	dir, limit := s.env.dir, s.env.storeLimit
	s.withDriver = dir != ""
	var err error
	if dir == "" {
		s.log, limit = s.log.With("node", w.GetNode()), w.GetStoreLimit()
		if dir, err = s.joinHost(w); err != nil {
			return nil, err
		}
	} else if s.held, err = rundir.Join(dir); err != nil {
		return nil, err
	}
	if s.store, err = openStore(dir, s.env.host, limit); err != nil {
		return nil, err
	}
	host, err := hostIdentity(s.env.host, dir)
	if err != nil {
		return nil, err
	}
	s.end.peers = newPeers(dir, host, w.GetWide())
	if s.env.driver != "" { // what the driver advertises comes with the members
		s.end.peers.add(&controlpb.Member{Node: driverNode, Host: w.GetHost(), Address: s.env.driver})
	}
	m, err := s.end.open(ctx, s.table, s.log)
	s.end.listeners = nil // the mesh's now, or closed
	if err != nil {
		return nil, err
	}
	s.mesh = m
	s.node = newNode(ctx, dir, m, s.store, host, newCodec(), s.table, s.log)
	m.Start()
	return &controlpb.Ready{Host: host}, nil
}

// joinHost takes hold of the directory that the nodes of this machine and system share: the driver's, if this is its machine.
func (s *joining) joinHost(w *controlpb.Welcome) (dir string, err error) {
	same := s.env.host != "" && s.env.host == w.GetHost()
	if s.env.host == "" {
		id, err := hostIdentity("", w.GetDir())
		same = err == nil && id == w.GetHost() // else there is no such directory here, or it is another one
	}
	if same {
		s.withDriver = true
		s.held, err = rundir.Join(w.GetDir())
		return w.GetDir(), err
	}
	dir = joinedDir(s.system, s.env.host)
	s.held, err = rundir.Share(dir, s.log)
	return dir, err
}

func (s *joining) handle(ctx context.Context, req *controlpb.Request) *controlpb.Reply {
	if req.GetShutdown() != nil {
		s.shutdown.Store(true)
	}
	return s.node.handle(ctx, req)
}

// members learns where others are. Where the driver is, a node may know better: it has dialled it.
func (s *joining) members(members []*controlpb.Member) {
	s.end.peers.add(slices.DeleteFunc(members, func(m *controlpb.Member) bool {
		return m.GetNode() == driverNode && m.GetAddress() == "" && s.env.driver != ""
	})...)
}

func (s *joining) lost(node uint32, cause string) {
	s.end.peers.remove(node)
	s.mesh.Lost(node, errors.New(cause))
}

// close ends what the session has left, in the reverse order of its beginning.
func (s *joining) close(ctx context.Context) error {
	var err error
	for _, l := range s.end.listeners {
		err = errors.Join(err, l.Close())
	}
	if s.node != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		if e := s.node.close(end); e != nil {
			s.lostDriver = false // what still runs belongs to the old node
			s.log.Warn("actors were abandoned", "err", e)
		}
	}
	if s.mesh != nil {
		err = errors.Join(err, s.mesh.Close())
	}
	if s.store != nil {
		err = errors.Join(err, s.store.Close())
	}
	if s.held != nil {
		var wait time.Duration
		if s.orphaned && s.withDriver {
			wait = stopGrace
		}
		err = errors.Join(err, s.held.CloseWithin(wait))
	}
	return err
}
