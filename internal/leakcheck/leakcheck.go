// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package leakcheck

import (
	"fmt"
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
	code, report := run(m, newSettings(opts))
	if report != "" {
		fmt.Fprintln(os.Stderr, "leakcheck:", report)
	}
	return code
}

// run returns the exit code and what to say about it, which is nothing if all is well.
func run(m interface{ Run() int }, s settings) (int, string) {
	before, err := take(s.dirs)
	if err != nil {
		return 1, "before the tests: " + err.Error()
	}
	code := m.Run()
	leaks := before.wait(s)
	if len(leaks) == 0 {
		return code, ""
	}
	return max(code, 1), fmt.Sprintf("the tests left %d behind:\n%s", len(leaks), strings.Join(leaks, "\n"))
}

// Check makes tb fail if, after the test and the cleanups it registers from here on, anything is left that is not there now.
// Call it first. It panics if the test is parallel.
func Check(tb testing.TB, opts ...Option) {
	tb.Helper()
	tb.Setenv("TUTTI_LEAKCHECK", tb.Name()) // panics in a parallel test, whose leaks could not be told from those of others
	s := newSettings(opts)
	before, err := take(s.dirs)
	if err != nil {
		tb.Fatal("leakcheck: before the test:", err)
	}
	tb.Cleanup(func() {
		tb.Helper()
		for _, leak := range before.wait(s) {
			tb.Error("leakcheck: left behind: " + leak)
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
