// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package leakcheck

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
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

func TestRunReportsEachKindOfLeak(t *testing.T) {
	dir := t.TempDir()
	tests := map[string]struct {
		leak func(t *testing.T)
		want string
	}{
		"goroutine": {
			leak: func(t *testing.T) {
				release := make(chan struct{})
				t.Cleanup(func() { close(release) })
				go leakedGoroutine(release)
			},
			want: "leakcheck.leakedGoroutine",
		},
		"file": {
			leak: func(t *testing.T) {
				require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o700))
				require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", "segment-1"), nil, 0o600))
			},
			want: filepath.Join(dir, "sub", "segment-1"),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			s := settings{dirs: []string{dir}, patience: impatient}
			code := run(runs(func() int { tt.leak(t); return 0 }), &out, s)
			assert.Equal(t, 1, code)
			assert.Contains(t, out.String(), tt.want)
		})
	}
}

func leakedGoroutine(release <-chan struct{}) { <-release }

func TestRunReportsDescriptors(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("descriptors are checked on Linux only; see descriptors_other.go")
	}
	path := filepath.Join(t.TempDir(), "open")
	var out strings.Builder
	code := run(runs(func() int {
		f, err := os.Create(path)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, f.Close()) })
		r, w, err := os.Pipe()
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, r.Close()); assert.NoError(t, w.Close()) })
		return 0
	}), &out, settings{patience: impatient})
	assert.Equal(t, 1, code)
	assert.Contains(t, out.String(), "left 3 behind")
	assert.Contains(t, out.String(), "-> "+path)
	assert.Equal(t, 2, strings.Count(out.String(), "-> pipe:["))
}

func TestRunKeepsTheExitCodeOfTheTests(t *testing.T) {
	leak := func() int {
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		go leakedGoroutine(release)
		return 2
	}
	var out strings.Builder
	assert.Equal(t, 2, run(runs(leak), &out, settings{patience: impatient}), "a failure with a leak")
	assert.Contains(t, out.String(), "leakedGoroutine")
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
	t.Run("parallel", func(t *testing.T) {
		t.Parallel()
		assert.Panics(t, func() { Check(t) })
	})
}
