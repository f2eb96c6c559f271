// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package core_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/internal/leakcheck"
)

const (
	envJournal = "CORE_TEST_JOURNAL" // file that witnesses write to
	envServe   = "CORE_TEST_SERVE"   // serve the driver at this address, and go on: see serveAndGoOn
)

// witness is an actor that writes down what it does where it can be read when nobody is left to answer.
type witness struct{ journal string }

func newWitness(_ context.Context, journal string) (*witness, error) { return &witness{journal}, nil }

func (w *witness) note(what string) (err error) {
	f, err := os.OpenFile(w.journal, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = fmt.Fprintln(f, what)
	return err
}

// Hold holds its argument until its context ends, and a while longer, so that what waits behind it comes to its turn late.
func (w *witness) Hold(ctx context.Context, x []float32) (float32, error) {
	if err := w.note("holds"); err != nil {
		return 0, err
	}
	<-ctx.Done()
	<-time.After(300 * time.Millisecond)
	return x[len(x)-1], w.note("let go") // the view is there until the method returns
}

// Ran must not run.
func (w *witness) Ran(_ context.Context, which string) (core.Void, error) {
	return core.Void{}, w.note("ran " + which)
}

func (*witness) Make(_ context.Context, n int) ([]byte, error) { return make([]byte, n), nil }

var witnesses = core.Register("witness", newWitness,
	core.Method((*witness).Hold), core.Method((*witness).Ran), core.Method((*witness).Make))

// driveAmidBatches waits for two nodes of another host beside its own two, and has calls that run and wait at all of them, which hold objects of
// every kind: one that it has put, one of each node's own, and the other host's copy.
func driveAmidBatches(ctx context.Context, sys *core.System) error {
	fmt.Println("address", sys.Address())
	fmt.Println("ready")
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for sys.Stats().Nodes < 4 {
		<-poll.C
	}
	actors, err := witnesses.Spawn(ctx, sys, 8, os.Getenv(envJournal), core.Restarts(3))
	if err != nil {
		return err
	}
	targets, err := core.NewTargets(actors)
	if err != nil {
		return err
	}
	made, err := core.Submit(ctx, targets, (*witness).Make, 1<<20)
	if err != nil {
		return err
	}
	if err := made.Wait(ctx, len(actors)); err != nil {
		return err
	}
	ref, err := core.Put(ctx, sys, make([]float32, 1<<20))
	if err != nil {
		return err
	}
	if _, err := core.SubmitRef(ctx, targets, (*witness).Hold, ref); err != nil {
		return err
	}
	for written := []byte(nil); bytes.Count(written, []byte("holds")) < len(actors); { // a call whose argument is on its way runs, too
		if written, err = os.ReadFile(os.Getenv(envJournal)); err != nil {
			return err
		}
	}
	const queued = 5
	for i := range queued {
		for what, opts := range map[string][]core.CallOption{
			"of a batch": nil, "of an idempotent batch": {core.Idempotent()}, "of a cast": {core.NoReply()},
		} {
			if _, err := core.Submit(ctx, targets, (*witness).Ran, fmt.Sprint(what, " ", i), opts...); err != nil {
				return err
			}
		}
		core.Call(ctx, actors[i], (*witness).Ran, "alone")
	}
	for running, waiting := 0, 0; running != len(actors) || waiting != queued*(3*len(actors)+1); {
		stats, err := sys.NodeStats(ctx)
		if err != nil {
			return err
		}
		running, waiting = 0, 0
		for _, st := range stats {
			running, waiting = running+st.Running, waiting+st.Waiting
		}
	}
	for _, n := range sys.Nodes() {
		fmt.Println("node", n.PID)
	}
	fmt.Println("joined", 4)
	<-ctx.Done()
	return nil
}

type runFunc func() int

func (f runFunc) Run() int { return f() }

// serveAndGoOn is this binary as a program that serves as a node for as long as there is a driver, and goes on when there is none: nothing of the driver's
// may be left in it.
func serveAndGoOn(driver string) int {
	return leakcheck.Run(runFunc(func() int {
		err := core.Serve(context.Background(), core.Join(driver), core.Secret(coretest.Secret))
		if !errors.Is(err, core.ErrNodeLost) {
			fmt.Fprintln(os.Stderr, "served until:", err)
			return 2
		}
		maps, err := os.ReadFile("/proc/self/maps") // where there is one
		if err == nil && strings.Contains(string(maps), os.Getenv(core.EnvRunDir)) {
			fmt.Fprintf(os.Stderr, "memory of the system is still mapped:\n%s", maps)
			return 3
		}
		return 0
	}))
}

// A driver that is killed amid batches: no call of it that waits is run any more, its nodes end, and nothing of what it, its
// nodes or its objects' copies on another host had is left; neither in a process that goes on.
func TestADriverThatIsKilledAmidBatchesLeavesNothing(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "journal")
	require.NoError(t, os.WriteFile(journal, nil, 0o600))
	t.Setenv(envJournal, journal)
	d := startDriver(t, "amid batches")
	joined := []*coretest.Joined{
		coretest.Run(t, "TUTTI_ROLE=node", "TUTTI_DRIVER="+d.address, "TUTTI_SECRET="+coretest.Secret, "TUTTI_HOST=host-a"),
		coretest.Run(t, envServe+"="+d.address, "TUTTI_HOST=host-a"),
	}
	eventually(t, "calls run and wait everywhere", func() bool { return d.joined() == 4 })
	require.Equal(t, 4, d.alive())
	require.Len(t, sessionDirs(t), 1)
	require.Len(t, joinedDirs(t), 1)
	require.NoError(t, d.cmd.Process.Kill())
	killed := time.Now()
	require.EqualError(t, joined[0].Wait(bounded(t)), "exit status 1", "it has lost its driver, and says so")
	require.NoError(t, joined[1].Wait(bounded(t)), "nothing is left in it")
	eventually(t, "its own nodes have ended", func() bool { return d.alive() == 0 })
	t.Logf("all had ended %v after the kill", time.Since(killed))
	require.Empty(t, everything(t), "files are left")
	written, err := os.ReadFile(journal)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("holds\n", 8)+strings.Repeat("let go\n", 8), string(written), "what waited did not run, what ran saw its context end")
}

// everything returns what is in the directory of all systems of this binary.
func everything(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(os.Getenv(core.EnvRunDir), func(path string, _ os.DirEntry, err error) error {
		files = append(files, path)
		return err
	})
	require.NoError(t, err)
	return files[1:] // not the directory itself
}
