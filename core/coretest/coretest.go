// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package coretest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/rundir"
)

// shutdownTimeout bounds the orderly end of a system at the end of a test.
const shutdownTimeout = 20 * time.Second

// Main is the body of TestMain. It never returns.
func Main(m interface{ Run() int }) {
	core.ServeNode()
	// Every test binary gets a place of its own, so that a leftover is known to be its own. What binaries that were
	// killed left behind goes with the next.
	held, err := rundir.New(filepath.Join(shortTempDir(), "tutti-test-"+strconv.Itoa(os.Getuid())), slog.Default())
	var dir string
	if err == nil {
		dir = filepath.Join(held.Path, "r")
		err = os.Setenv(core.EnvRunDir, dir)
	}
	if err == nil && os.Getenv("GORACE") == "" {
		// Under the race detector nodes otherwise sleep for a second before they end, and only print the races that they see.
		err = os.Setenv("GORACE", "atexit_sleep_ms=0 halt_on_error=1")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "coretest:", err)
		os.Exit(1)
	}
	code := leakcheck.Run(m, leakcheck.Dirs(dir))
	if err := held.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "coretest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// shortTempDir prefers memory, and a path short enough for sockets.
func shortTempDir() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}

// Start starts a system that is shut down when the test ends. A failure of either fails the test.
func Start(tb testing.TB, opts ...core.Option) *core.System {
	tb.Helper()
	sys, err := core.Start(tb.Context(), opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), shutdownTimeout)
		defer cancel()
		if err := sys.Shutdown(ctx); err != nil {
			tb.Error(err)
		}
	})
	return sys
}

// KillNode ends the process of a node as kill -9 does, and waits until the system has noticed. It fails the test if the node has
// no process of its own.
func KillNode(tb testing.TB, sys *core.System, node uint32) {
	tb.Helper()
	p := process(tb, sys, node)
	if err := errors.Join(p.Kill(), p.Release()); err != nil {
		tb.Fatal(err)
	}
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for info(tb, sys, node).Alive {
		select {
		case <-poll.C:
		case <-tb.Context().Done():
			tb.Fatalf("node %d was killed and is still taken for alive", node)
		}
	}
}

// process returns the process of a node, which the caller releases.
func process(tb testing.TB, sys *core.System, node uint32) *os.Process {
	tb.Helper()
	pid := info(tb, sys, node).PID
	if pid == os.Getpid() {
		tb.Fatalf("node %d has no process of its own", node)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func info(tb testing.TB, sys *core.System, node uint32) core.NodeInfo {
	tb.Helper()
	for _, n := range sys.Nodes() {
		if n.ID == node {
			return n
		}
	}
	tb.Fatalf("there is no node %d", node)
	return core.NodeInfo{}
}
