// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package coretest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/internal/certs"
)

// Secret is the cluster secret of systems that the package stands up.
const Secret = "the secret of a test's systems"

// StartHosts starts a system whose nodes are on several hosts: hosts of them in name, with perHost nodes each, in processes that join over
// loopback as they would join from other machines. The driver is on a host of its own. What travels between hosts goes over TCP, each host on an address of its
// own where the system has more than one on loopback; with TLS if the options say so. The system is shut down when the test ends.
func StartHosts(tb testing.TB, hosts, perHost int, opts ...core.Option) *core.System {
	tb.Helper()
	sys := Start(tb, append([]core.Option{core.Listen("127.0.0.1:0"), core.Secret(Secret), core.WaitNodes(0)}, opts...)...)
	for h := range hosts {
		for range perHost {
			JoinFrom(tb, sys, h)
		}
	}
	AwaitNodes(tb, sys, hosts*perHost)
	return sys
}

// AwaitNodes waits until n nodes are alive. It fails the test when the test's context ends before.
func AwaitNodes(tb testing.TB, sys *core.System, n int) {
	tb.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); sys.Stats().Nodes != n; {
		select {
		case <-poll.C:
		case <-tb.Context().Done():
			tb.Fatalf("%d nodes are alive, want %d", sys.Stats().Nodes, n)
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%d nodes are alive after %v, want %d", sys.Stats().Nodes, patience, n)
		}
	}
}

// patience is how long processes may take to come and go on a busy machine.
const patience = 30 * time.Second

// Joined is a process that joins a system as a node from elsewhere.
type Joined struct {
	PID   int
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // valid once it has ended
}

// JoinFrom starts this test binary as a node on a host in name only, counted from 0, which joins the system. Further
// variables of its environment may be given as "KEY=value". The process is killed when the test ends, unless it has ended before.
func JoinFrom(tb testing.TB, sys *core.System, host int, env ...string) *Joined {
	tb.Helper()
	return Run(tb, append([]string{
		"TUTTI_ROLE=node", "TUTTI_DRIVER=" + sys.Address(), "TUTTI_SECRET=" + Secret,
		fmt.Sprintf("TUTTI_HOST=host-%d", host), "TUTTI_LISTEN=" + Loopback(host) + ":0",
	}, env...)...)
}

// Run starts this test binary again with further variables in its environment, "KEY=value".
func Run(tb testing.TB, env ...string) *Joined {
	tb.Helper()
	cmd := exec.Command(os.Args[0]) //nolint:gosec,noctx // this very program; the test ends it
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	j := &Joined{PID: cmd.Process.Pid, cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(j.ended)
		j.err = cmd.Wait()
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it ends in order, and leaves nothing
		t := time.AfterFunc(patience, j.Kill)
		<-j.ended
		t.Stop()
	})
	return j
}

// Kill ends the process as kill -9 does, if it has not ended.
func (j *Joined) Kill() { _ = j.cmd.Process.Kill() }

// Wait waits until the process has ended, and returns how.
func (j *Joined) Wait(ctx context.Context) error {
	select {
	case <-j.ended:
		return j.err
	case <-ctx.Done():
		return fmt.Errorf("process %d still runs: %w", j.PID, context.Cause(ctx))
	}
}

// Loopback returns the loopback address of a host in name only. Where the system has one only, they share it.
func Loopback(host int) string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	return fmt.Sprintf("127.0.%d.%d", host/200, host%200+2)
}

// Certificates makes an authority and a certificate for one hour, for core.TLS.
func Certificates(tb testing.TB) (ca, cert, key string) {
	tb.Helper()
	f, err := certs.Make(tb.TempDir(), certs.Name)
	if err != nil {
		tb.Fatal(err)
	}
	return f.CA, f.Cert, f.Key
}
