// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"log/slog"
	"time"

	"github.com/tutti-go/tutti/internal/cluster"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

// Reach tries to reach a driver as a node does that joins, at the address "driver". silence is that after which a node that joins again gives up, and 0 for
// one that joins for the first time.
func Reach(ctx context.Context, tr link.Transport, silence time.Duration) error {
	s := &joining{
		env: nodeEnv{id: wire.NoNode, driver: "driver"}, log: slog.New(slog.DiscardHandler), table: newTable(), patience: joinPatience,
		end: endpoint{node: wire.NoNode, secret: []byte("a secret of sixteen bytes"), transport: tr},
	}
	if silence > 0 {
		s.patience, s.system = silence, 1
	}
	conn, err := s.reach(ctx)
	if err == nil {
		err = conn.Close()
	}
	return err
}

// EndSystem shuts a system down as Main does.
func EndSystem(ctx context.Context, s *System) error { return endSystem(ctx, s) }

// AwaitNodes waits for so many nodes as a driver does that has none.
func AwaitNodes(ctx context.Context, want int, log *slog.Logger) error {
	p := &processes{sys: &System{log: log, addr: "here"}, cfg: config{wait: want}}
	p.mu.changed = make(chan struct{})
	return p.await(ctx)
}

// Outstay starts a node process that does not end by itself, this binary with the environment given, and ends it as a shutdown does after a
// grace.
func Outstay(ctx context.Context, grace time.Duration, env ...string) error {
	procs, err := cluster.Launch(cluster.LaunchConfig{First: 1, Count: 1, Env: func(uint32) []string { return env }, Exited: func(uint32, error) {}})
	if err != nil {
		return err
	}
	return awaitEnd(ctx, procs, grace)
}

// OnMissing calls fn whenever a node asks the driver for messages, which is not answered, until restore is called.
func OnMissing(s *System, fn func()) (restore func()) {
	s.mesh.Handle(wire.KindMissing, func(uint32, wire.Frame) { fn() })
	return func() { s.mesh.Handle(wire.KindMissing, s.onMissing) }
}

// Durations that tests compare with.
const (
	JoinPatience  = joinPatience
	ReachTimeout  = reachTimeout
	ShutdownGrace = shutdownGrace
	MaxHangUps    = maxHangUps
)
