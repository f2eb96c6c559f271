// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package leakcheck

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is how long a goroutine, descriptor or file may outlive the tests before it counts as a leak.
const patience = 5 * time.Second

// Option changes what is checked.
type Option func(*settings)

type settings struct {
	dirs     []string
	patience time.Duration
}

func newSettings(opts []Option) settings {
	s := settings{patience: patience}
	for _, opt := range opts {
		opt(&s)
	}
	return s
}

// Dirs also checks that no file is left below the given directories. A directory that does not exist is empty. Packages are
// tested in processes side by side, so give only directories that nothing but this test binary writes to.
func Dirs(paths ...string) Option {
	return func(s *settings) { s.dirs = append(s.dirs, paths...) }
}

// Run runs the tests of m, a *testing.M, and then looks for what they left. It returns the exit code of m if that is not
// zero, otherwise 1 if something leaked, otherwise 0; leaks are printed to standard error in any case.
func Run(m interface{ Run() int }, opts ...Option) int {
	return run(m, os.Stderr, newSettings(opts))
}

func run(m interface{ Run() int }, out io.Writer, s settings) int {
	before, err := take(s.dirs)
	if err != nil {
		fmt.Fprintln(out, "leakcheck: before the tests:", err)
		return 1
	}
	code := m.Run()
	leaks := before.wait(s)
	if len(leaks) == 0 {
		return code
	}
	fmt.Fprintf(out, "leakcheck: the tests left %d behind:\n%s\n", len(leaks), strings.Join(leaks, "\n"))
	return max(code, 1)
}

// Check makes t fail if, after t and the cleanups it registers from here on, anything is left that is not there now. Call it
// first. It panics if t is parallel.
func Check(t testing.TB, opts ...Option) {
	t.Helper()
	t.Setenv("TUTTI_LEAKCHECK", t.Name()) // testing panics if t is or becomes parallel: its leaks could not be told apart
	s := newSettings(opts)
	before, err := take(s.dirs)
	if err != nil {
		t.Fatal("leakcheck: before the test:", err)
	}
	t.Cleanup(func() {
		t.Helper()
		for _, leak := range before.wait(s) {
			t.Error("leakcheck: left behind: " + leak)
		}
	})
}

// snapshot holds what a process has: each map goes from an identity to a description for people.
type snapshot struct {
	goroutines  map[string]string
	descriptors map[string]string
	files       map[string]string
}

func take(dirs []string) (snapshot, error) {
	var s snapshot
	var err error
	if s.descriptors, err = descriptors(); err != nil {
		return s, fmt.Errorf("list descriptors: %w", err)
	}
	if s.files, err = files(dirs); err != nil {
		return s, fmt.Errorf("list files: %w", err)
	}
	s.goroutines = goroutines()
	return s, nil
}

// wait returns what is there now and was not in the snapshot, as soon as that is nothing or patience has run out.
func (before snapshot) wait(s settings) []string {
	deadline := time.Now().Add(s.patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		leaks := before.leaks(s.dirs)
		if len(leaks) == 0 || time.Now().After(deadline) {
			return leaks
		}
		timer := time.NewTimer(pause)
		<-timer.C
	}
}

func (before snapshot) leaks(dirs []string) []string {
	now, err := take(dirs)
	if err != nil {
		return []string{err.Error()}
	}
	return slices.Concat(
		added("goroutine", before.goroutines, now.goroutines),
		added("descriptor", before.descriptors, now.descriptors),
		added("file", before.files, now.files),
	)
}

// added describes, in a stable order, the entries of now whose identity is not in before.
func added(what string, before, now map[string]string) []string {
	var leaks []string
	for id, description := range now {
		if _, ok := before[id]; !ok {
			leaks = append(leaks, what+" "+description)
		}
	}
	slices.Sort(leaks)
	return leaks
}
