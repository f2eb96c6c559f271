// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"golang.org/x/sync/errgroup"

	"github.com/tutti-go/tutti/internal/wire"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// Spawn creates n actors with the same configuration, by default spread evenly over the nodes that are alive: the configuration is encoded
// once and every node gets one message. It returns when all constructors have, with the handles in order; neighbours
// in that order share a node. If any constructor fails, none of the actors is kept and the error is a *SpawnError.
// Other errors: ErrInvalid for n < 1 or a bad option, ErrNoKind, ErrNameTaken, ErrEncode, ErrTooLarge, ErrNodeLost, ErrClosed.
func (k *Kind[A, C]) Spawn(ctx context.Context, sys *System, n int, cfg C, opts ...SpawnOption) ([]*Handle[A], error) {
	if k == nil || k.k == nil {
		return nil, fmt.Errorf("spawn: %w: zero Kind", ErrNoKind)
	}
	ids, err := k.spawn(ctx, sys, n, cfg, opts)
	if err != nil {
		if _, ok := errors.AsType[*SpawnError](err); ok {
			return nil, err
		}
		return nil, fmt.Errorf("spawn %d actors of kind %q: %w", n, k.k.name, err)
	}
	all := make([]Handle[A], n)
	handles := make([]*Handle[A], n)
	for i, id := range ids {
		all[i] = Handle[A]{id, k.k, sys}
		handles[i] = &all[i]
	}
	return handles, nil
}

func (k *Kind[A, C]) spawn(ctx context.Context, sys *System, n int, cfg C, opts []SpawnOption) ([]ActorID, error) {
	if err := sys.err(); err != nil {
		return nil, err
	}
	if n < 1 || n > wire.MaxTargets {
		return nil, fmt.Errorf("%w: must be between 1 and %d actors", ErrInvalid, wire.MaxTargets)
	}
	options, err := newSpawnConfig(opts)
	if err != nil {
		return nil, err
	}
	if options.named && n != 1 {
		return nil, fmt.Errorf("%w: Named(%q) is for one actor", ErrInvalid, options.name)
	}
	kindID, ok := sys.table.kindID[k.k]
	if !ok {
		return nil, fmt.Errorf("%w: it was registered after the system started", ErrNoKind)
	}
	v, err := encode(sys.codec, cfg)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	arg, err := sys.argumentOf(v, 1)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	descent := &descent{nodes: options.nodes, arg: arg}
	descent.users.Store(1)
	defer descent.done()
	parts, err := sys.place(n, &options)
	if err != nil {
		return nil, err
	}
	req := &controlpb.Spawn{
		Kind: kindID, Mailbox: uint32(options.mailbox), Concurrency: uint32(options.concurrency),
		MailboxWait: options.mailboxWait, Restarts: uint32(options.restarts),
	}
	descent.req = req
	if !options.named {
		return sys.spawnParts(ctx, k.k, n, parts, descent)
	}
	if err := sys.reserve(options.name); err != nil {
		return nil, err
	}
	ids, err := sys.spawnParts(ctx, k.k, n, parts, descent)
	if err != nil {
		sys.assign(options.name, 0, nil)
		return nil, err
	}
	sys.assign(options.name, ids[0], k.k)
	sys.dropIfLost(ids[0])
	return ids, nil
}

// spawnParts sends one request to every node and takes everything back if one of them fails.
func (s *System) spawnParts(ctx context.Context, k *kind, n int, parts []part, d *descent) ([]ActorID, error) {
	ids := make([]ActorID, n)
	errs := make([]error, len(parts))
	var g errgroup.Group
	for i, p := range parts {
		for j := range p.count {
			ids[p.index+int(j)] = newActorID(p.node, p.first+j)
		}
		g.Go(func() error {
			errs[i] = s.spawnPart(ctx, k, p, d)
			return nil
		})
	}
	_ = g.Wait() // failures are in errs
	err := mergeSpawnErrors(k, n, errs)
	if err == nil {
		return ids, nil
	}
	cleanup := context.WithoutCancel(ctx) // a cancelled Spawn leaves nothing behind either
	return nil, errors.Join(err, s.kill(cleanup, ids))
}

// mergeSpawnErrors makes one *SpawnError of those of the nodes; an error of another kind goes first.
func mergeSpawnErrors(k *kind, n int, errs []error) error {
	all := &SpawnError{Kind: k.name, Count: n, Failed: map[int]error{}}
	for _, err := range errs {
		if err == nil {
			continue
		}
		e, ok := errors.AsType[*SpawnError](err)
		if !ok {
			return err
		}
		maps.Copy(all.Failed, e.Failed)
	}
	if len(all.Failed) == 0 {
		return nil
	}
	return all
}

func (s *System) spawnPart(ctx context.Context, k *kind, p part, d *descent) error {
	cfg, common := d.arg.payloadAt(s, s.hostOf(p.node)), d.req
	req := &controlpb.Spawn{
		Kind: common.GetKind(), First: p.first, Count: p.count, Mailbox: common.GetMailbox(), Concurrency: common.GetConcurrency(),
		PayloadKind: uint32(cfg.Kind), Payload: cfg.Data, MailboxWait: common.GetMailboxWait(), Restarts: common.GetRestarts(),
	}
	reply, err := s.nodes.control(p.node).do(ctx, &controlpb.Request{Kind: &controlpb.Request_Spawn{Spawn: req}})
	if err == nil {
		err = replyError(reply)
	}
	if err != nil {
		return fmt.Errorf("node %d: %w", p.node, err)
	}
	if len(reply.GetFailures()) > 0 {
		e := &SpawnError{Kind: k.name, Failed: map[int]error{}}
		for _, f := range reply.GetFailures() {
			id := newActorID(p.node, p.first+f.GetIndex())
			e.Failed[p.index+int(f.GetIndex())] = constructError(f.GetFault(), id, k.name)
		}
		return e
	}
	s.members.Lock()
	defer s.members.Unlock()
	m := s.members.byID[p.node]
	if !m.info.Alive {
		return fmt.Errorf("node %d: %w", p.node, ErrNodeLost)
	}
	residents := make([]resident, p.count)
	for i := range residents {
		r := &residents[i]
		r.id, r.kind = newActorID(p.node, p.first+uint32(i)), k
		if common.GetRestarts() > 0 {
			s.members.lasting.Store(true)
			d.users.Add(1)
			r.descent = d
		}
		m.actors[r.id.Serial()] = r
	}
	return nil
}

// constructError is the error of an actor that was not created.
func constructError(fault []byte, id ActorID, kind string) error {
	f, err := wire.ParseFault(fault)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDecode, err)
	}
	return &ActorError{Actor: id, Kind: kind, Message: f.Message, Stack: f.Stack, is: sentinelsOf(f)}
}

// replyError returns the failure of a request as a whole.
func replyError(r *controlpb.Reply) error {
	if len(r.GetFault()) == 0 {
		return nil
	}
	f, err := wire.ParseFault(r.GetFault())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDecode, err)
	}
	return &remoteError{f.Message, sentinelsOf(f)}
}
