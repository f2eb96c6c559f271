// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"fmt"
	"log/slog"
	"os"
	"time"
)

// Option configures a system; see Start and Main.
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

type config struct {
	nodes      int
	processes  bool
	chosen     int // options that chose where nodes run
	simulated  int // hosts that the nodes are spread over; 0 if they share this one
	hostsGiven bool
	host       string // of the driver, from the environment; empty for the machine's own
	storeLimit int64
	heartbeat  time.Duration
	silence    time.Duration
	logger     *slog.Logger
}

// InProcess hosts actors on n nodes inside this process: nothing is started, and calls go through memory. It is the
// default, with n = 1.
func InProcess(n int) Option {
	return optionFunc(func(c *config) { c.nodes, c.processes, c.chosen = n, false, c.chosen+1 })
}

// LocalNodes hosts actors on n processes of this machine: this program, started again. The program must call Main, or
// ServeNode first thing.
func LocalNodes(n int) Option {
	return optionFunc(func(c *config) { c.nodes, c.processes, c.chosen = n, true, c.chosen+1 })
}

// SimulatedHosts spreads the driver and its nodes over k hosts that exist in name only: each has an object store of its own, so
// that calls and objects take the ways that they would take between machines. It is for tests of programs that are to run on several
// hosts. The nodes are divided into k blocks of neighbours, and the driver is on the host of the first. k must not exceed the number
// of nodes. By default all are on the host that they run on.
func SimulatedHosts(k int) Option {
	return optionFunc(func(c *config) { c.simulated, c.hostsGiven = k, true })
}

// Logger makes the system log to l. The default is slog.Default. Node processes log to standard error.
func Logger(l *slog.Logger) Option {
	return optionFunc(func(c *config) { c.logger = l })
}

// StoreLimit bounds the bytes that the object store of each process may hold. The default is the store's own,
// see package arrowstore; beyond it a call or Put fails with ErrNoSpace.
func StoreLimit(bytes int64) Option {
	return optionFunc(func(c *config) { c.storeLimit = bytes })
}

// Heartbeat sets how often a node process is asked for a sign of life, by default every second, and after how much silence it counts
// as lost, by default 30 s. The end of a process is noticed at once whatever these are; the heartbeat is for processes that
// are stopped or starved. A timeout shorter than the longest pause of the machine loses healthy nodes.
func Heartbeat(interval, timeout time.Duration) Option {
	return optionFunc(func(c *config) { c.heartbeat, c.silence = interval, timeout })
}

func newConfig(opts []Option) (config, error) {
	c := config{nodes: 1, host: os.Getenv(EnvHost), logger: slog.Default(), heartbeat: time.Second, silence: 30 * time.Second}
	for _, o := range opts {
		if o == nil {
			return c, fmt.Errorf("%w: nil option", ErrInvalid)
		}
		o.apply(&c)
	}
	switch {
	case c.chosen > 1:
		return c, fmt.Errorf("%w: InProcess and LocalNodes given together or twice", ErrInvalid)
	case c.nodes < 1 || c.nodes > maxNodes:
		return c, fmt.Errorf("%w: %d nodes, must be between 1 and %d", ErrInvalid, c.nodes, maxNodes)
	case c.hostsGiven && (c.simulated < 1 || c.simulated > c.nodes):
		return c, fmt.Errorf("%w: SimulatedHosts(%d), must be between 1 and the number of nodes, %d", ErrInvalid, c.simulated, c.nodes)
	case c.host != "" && !validHost(c.host):
		return c, fmt.Errorf("%w: %s=%q, must be 1 to %d letters, digits, dots, dashes or underscores", ErrInvalid, EnvHost, c.host, maxHostName)
	case c.logger == nil:
		return c, fmt.Errorf("%w: Logger(nil)", ErrInvalid)
	case c.storeLimit < 0:
		return c, fmt.Errorf("%w: StoreLimit(%d), must not be negative", ErrInvalid, c.storeLimit)
	case c.heartbeat <= 0 || c.silence < c.heartbeat:
		return c, fmt.Errorf("%w: Heartbeat(%v, %v), the timeout must be at least the interval, and that positive", ErrInvalid, c.heartbeat, c.silence)
	}
	return c, nil
}

// maxNodes bounds the nodes of a system on one machine.
const maxNodes = 4096

// SpawnOption configures actors; see Kind.Spawn.
type SpawnOption interface{ applySpawn(*spawnConfig) }

type spawnFunc func(*spawnConfig)

func (f spawnFunc) applySpawn(c *spawnConfig) { f(c) }

type spawnConfig struct {
	mailbox     int
	concurrency int
}

// Mailbox bounds the calls that may wait at each actor, 1024 by default. A call beyond that fails with
// ErrMailboxFull and does not run.
func Mailbox(n int) SpawnOption { return spawnFunc(func(c *spawnConfig) { c.mailbox = n }) }

// Concurrency lets each actor run n calls at once; by default it runs one at a time, in the order of arrival. With more than one,
// calls still start in order, and the actor must guard its own state.
func Concurrency(n int) SpawnOption { return spawnFunc(func(c *spawnConfig) { c.concurrency = n }) }

func newSpawnConfig(opts []SpawnOption) (spawnConfig, error) {
	c := spawnConfig{mailbox: defaultMailbox, concurrency: 1}
	for _, o := range opts {
		if o == nil {
			return c, fmt.Errorf("%w: nil option", ErrInvalid)
		}
		o.applySpawn(&c)
	}
	if c.mailbox < 1 || c.mailbox > maxMailbox {
		return c, fmt.Errorf("%w: Mailbox(%d), must be between 1 and %d", ErrInvalid, c.mailbox, maxMailbox)
	}
	if c.concurrency < 1 || c.concurrency > maxConcurrency {
		return c, fmt.Errorf("%w: Concurrency(%d), must be between 1 and %d", ErrInvalid, c.concurrency, maxConcurrency)
	}
	return c, nil
}
