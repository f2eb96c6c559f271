// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/tutti-go/tutti/internal/cluster"
	"github.com/tutti-go/tutti/internal/plan"
	"github.com/tutti-go/tutti/internal/reach"
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
	fanOut     int
	fanOutSet  bool
	host       string // of the driver, from the environment; empty for the machine's own
	net        network
	wait       int // nodes from elsewhere that Start waits for
	waitGiven  bool
	driver     string // whom to join
	storeLimit int64
	heartbeat  time.Duration
	silence    time.Duration
	logger     *slog.Logger
	inFlight   int64
}

// InProcess hosts actors on n nodes inside this process: nothing is started, and calls go through memory. It is the
// default, with n = 1.
func InProcess(n int) Option {
	return optionFunc(func(c *config) { c.nodes, c.processes, c.chosen = n, false, c.chosen+1 })
}

// LocalNodes hosts actors on n processes of this machine: this program, started again. The program must call Main, or
// ServeNode first thing. The nodes share the processors: unless GOMAXPROCS is set in the environment, each of them runs with this
// process's number divided by n, rounded up.
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

// InFlight bounds the bytes of calls that each node has been sent and not answered, by default 256 MiB: those of the messages, with arguments
// that travel in them, and 64 bytes for every actor called. A submission beyond it on any of its nodes waits for answers, in the order of coming; if its
// context ends first it fails and nothing was sent. A message larger than the bound waits until no other is under way. Arguments in the object store are bounded by StoreLimit
// instead, and casts by the mailboxes. bytes must be positive.
func InFlight(bytes int64) Option {
	return optionFunc(func(c *config) { c.inFlight = bytes })
}

// Heartbeat sets how often a node process is asked for a sign of life, by default every second, and after how much silence it counts
// as lost, by default 30 s. The end of a process is noticed at once whatever these are; the heartbeat is for processes that
// are stopped or starved. A timeout shorter than the longest pause of the machine loses healthy nodes.
func Heartbeat(interval, timeout time.Duration) Option {
	return optionFunc(func(c *config) { c.heartbeat, c.silence = interval, timeout })
}

func newConfig(opts []Option) (config, error) {
	c := config{nodes: 1, host: os.Getenv(EnvHost), logger: slog.Default(), heartbeat: time.Second, silence: 30 * time.Second, inFlight: defaultInFlight}
	if err := c.readEnv(); err != nil {
		return c, err
	}
	for _, o := range opts {
		if o == nil {
			return c, fmt.Errorf("%w: nil option", ErrInvalid)
		}
		o.apply(&c)
	}
	if err := c.settleNetwork(); err != nil {
		return c, err
	}
	switch {
	case c.chosen > 1:
		return c, fmt.Errorf("%w: InProcess and LocalNodes given together or twice", ErrInvalid)
	case c.nodes < 1 && (c.chosen > 0 || c.net.Listen == "") || c.nodes > maxNodes:
		return c, fmt.Errorf("%w: %d nodes, must be between 1 and %d", ErrInvalid, c.nodes, maxNodes)
	case c.hostsGiven && (c.simulated < 1 || c.simulated > c.nodes):
		return c, fmt.Errorf("%w: SimulatedHosts(%d), must be between 1 and the number of nodes, %d", ErrInvalid, c.simulated, c.nodes)
	case c.fanOutSet && c.fanOut < plan.MinFanOut:
		return c, fmt.Errorf("%w: FanOut(%d), must be %d at least", ErrInvalid, c.fanOut, plan.MinFanOut)
	case c.host != "" && !validHost(c.host):
		return c, fmt.Errorf("%w: %s=%q, must be 1 to %d letters, digits, dots, dashes or underscores", ErrInvalid, EnvHost, c.host, maxHostName)
	case c.logger == nil:
		return c, fmt.Errorf("%w: Logger(nil)", ErrInvalid)
	case c.storeLimit < 0:
		return c, fmt.Errorf("%w: StoreLimit(%d), must not be negative", ErrInvalid, c.storeLimit)
	case c.inFlight < 1:
		return c, fmt.Errorf("%w: InFlight(%d), must be positive", ErrInvalid, c.inFlight)
	case c.heartbeat <= 0 || c.silence < c.heartbeat:
		return c, fmt.Errorf("%w: Heartbeat(%v, %v), the timeout must be at least the interval, and that positive", ErrInvalid, c.heartbeat, c.silence)
	}
	return c, nil
}

// readEnv takes what the environment says; options come on top.
func (c *config) readEnv() error {
	if err := c.net.readEnv(os.Getenv); err != nil {
		return err
	}
	v := os.Getenv(envWaitNodes)
	if v == "" {
		return nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return fmt.Errorf("%w: %s=%q, must be a number", ErrInvalid, envWaitNodes, v)
	}
	c.wait, c.waitGiven = n, true
	return nil
}

// settleNetwork completes and checks what concerns other machines.
func (c *config) settleNetwork() error {
	if err := c.net.check(); err != nil {
		return err
	}
	if c.net.Listen == "" {
		if c.waitGiven && c.wait > 0 {
			return fmt.Errorf("%w: WaitNodes(%d) without Listen: nobody can join", ErrInvalid, c.wait)
		}
		return nil
	}
	switch {
	case c.chosen > 0 && !c.processes:
		return fmt.Errorf("%w: Listen and InProcess exclude each other", ErrInvalid)
	case c.net.Secret == "":
		return fmt.Errorf("%w: listen on %s without a secret that nodes can know: set %s or %s, or use core.Secret",
			ErrInvalid, c.net.Listen, cluster.EnvSecret, reach.EnvSecretIn)
	case c.waitGiven && (c.wait < 0 || c.wait > maxNodes):
		return fmt.Errorf("%w: WaitNodes(%d), must be between 0 and %d", ErrInvalid, c.wait, maxNodes)
	}
	if c.chosen == 0 {
		c.nodes, c.processes = 0, true
	}
	if !c.waitGiven && c.nodes == 0 {
		c.wait = 1
	}
	return c.net.checkReach("listen on", c.net.Listen)
}

// maxNodes bounds the nodes of a system on one machine.
const maxNodes = 4096

// SpawnOption configures actors; see Kind.Spawn.
type SpawnOption interface{ applySpawn(*spawnConfig) }

type spawnFunc func(*spawnConfig)

func (f spawnFunc) applySpawn(c *spawnConfig) { f(c) }

type spawnConfig struct {
	mailbox     int
	mailboxWait bool
	concurrency int
	restarts    int
	placement   Placement
	nodes       []uint32 // of OnNodes; nil without it
	name        string
	named       bool
}

// Mailbox bounds the calls that may wait at each actor, 1024 by default. A call beyond that fails with
// ErrMailboxFull and does not run.
func Mailbox(n int) SpawnOption { return spawnFunc(func(c *spawnConfig) { c.mailbox = n }) }

// MailboxWait lets calls that find the mailbox full wait at the node, behind those in it and in order, instead of failing with ErrMailboxFull. What
// they may take there is bounded by the callers' InFlight: a caller that has more under way blocks when it submits. Casts, which nobody waits
// for, still fail.
func MailboxWait() SpawnOption { return spawnFunc(func(c *spawnConfig) { c.mailboxWait = true }) }

// Concurrency lets each actor run n calls at once; by default it runs one at a time, in the order of arrival. With more than one,
// calls still start in order, and the actor must guard its own state.
func Concurrency(n int) SpawnOption { return spawnFunc(func(c *spawnConfig) { c.concurrency = n }) }

// Restarts lets each actor be made anew from its configuration, up to n times, when it dies; by default it is not. It dies when a method panics or
// ends its goroutine, for its state is not trusted any more, and when its node is lost: then it is made anew on another node. See the package
// documentation for what becomes of its calls.
func Restarts(n int) SpawnOption { return spawnFunc(func(c *spawnConfig) { c.restarts = n }) }

// maxRestarts bounds Restarts.
const maxRestarts = 1 << 30

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
	if c.named && (c.name == "" || len(c.name) > maxName) {
		return c, fmt.Errorf("%w: Named(%q), must be of 1 to %d bytes", ErrInvalid, c.name, maxName)
	}
	if c.nodes != nil && len(c.nodes) == 0 {
		return c, fmt.Errorf("%w: OnNodes without a node", ErrInvalid)
	}
	if c.placement > Pack {
		return c, fmt.Errorf("%w: Placement(%d)", ErrInvalid, c.placement)
	}
	if c.restarts < 0 || c.restarts > maxRestarts {
		return c, fmt.Errorf("%w: Restarts(%d), must be between 0 and %d", ErrInvalid, c.restarts, maxRestarts)
	}
	if c.concurrency < 1 || c.concurrency > maxConcurrency {
		return c, fmt.Errorf("%w: Concurrency(%d), must be between 1 and %d", ErrInvalid, c.concurrency, maxConcurrency)
	}
	return c, nil
}
