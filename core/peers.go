// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"sync"

	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// peers is what a process knows of where others are.
type peers struct {
	dir  string // of the system on this machine
	wide bool   // some may be on other machines

	mu struct {
		sync.Mutex
		host    string // of this process
		byID    map[uint32]*controlpb.Member
		changed chan struct{} // closed and replaced with every change
	}
}

func newPeers(dir, host string, wide bool) *peers {
	p := &peers{dir: dir, wide: wide}
	p.mu.host = host
	p.mu.byID = map[uint32]*controlpb.Member{}
	p.mu.changed = make(chan struct{})
	return p
}

// add makes processes known.
func (p *peers) add(members ...*controlpb.Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range members {
		p.mu.byID[m.GetNode()] = m
	}
	close(p.mu.changed)
	p.mu.changed = make(chan struct{})
}

func (p *peers) remove(node uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.mu.byID, node)
}

// list returns all that are known.
func (p *peers) list() []*controlpb.Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	members := make([]*controlpb.Member, 0, len(p.mu.byID))
	for _, m := range p.mu.byID {
		members = append(members, m)
	}
	return members
}

// address returns where a process listens. The news of one that has just joined may still be on its way: it is waited for.
func (p *peers) address(ctx context.Context, node uint32) (string, error) {
	if !p.wide {
		return socketPath(p.dir, node), nil
	}
	for {
		p.mu.Lock()
		m, host, changed := p.mu.byID[node], p.mu.host, p.mu.changed
		p.mu.Unlock()
		switch {
		case m != nil && (m.GetAddress() == "" || m.GetHost() == host):
			return socketPath(p.dir, node), nil
		case m != nil:
			return m.GetAddress(), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("the address of node %d is not known: %w", node, context.Cause(ctx))
		}
	}
}
