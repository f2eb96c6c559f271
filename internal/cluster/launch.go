// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
)

// The environment of a node process.
const (
	EnvRole   = "TUTTI_ROLE"   // RoleNode in a node process
	EnvNode   = "TUTTI_NODE"   // number of the node
	EnvDir    = "TUTTI_DIR"    // directory of the session
	EnvSecret = "TUTTI_SECRET" // cluster secret
	EnvDriver = "TUTTI_DRIVER" // address of the driver, in a node that the driver has not started
	RoleNode  = "node"
)

// LaunchConfig says how to start node processes.
type LaunchConfig struct {
	First, Count uint32 // numbers of the nodes: First .. First+Count-1
	Dir          string
	Secret       string
	// Env is further environment of a node, each "KEY=value"; there may be none.
	Env            func(node uint32) []string
	Stdout, Stderr io.Writer
	// Exited is called once for every process that has ended. It must not block.
	Exited func(node uint32, err error)
}

// Processes are node processes on this machine.
type Processes struct {
	wg    sync.WaitGroup
	first uint32
	procs []*os.Process // by node, counted from first
}

// Launch starts this program again, once for every node, with the same arguments and an environment that makes it
// serve as a node. If one cannot be started, those that were are killed.
func Launch(cfg LaunchConfig) (*Processes, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("launch nodes: %w", err)
	}
	p := &Processes{first: cfg.First}
	for i := range cfg.Count {
		node := cfg.First + i
		cmd := exec.Command(exe, os.Args[1:]...) //nolint:gosec,noctx // this very program; its end is the session's business
		cmd.Env = append(os.Environ(),
			EnvRole+"="+RoleNode, EnvDriver+"=", EnvNode+"="+strconv.FormatUint(uint64(node), 10), EnvDir+"="+cfg.Dir, EnvSecret+"="+cfg.Secret)
		if cfg.Env != nil {
			cmd.Env = append(cmd.Env, cfg.Env(node)...)
		}
		cmd.Stdout, cmd.Stderr = cfg.Stdout, cfg.Stderr
		cmd.SysProcAttr = ownGroup()
		if err := cmd.Start(); err != nil {
			err = errors.Join(fmt.Errorf("launch node %d: %w", node, err), p.KillAll())
			p.wg.Wait()
			return nil, err
		}
		p.procs = append(p.procs, cmd.Process)
		p.wg.Go(func() { cfg.Exited(node, cmd.Wait()) })
	}
	return p, nil
}

// Wait waits until all processes have ended and been reaped, or for ctx.
func (p *Processes) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		p.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("node processes still run: %w", context.Cause(ctx))
	}
}

// Kill ends the process of a node at once, if it has not ended.
func (p *Processes) Kill(node uint32) error {
	if err := p.procs[node-p.first].Kill(); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// KillAll ends all processes at once.
func (p *Processes) KillAll() error {
	var err error
	for i := range p.procs {
		err = errors.Join(err, p.Kill(p.first+uint32(i)))
	}
	return err
}
