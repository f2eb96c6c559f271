// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package leakcheck

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

// runs is a stand-in for *testing.M.
type runs func() int

func (r runs) Run() int { return r() }

const impatient = 20 * time.Millisecond

func TestRunReportsGoroutines(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	leak := runs(func() int { go leakedGoroutine(release); return 0 })
	code, report := run(leak, settings{patience: impatient})
	assert.Equal(t, 1, code)
	assert.Contains(t, report, "left 1 behind")
	assert.Contains(t, report, "leakcheck.leakedGoroutine")
}

func TestRunReportsFiles(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "sub")
	leak := runs(func() int {
		require.NoError(t, os.Mkdir(sub, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(sub, "segment-1"), nil, 0o600))
		return 0
	})
	code, report := run(leak, settings{dirs: []string{dir}, patience: impatient})
	assert.Equal(t, 1, code)
	assert.Contains(t, report, "left 2 behind")
	assert.Contains(t, report, filepath.Join(sub, "segment-1"))
}

func leakedGoroutine(release <-chan struct{}) { <-release }

func TestRunKeepsTheExitCodeOfTheTests(t *testing.T) {
	leak := func() int {
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		go leakedGoroutine(release)
		return 2
	}
	code, report := run(runs(leak), settings{patience: impatient})
	assert.Equal(t, 2, code, "a failure with a leak")
	assert.Contains(t, report, "leakedGoroutine")
	assert.Equal(t, 3, Run(runs(func() int { return 3 })), "a failure without one")
}

func TestRunForgivesWhatEndsSoonOrIsHarmless(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	signals := make(chan os.Signal, 1) // signal.Notify does not block
	code := Run(runs(func() int {
		signal.Notify(signals, os.Interrupt)
		signal.Stop(signals) // leaves the goroutine of os/signal behind
		timer := time.NewTimer(impatient)
		go func() { <-timer.C }()
		return 0
	}), Dirs(dir))
	assert.Zero(t, code)
}

// fakeTB records what Check does to a test, and stands for no test of its own.
type fakeTB struct {
	testing.TB

	cleanups []func()
	failures []string
}

func (f *fakeTB) Cleanup(fn func())     { f.cleanups = append(f.cleanups, fn) }
func (f *fakeTB) Error(args ...any)     { f.failures = append(f.failures, fmt.Sprint(args...)) }
func (f *fakeTB) Helper()               {}
func (f *fakeTB) Name() string          { return "fake" }
func (f *fakeTB) Setenv(string, string) {}

func TestCheckFailsTheTestThatLeaks(t *testing.T) {
	dir := t.TempDir()
	fake := &fakeTB{TB: t}
	Check(fake, Dirs(dir), func(s *settings) { s.patience = impatient })
	require.Len(t, fake.cleanups, 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "left"), nil, 0o600))
	fake.cleanups[0]()
	require.Len(t, fake.failures, 1)
	assert.Contains(t, fake.failures[0], filepath.Join(dir, "left"))
}

func TestCheckPassesATestThatCleansUp(t *testing.T) {
	dir := t.TempDir()
	Check(t, Dirs(dir))
	path := filepath.Join(dir, "gone")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, os.Remove(path))
}

func TestCheckRefusesParallelTests(t *testing.T) {
	t.Parallel()
	assert.Panics(t, func() { Check(t) })
}
