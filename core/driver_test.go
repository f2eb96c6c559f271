// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package core_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// runDriver is this binary as a driver of its own, in a process that a test kills.
func runDriver(role string) {
	run := map[string]func(context.Context, *core.System) error{
		"busy":     driveBusily,
		"stubborn": driveStubbornly,
		"fail":     func(context.Context, *core.System) error { return errors.New("run failed") },
		"calls":    driveCalls,
	}[role]
	network := []core.Option{core.Listen("127.0.0.1:0"), core.Secret(coretest.Secret)}
	switch role {
	case "listening":
		core.Main(driveListening, append(network, core.WaitNodes(0))...)
		return
	case "amid batches":
		core.Main(driveAmidBatches, append(network, core.LocalNodes(2))...)
		return
	}
	core.Main(run, core.LocalNodes(3)) // exits with status 1 if run failed
}

// driveBusily makes work for all nodes, says who they are, and waits for its end.
func driveBusily(ctx context.Context, sys *core.System) error {
	actors, err := probes.Spawn(ctx, sys, 6, setup{})
	if err != nil {
		return err
	}
	if _, err := core.Put(ctx, sys, make([]float32, 1<<20)); err != nil {
		return err
	}
	for _, a := range actors[:3] {
		core.Call(ctx, a, (*probe).Block, core.Void{})
		if err := core.Call(ctx, actors[5], (*probe).Make, 1<<20).Err(ctx); err != nil { // an object of the node's
			return err
		}
	}
	for _, n := range sys.Nodes() {
		fmt.Println("node", n.PID)
	}
	fmt.Println("ready")
	<-ctx.Done()
	return nil
}

// driveStubbornly gives its nodes work that ignores its context.
func driveStubbornly(ctx context.Context, sys *core.System) error {
	actors, err := probes.Spawn(ctx, sys, 3, setup{}, core.Concurrency(2))
	if err != nil {
		return err
	}
	core.Call(ctx, actors[0], (*probe).Stubborn, time.Hour)
	go func() { _, _ = probes.Spawn(ctx, sys, 3, setup{Slow: time.Hour}) }() // it does not come to an end
	for c := (counts{}); c.Started == 0; {
		if c, err = core.Call(ctx, actors[0], (*probe).Counts, core.Void{}).Get(ctx); err != nil {
			return err
		}
	}
	for _, n := range sys.Nodes() {
		fmt.Println("node", n.PID)
	}
	fmt.Println("ready")
	<-ctx.Done()
	return nil
}

// driveListening says where it listens, and how many nodes have joined whenever that changes.
func driveListening(ctx context.Context, sys *core.System) error {
	fmt.Println("address", sys.Address())
	fmt.Println("ready")
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for said := 0; ; {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil
		}
		if n := sys.Stats().Nodes; n != said {
			if _, err := probes.Spawn(ctx, sys, 2*n, setup{}); err != nil {
				return err
			}
			said = n
			fmt.Println("joined", n)
		}
	}
}

// driveCalls prints a sum.
func driveCalls(ctx context.Context, sys *core.System) error {
	actors, err := probes.Spawn(ctx, sys, 6, setup{})
	if err != nil {
		return err
	}
	sum, err := core.Call(ctx, actors[4], (*probe).Sum, []float32{1, 2}).Get(ctx)
	fmt.Println("sum", sum)
	return err
}

// driver is another process that drives a system.
type driver struct {
	cmd     *exec.Cmd
	nodes   []int
	address string
	lines   *bufio.Scanner
	mu      struct {
		sync.Mutex
		joined int
	}
}

// joined is how many nodes the driver has said that it has.
func (d *driver) joined() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.joined
}

// listen takes in what the driver says after it is ready.
func (d *driver) listen() {
	for d.lines.Scan() {
		what, v, _ := strings.Cut(d.lines.Text(), " ")
		n, _ := strconv.Atoi(v)
		d.mu.Lock()
		switch what {
		case "joined":
			d.mu.joined = n
		case "node":
			d.nodes = append(d.nodes, n)
		}
		d.mu.Unlock()
	}
}

// startDriver starts a driver and waits until it is ready.
func startDriver(t *testing.T, role string) *driver {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envDriver+"="+role)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	d := &driver{cmd: cmd}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended, mostly
		_ = cmd.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if pid, ok := strings.CutPrefix(lines.Text(), "node "); ok {
			n, err := strconv.Atoi(pid)
			require.NoError(t, err)
			d.nodes = append(d.nodes, n)
		}
		if addr, ok := strings.CutPrefix(lines.Text(), "address "); ok {
			d.address = addr
		}
		if lines.Text() == "ready" {
			d.lines = lines
			if d.address != "" {
				done := make(chan struct{})
				go func() {
					defer close(done)
					d.listen()
				}()
				t.Cleanup(func() {
					_ = cmd.Process.Kill()
					<-done
				})
			}
			return d
		}
	}
	t.Fatal("the driver has ended early")
	return nil
}

// alive counts the driver's nodes that have not ended. They are children of init, who reaps them.
func (d *driver) alive() int {
	n := 0
	for _, pid := range d.nodes {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
			threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // the last of them closes the files
			if fields := strings.Fields(string(stat)); len(fields) > 2 && fields[2] == "Z" && len(threads) <= 1 {
				continue // dead, and nobody has reaped it
			}
		}
		if syscall.Kill(pid, 0) == nil {
			n++
		}
	}
	return n
}

func TestNodesEndWithADriverThatIsKilled(t *testing.T) {
	d := startDriver(t, "busy")
	require.Len(t, d.nodes, 3)
	require.Equal(t, 3, d.alive())
	require.NoError(t, d.cmd.Process.Kill())
	_ = d.cmd.Wait() // killed
	eventually(t, "its nodes have ended", func() bool { return d.alive() == 0 })
	require.Empty(t, everything(t), "files are left")
}

func TestNodesEndWithADriverThatIsKilledAlsoIfTheirActorsAreStubborn(t *testing.T) {
	d := startDriver(t, "stubborn")
	require.NoError(t, d.cmd.Process.Kill())
	_ = d.cmd.Wait() // killed
	eventually(t, "its nodes have ended", func() bool { return d.alive() == 0 })
}

func TestNodesThatAreKilledWithTheirDriverLeaveNothingAfterTheNextStart(t *testing.T) {
	d := startDriver(t, "busy")
	require.NoError(t, d.cmd.Process.Signal(syscall.SIGSTOP)) // or it would notice
	for _, pid := range d.nodes {
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	require.NoError(t, d.cmd.Process.Kill())
	_ = d.cmd.Wait()
	eventually(t, "its nodes have ended", func() bool { return d.alive() == 0 })
	require.Len(t, sessionDirs(t), 1, "nobody was left to remove it")
	coretest.Start(t)
	require.Len(t, sessionDirs(t), 1, "only the new system has a directory")
}

func TestTwoDriversDoNotDisturbEachOther(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	actors := spawn(t, sys, 4)
	d := startDriver(t, "busy")
	require.Len(t, sessionDirs(t), 2)
	get(t, core.Call(t.Context(), actors[0], (*probe).Ping, core.Void{}))
	require.NoError(t, d.cmd.Process.Kill())
	_ = d.cmd.Wait()
	eventually(t, "the nodes of the other have ended", func() bool { return d.alive() == 0 })
	for _, a := range actors {
		get(t, core.Call(t.Context(), a, (*probe).Sum, make([]float32, core.InlineMax)))
	}
}

func TestMainEndsWithTheProgram(t *testing.T) {
	tests := []struct {
		name, role string
		signal     os.Signal
		exit       int
		output     string
	}{
		{name: "a run that succeeds", role: "calls", output: "sum 3\n"},
		{name: "a run that fails", role: "fail", exit: 1, output: "error: run failed\n"},
		{name: "a signal", role: "busy", signal: os.Interrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.signal != nil {
				d := startDriver(t, tt.role)
				require.NoError(t, d.cmd.Process.Signal(tt.signal))
				require.NoError(t, d.cmd.Wait())
				require.Zero(t, d.alive())
			} else {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), envDriver+"="+tt.role)
				output, _ := cmd.CombinedOutput()
				assert.Equal(t, tt.exit, cmd.ProcessState.ExitCode())
				assert.Equal(t, tt.output, string(output))
			}
			require.Empty(t, sessionDirs(t))
		})
	}
}

func TestNodesThatDoNotJoinFailTheStart(t *testing.T) {
	tests := []struct {
		name, mode string
		say        []string
	}{
		{"the process ends", "exit", []string{"did not join", "exit status 3"}},
		{"the program starts a system instead", "start", []string{"did not join", "exit status 4"}}, // it got ErrNodeRole
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(envNode, tt.mode)
			sys, err := core.Start(bounded(t), core.LocalNodes(3))
			require.Nil(t, sys)
			require.Error(t, err)
			for _, s := range tt.say {
				assert.ErrorContains(t, err, s)
			}
			require.Empty(t, sessionDirs(t))
		})
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	t.Setenv(envNode, "hang")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := core.Start(ctx, core.LocalNodes(2))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "has not joined")
	require.Empty(t, sessionDirs(t))
}

func TestStartInANodeProcessIsRefused(t *testing.T) {
	t.Setenv("TUTTI_ROLE", "node")
	_, err := core.Start(t.Context())
	require.ErrorIs(t, err, core.ErrNodeRole)
}

func TestNodesOfAnotherBuildAreRefused(t *testing.T) {
	t.Setenv(envNode, "other build")
	sys, err := core.Start(bounded(t), core.LocalNodes(2))
	require.Nil(t, sys)
	require.ErrorIs(t, err, core.ErrBuild)
	require.ErrorContains(t, err, "tutti")
	require.ErrorContains(t, err, "the driver ")
	require.ErrorContains(t, err, `only the node has kind "only there";`)
	require.ErrorContains(t, err, `only the node has method "Ping" of kind "only there"`)
	require.Empty(t, sessionDirs(t))
}
