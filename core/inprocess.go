// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// inProcess are nodes inside the driver's process.
type inProcess struct {
	local  map[uint32]*localNode
	stores map[string]*arrowstore.Store // of the hosts that the driver is not on, by name
}

// localNode is one node with its end of the mesh.
type localNode struct {
	node *node
	mesh *mesh.Mesh
}

func startInProcess(ctx context.Context, s *System, cfg config, end endpoint) (nodes, error) {
	p := &inProcess{local: map[uint32]*localNode{}, stores: map[string]*arrowstore.Store{}}
	ctx = context.WithoutCancel(ctx)
	for i := range uint32(cfg.nodes) {
		id := driverNode + 1 + i
		store, host, err := p.storeFor(s, cfg, id)
		if err != nil {
			return nil, errors.Join(err, p.stop(ctx))
		}
		end.node, end.control = id, nil
		m, err := end.open(ctx, s.table, cfg.logger)
		if err != nil {
			return nil, errors.Join(err, p.stop(ctx))
		}
		p.local[id] = &localNode{newNode(ctx, s.dir.Path, m, store, host, s.codec, s.table, cfg.logger), m}
		m.Start()
		s.addMember(id, host, "", os.Getpid())
	}
	return p, nil
}

// storeFor returns the store of a node and the identity of its host. Nodes of one host have one store in common.
func (p *inProcess) storeFor(s *System, cfg config, node uint32) (*arrowstore.Store, string, error) {
	name := cfg.hostOf(node)
	if name == cfg.hostOf(driverNode) {
		return s.store, s.host, nil
	}
	if st := p.stores[name]; st != nil {
		return st, name, nil
	}
	st, err := openStore(s.dir.Path, name, cfg.storeLimit)
	if err == nil {
		p.stores[name] = st
	}
	return st, name, err
}

func (p *inProcess) control(node uint32) control { return p.local[node] }

func (p *inProcess) discard(uint32) error { return nil }

func (p *inProcess) stop(ctx context.Context) error {
	errs := make(chan error, len(p.local)) // one for each
	for _, h := range p.local {
		go func() { errs <- errors.Join(h.node.close(ctx), h.mesh.Close()) }()
	}
	var err error
	for range p.local {
		err = errors.Join(err, <-errs)
	}
	for _, st := range p.stores {
		err = errors.Join(err, st.Close())
	}
	return err
}

func (h *localNode) do(ctx context.Context, req *controlpb.Request) (*controlpb.Reply, error) {
	done := make(chan *controlpb.Reply, 1)
	if !h.node.begin(func() { done <- h.node.handle(ctx, req) }) {
		return nil, ErrClosed
	}
	select {
	case r := <-done:
		return r, nil
	case <-h.node.ctx.Done():
		return nil, context.Cause(h.node.ctx)
	case <-ctx.Done():
		return nil, fmt.Errorf("node %d: no answer: %w", h.mesh.Self(), ended(ctx))
	}
}

func (h *localNode) silent() time.Duration { return 0 }

func (h *localNode) lost(node uint32, cause string) { h.mesh.Lost(node, errors.New(cause)) }

// handle answers a request of the control plane.
func (n *node) handle(ctx context.Context, req *controlpb.Request) *controlpb.Reply {
	switch k := req.GetKind().(type) {
	case *controlpb.Request_Spawn:
		return n.spawn(ctx, k.Spawn)
	case *controlpb.Request_Kill:
		n.kill(k.Kill.GetSerials(), fmt.Errorf("%w: killed", ErrActorDead))
		return &controlpb.Reply{}
	case *controlpb.Request_GetStats:
		return &controlpb.Reply{Stats: n.stats()}
	case *controlpb.Request_Shutdown:
		if err := n.close(ctx); err != nil {
			f := faultOf(err)
			return &controlpb.Reply{Fault: f.Append(nil)}
		}
		return &controlpb.Reply{}
	}
	f := wire.Fault{Message: fmt.Sprintf("unknown request %T", req.GetKind())}
	return &controlpb.Reply{Fault: f.Append(nil)}
}
