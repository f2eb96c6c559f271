// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tutti-go/tutti/internal/cluster"
	"github.com/tutti-go/tutti/internal/wire"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// stopGrace is how long a node process may take to end by itself once it has said that its actors have ended.
const stopGrace = 5 * time.Second

// requestGrace is how long a node whose driver is gone waits for constructors that do not end with their contexts.
const requestGrace = time.Second

// processes are nodes in processes of their own: of this machine, started by this one, and of any machine, which have joined.
type processes struct {
	sys    *System
	cfg    config
	local  uint32 // nodes 1 to local are started by this process
	server *cluster.Server
	procs  *cluster.Processes

	mu struct {
		sync.Mutex
		next     uint32 // number of the next node that joins from elsewhere
		sessions map[uint32]*cluster.Session
		joined   int                 // nodes from elsewhere that serve
		changed  chan struct{}       // closed and replaced when joined changes
		news     []*controlpb.Member // nodes whose arrival is to be announced
		telling  bool                // somebody announces
	}
}

func startProcesses(ctx context.Context, s *System, cfg config, end endpoint) (*processes, error) {
	p := &processes{sys: s, cfg: cfg, local: uint32(cfg.nodes)}
	p.mu.next = driverNode + 1 + p.local
	p.mu.sessions = map[uint32]*cluster.Session{}
	p.mu.changed = make(chan struct{})
	s.nodes = p // a node may be lost, and the others told, before all have joined
	p.server = cluster.Serve(context.WithoutCancel(ctx), cluster.ServerConfig{
		Listener: end.control, Admit: p.admit, Joined: p.arrived, Logger: cfg.logger,
		Heartbeat: cluster.Heartbeat{Interval: cfg.heartbeat, Timeout: cfg.silence},
	})
	var err error
	p.procs, err = cluster.Launch(cluster.LaunchConfig{
		First: driverNode + 1, Count: p.local, Dir: s.dir.Path, Secret: string(end.secret), Env: p.environ(),
		Stdout: os.Stdout, Stderr: os.Stderr, Exited: p.exited,
	})
	if err == nil {
		err = p.join(ctx)
	}
	if err == nil {
		err = p.await(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, p.abort())
	}
	return p, nil
}

// envProcs is the runtime's own variable.
const envProcs = "GOMAXPROCS"

// procsOf returns how many of its goroutines each of n nodes runs at once: together as many as this process does, but one at
// least. A node with more wakes a second thread for every message, which has nothing to do where the nodes fill the processors.
func procsOf(n int) int { return (runtime.GOMAXPROCS(0) + n - 1) / n }

// environ returns what nodes that this process starts find in their environment beside their numbers.
func (p *processes) environ() func(uint32) []string {
	n := p.cfg.net
	if n.Listen != "" { // other machines must reach them, too
		host, _, _ := net.SplitHostPort(n.Listen)
		n.Listen = net.JoinHostPort(host, "0")
		if h, _, err := net.SplitHostPort(n.Advertise); err == nil {
			n.Advertise = h
		}
	}
	return func(node uint32) []string {
		env := append(n.Environ(),
			envStoreLimit+"="+strconv.FormatInt(p.cfg.storeLimit, 10), EnvHost+"="+p.cfg.hostOf(node))
		if os.Getenv(envProcs) == "" {
			env = append(env, envProcs+"="+strconv.Itoa(procsOf(p.cfg.nodes)))
		}
		return env
	}
}

// admit refuses nodes of another build and gives a number to those that have none.
func (p *processes) admit(j *controlpb.Join) (*controlpb.Welcome, error) {
	entries := make([]entry, 0, len(j.GetTable()))
	for _, e := range j.GetTable() {
		entries = append(entries, entry{e.GetKind(), e.GetMethod(), e.GetSignature()})
	}
	if err := p.sys.table.differ(j.GetNode(), j.GetBuild(), buildVersion(), entries); err != nil {
		return nil, err
	}
	w := &controlpb.Welcome{
		Node: j.GetNode(), Dir: p.sys.dir.Path, Host: p.sys.host, StoreLimit: p.cfg.storeLimit, Wide: p.cfg.net.Listen != "",
	}
	if j.GetNode() != wire.NoNode {
		if j.GetNode() == driverNode || j.GetNode() > p.local {
			return nil, fmt.Errorf("node %d is none that this driver has started", j.GetNode())
		}
		return w, nil
	}
	if !w.GetWide() {
		return nil, errors.New("the driver does not listen for nodes from elsewhere")
	}
	if alive := p.sys.Stats().Nodes; alive >= maxNodes {
		return nil, fmt.Errorf("the system has %d nodes already", alive)
	}
	w.Interval, w.Silence = int64(p.cfg.heartbeat), int64(p.cfg.silence)
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Node = p.mu.next
	p.mu.next++
	return w, nil
}

// exited is told that a node's process has ended.
func (p *processes) exited(node uint32, err error) {
	cause := fmt.Errorf("its process ended: %w", err)
	if err == nil {
		cause = errors.New("its process ended")
	}
	p.server.Fail(node, fmt.Errorf("node %d did not join: %w", node, cause))
	if p.sys.ctx.Err() == nil {
		p.sys.mesh.Lost(node, cause)
		p.sys.reap()
	}
}

// arrived is told that a node serves.
func (p *processes) arrived(session *cluster.Session) {
	p.mu.Lock()
	p.mu.sessions[session.Node] = session
	p.mu.Unlock()
	if p.cfg.net.Listen != "" {
		m := &controlpb.Member{Node: session.Node, Host: session.Host, Address: session.Address}
		p.sys.peers.add(m)
		p.announce(m)
	}
	if session.Node > p.local {
		p.sys.background(func() { p.enrol(session) })
	}
}

// enrol connects to a node that has joined from elsewhere, and makes it a member.
func (p *processes) enrol(session *cluster.Session) {
	if err := p.connect(p.sys.ctx, session); err != nil {
		if p.sys.ctx.Err() == nil {
			p.sys.log.Warn("a node has joined and cannot be reached", "node", session.Node, "address", session.Address, "err", err)
			p.sys.mesh.Lost(session.Node, err)
		}
		_ = p.discard(session.Node) // no process of ours
		return
	}
	p.sys.log.Info("node has joined", "node", session.Node, "host", session.Host, "address", session.Address)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.joined++
	close(p.mu.changed)
	p.mu.changed = make(chan struct{})
}

// connect connects to a node, makes it a member, and watches over it.
func (p *processes) connect(ctx context.Context, session *cluster.Session) error {
	if err := p.sys.mesh.Connect(ctx, session.Node); err != nil {
		return err
	}
	p.sys.addMember(session.Node, session.Host, session.Address, session.PID)
	p.sys.background(func() {
		select {
		case <-session.Done():
			p.sys.mesh.Lost(session.Node, session.Err())
		case <-p.sys.ctx.Done():
		}
	})
	return nil
}

// announce tells all nodes where others are that have just come, and those where all are. Whoever comes meanwhile is announced next.
func (p *processes) announce(m *controlpb.Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.news = append(p.mu.news, m)
	if p.mu.telling {
		return
	}
	p.mu.telling = true
	p.sys.background(p.tell)
}

func (p *processes) tell() {
	for {
		p.mu.Lock()
		news, sessions := p.mu.news, maps.Clone(p.mu.sessions)
		p.mu.news = nil
		if len(news) == 0 {
			p.mu.telling = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		fresh := map[uint32]bool{}
		for _, m := range news {
			fresh[m.GetNode()] = true
		}
		var g errgroup.Group
		g.SetLimit(64)
		for id, session := range sessions {
			members := news
			if fresh[id] {
				members = p.sys.peers.list()
			}
			g.Go(func() error {
				// A node that does not hear it is silent, and lost.
				_ = session.Tell(&controlpb.ToNode{Kind: &controlpb.ToNode_Members{Members: &controlpb.Members{Members: members}}})
				return nil
			})
		}
		_ = g.Wait()
	}
}

// join waits for the nodes that this process has started and connects to them.
func (p *processes) join(ctx context.Context) error {
	sessions := make([]*cluster.Session, 0, p.local)
	for i := range p.local {
		session, err := p.server.Wait(ctx, driverNode+1+i)
		if err != nil {
			return err
		}
		sessions = append(sessions, session)
	}
	var g errgroup.Group
	g.SetLimit(64)
	for _, session := range sessions {
		g.Go(func() error { return p.connect(ctx, session) })
	}
	return g.Wait()
}

// waitReport is how often a driver says that it waits for nodes.
const waitReport = 30 * time.Second

// await waits for nodes from elsewhere.
func (p *processes) await(ctx context.Context) error {
	report := time.NewTicker(waitReport)
	defer report.Stop()
	for {
		p.mu.Lock()
		joined, changed := p.mu.joined, p.mu.changed
		p.mu.Unlock()
		if joined >= p.cfg.wait {
			return nil
		}
		select {
		case <-changed:
		case <-report.C:
			p.sys.log.Warn("waiting for nodes", "joined", joined, "wanted", p.cfg.wait, "address", p.sys.addr)
		case <-ctx.Done():
			return fmt.Errorf("%d of %d nodes have joined at %s: %w", joined, p.cfg.wait, p.sys.addr, context.Cause(ctx))
		}
	}
}

func (p *processes) session(node uint32) *cluster.Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.sessions[node]
}

func (p *processes) control(node uint32) control { return remote{p.sys, p.session(node)} }

// discard ends the process of a lost node if this one has started it. One that runs elsewhere sees its session end, and joins anew or ends.
func (p *processes) discard(node uint32) error {
	p.sys.peers.remove(node)
	p.mu.Lock()
	session := p.mu.sessions[node]
	delete(p.mu.sessions, node)
	p.mu.Unlock()
	if session != nil {
		session.End(fmt.Errorf("%w: node %d is lost", cluster.ErrSessionEnded, node))
	}
	if node <= p.local {
		return p.procs.Kill(node)
	}
	return nil
}

type remote struct {
	sys     *System
	session *cluster.Session
}

func (r remote) silent() time.Duration {
	if r.session == nil {
		return 0
	}
	return r.session.Silent()
}

func (r remote) do(ctx context.Context, req *controlpb.Request) (*controlpb.Reply, error) {
	if r.session == nil {
		return nil, fmt.Errorf("%w: its session has ended", ErrNodeLost)
	}
	reply, err := r.session.Do(ctx, req)
	if errors.Is(err, cluster.ErrSessionEnded) {
		if r.sys.ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", ErrClosed, err)
		}
		r.sys.mesh.Lost(r.session.Node, err) // who tries again finds the node lost
		return nil, fmt.Errorf("%w: %w", ErrNodeLost, err)
	}
	return reply, err
}

func (r remote) lost(node uint32, cause string) {
	if r.session == nil {
		return
	}
	// If the session has ended, so has the need to tell.
	_ = r.session.Tell(&controlpb.ToNode{Kind: &controlpb.ToNode_NodeLost{NodeLost: &controlpb.NodeLost{Node: node, Cause: cause}}})
}

// stop asks all nodes to end, and kills those that do not.
func (p *processes) stop(ctx context.Context) error {
	var g errgroup.Group
	p.mu.Lock()
	sessions := maps.Clone(p.mu.sessions)
	p.mu.Unlock()
	for id, session := range sessions {
		g.Go(func() error {
			reply, err := session.Do(ctx, &controlpb.Request{Kind: &controlpb.Request_Shutdown{Shutdown: &controlpb.Shutdown{}}})
			if errors.Is(err, cluster.ErrSessionEnded) {
				return p.discard(id) // it is lost, and may be stopped: nobody else ends it now
			}
			if err == nil {
				err = replyError(reply)
			}
			if err != nil {
				return fmt.Errorf("end node %d: %w", id, err)
			}
			return nil
		})
	}
	err := g.Wait()
	p.server.Close() // the nodes see their sessions end, and end
	return errors.Join(err, awaitEnd(ctx, p.procs, stopGrace))
}

// awaitEnd waits until processes have ended by themselves, and kills those that have not.
func awaitEnd(ctx context.Context, procs *cluster.Processes, grace time.Duration) error {
	wait, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	err := procs.Wait(wait)
	if err != nil {
		err = errors.Join(err, procs.KillAll(), procs.Wait(context.WithoutCancel(ctx)))
	}
	return err
}

// abort ends whatever a failed start has started.
func (p *processes) abort() error {
	p.sys.cancel(ErrClosed)
	var err error
	if p.procs != nil {
		err = errors.Join(p.procs.KillAll(), p.procs.Wait(context.WithoutCancel(p.sys.ctx)))
	}
	p.server.Close()
	return err
}
