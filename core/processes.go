// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tutti-go/tutti/internal/cluster"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// stopGrace is how long a node process may take to end by itself once it has said that its actors have ended.
const stopGrace = 5 * time.Second

// requestGrace is how long a node whose driver is gone waits for constructors that do not end with their contexts.
const requestGrace = time.Second

// processes are nodes in processes of this machine.
type processes struct {
	sys      *System
	server   *cluster.Server
	procs    *cluster.Processes
	sessions map[uint32]*cluster.Session // fixed once started
	wg       sync.WaitGroup              // watchers of sessions
}

func startProcesses(ctx context.Context, s *System, cfg config, secret string) (*processes, error) {
	l, err := net.Listen("unix", controlPath(s.dir.Path)) //nolint:noctx // does not block
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(controlPath(s.dir.Path), 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	p := &processes{sys: s, sessions: map[uint32]*cluster.Session{}}
	s.nodes = p // a node may be lost, and the others told, before all have joined
	p.server = cluster.Serve(context.WithoutCancel(ctx), cluster.ServerConfig{
		Listener: l, Secret: []byte(secret), Admit: p.admit, Logger: cfg.logger,
		Heartbeat: cluster.Heartbeat{Interval: cfg.heartbeat, Timeout: cfg.silence},
	})
	p.procs, err = cluster.Launch(cluster.LaunchConfig{
		First: driverNode + 1, Count: uint32(cfg.nodes), Dir: s.dir.Path, Secret: secret,
		Env: func(node uint32) []string {
			env := []string{envStoreLimit + "=" + strconv.FormatInt(cfg.storeLimit, 10), EnvHost + "=" + cfg.hostOf(node)}
			if os.Getenv(envProcs) == "" {
				env = append(env, envProcs+"="+strconv.Itoa(procsOf(cfg.nodes)))
			}
			return env
		},
		Stdout: os.Stdout, Stderr: os.Stderr, Exited: p.exited,
	})
	if err == nil {
		err = p.join(ctx, cfg.nodes)
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

// admit refuses nodes of another build.
func (p *processes) admit(j *controlpb.Join) error {
	entries := make([]entry, 0, len(j.GetTable()))
	for _, e := range j.GetTable() {
		entries = append(entries, entry{e.GetKind(), e.GetMethod(), e.GetSignature()})
	}
	return p.sys.table.differ(j.GetNode(), j.GetBuild(), buildVersion(), entries)
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

// join waits for all nodes and connects to them.
func (p *processes) join(ctx context.Context, n int) error {
	for i := range uint32(n) {
		id := driverNode + 1 + i
		session, err := p.server.Wait(ctx, id)
		if err != nil {
			return err
		}
		p.sessions[id] = session
	}
	var g errgroup.Group
	g.SetLimit(64)
	for id, session := range p.sessions {
		g.Go(func() error { return p.sys.mesh.Connect(ctx, id) })
		p.sys.addMember(id, session.Host, session.PID)
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for id, session := range p.sessions {
		p.wg.Go(func() {
			select {
			case <-session.Done():
				p.sys.mesh.Lost(id, session.Err())
			case <-p.sys.ctx.Done():
			}
		})
	}
	return nil
}

func (p *processes) control(node uint32) control { return remote{p.sys, p.sessions[node]} }

func (p *processes) discard(node uint32) error { return p.procs.Kill(node) }

type remote struct {
	sys     *System
	session *cluster.Session
}

func (r remote) silent() time.Duration { return r.session.Silent() }

func (r remote) do(ctx context.Context, req *controlpb.Request) (*controlpb.Reply, error) {
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
	// If the session has ended, so has the need to tell.
	_ = r.session.Tell(&controlpb.ToNode{Kind: &controlpb.ToNode_NodeLost{NodeLost: &controlpb.NodeLost{Node: node, Cause: cause}}})
}

// stop asks all nodes to end, and kills those that do not.
func (p *processes) stop(ctx context.Context) error {
	var g errgroup.Group
	for id, session := range p.sessions {
		g.Go(func() error {
			reply, err := session.Do(ctx, &controlpb.Request{Kind: &controlpb.Request_Shutdown{Shutdown: &controlpb.Shutdown{}}})
			if errors.Is(err, cluster.ErrSessionEnded) {
				return nil // it is gone already
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
	wait, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	if e := p.procs.Wait(wait); e != nil {
		err = errors.Join(err, e, p.procs.KillAll(), p.procs.Wait(context.WithoutCancel(ctx)))
	}
	p.wg.Wait()
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
	p.wg.Wait()
	return err
}
