// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// contender is a library to measure. Its programs print a line for each point.
type contender struct {
	name     string
	compiler string   // of its program; empty: there is none
	flags    []string // behind the source
	source   string   // in the folder of the peers
	launcher string
	packages string // of Debian, that must be installed
	// commands returns what to start for some members: a launcher, or every process. program is the compiled one.
	commands func(program, dir string, members int, p plan) ([][]string, error)
}

func allContenders() []contender {
	return []contender{
		{name: "tutti-processes", commands: ours},
		{name: "tutti-goroutines", commands: ours},
		{
			name: "openmpi", compiler: "mpicc.openmpi", source: "mpi.c", launcher: "mpirun.openmpi", packages: "gcc libopenmpi-dev openmpi-bin",
			commands: func(program, _ string, members int, p plan) ([][]string, error) {
				// With more members than cores they must give way to each other while they poll.
				launch := []string{"mpirun.openmpi", "--oversubscribe", "--mca", "mpi_yield_when_idle", "1", "-n", strconv.Itoa(members)}
				return [][]string{append(append(launch, program, "openmpi"), p.arguments()...)}, nil
			},
		},
		{
			name: "mpich", compiler: "mpicc.mpich", source: "mpi.c", launcher: "mpiexec.mpich", packages: "gcc libmpich-dev mpich",
			commands: func(program, _ string, members int, p plan) ([][]string, error) {
				return [][]string{append([]string{"mpiexec.mpich", "-n", strconv.Itoa(members), program, "mpich"}, p.arguments()...)}, nil
			},
		},
		{
			name: "gloo", compiler: "g++", source: "gloo.cc", flags: []string{"-std=c++17", "-lgloo", "-lpthread"}, packages: "g++ libgloo-dev",
			commands: everyProcess,
		},
	}
}

// ours starts this program again, which starts the nodes.
func ours(program, _ string, members int, p plan) ([][]string, error) {
	self, err := os.Executable()
	args := p.arguments()
	return [][]string{{
		self, "-way", strings.TrimPrefix(program, "tutti-"), "-members", strconv.Itoa(members),
		"-operations", args[0], "-sizes", args[1], "-modes", args[2], "-seconds", args[3],
	}}, err
}

// everyProcess starts one for each rank; they find each other by files in a folder that is empty at first.
func everyProcess(program, dir string, members int, p plan) ([][]string, error) {
	store, err := os.MkdirTemp(dir, "store-")
	if err != nil {
		return nil, err
	}
	commands := make([][]string, members)
	for rank := range commands {
		commands[rank] = append([]string{program, "gloo"}, p.arguments()...)
		commands[rank] = append(commands[rank], strconv.Itoa(rank), strconv.Itoa(members), store)
	}
	return commands, nil
}

// arguments are the plan as the programs of the peers take it.
func (p plan) arguments() []string {
	var sizes []string
	for _, s := range p.sizes {
		sizes = append(sizes, strconv.Itoa(s))
	}
	return []string{strings.Join(p.operations, ","), strings.Join(sizes, ","), strings.Join(p.modes, ","), strconv.FormatFloat(p.seconds, 'f', -1, 64)}
}

// prepare compiles the program. The error is one line that says what to install.
func (c contender) prepare(ctx context.Context, peers, dir string) error {
	if c.compiler == "" {
		return nil
	}
	for _, tool := range []string{c.compiler, c.launcher} {
		if tool == "" {
			continue
		}
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not here: apt-get install %s", tool, c.packages)
		}
	}
	source := filepath.Join(peers, c.source)
	if _, err := os.Stat(source); err != nil {
		return err
	}
	args := append([]string{"-O3", "-o", c.program(dir), source}, c.flags...)
	if text, err := exec.CommandContext(ctx, c.compiler, args...).CombinedOutput(); err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		return fmt.Errorf("%s: %w: %s: apt-get install %s", c.compiler, err, first, c.packages)
	}
	return nil
}

// program returns what commands starts.
func (c contender) program(dir string) string {
	if c.compiler == "" {
		return c.name
	}
	return filepath.Join(dir, c.name)
}

// run measures a plan with some members. The lines are those that came before an error.
func (c contender) run(ctx context.Context, dir string, members int, p plan, timeout time.Duration) ([]line, error) {
	if len(p.sizes) == 0 {
		return nil, nil
	}
	commands, err := c.commands(c.program(dir), dir, members, p)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it took longer than %v", timeout))
	defer cancel()
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := together(ctx, commands, writer)
		ended <- errors.Join(err, writer.Close())
	}()
	var lines []line
	var strange []error
	for text := bufio.NewScanner(reader); text.Scan(); {
		l, err := parseLine(text.Text())
		if err != nil {
			strange = append(strange, err)
			continue
		}
		lines = append(lines, l)
	}
	return lines, errors.Join(<-ended, errors.Join(strange...))
}

// together runs commands side by side and waits for all of them, with all that they started. When one fails, all end.
func together(ctx context.Context, commands [][]string, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error, len(commands))
	for _, words := range commands {
		go func() { ended <- alone(ctx, words, out) }()
	}
	for range commands {
		if err := <-ended; err != nil {
			cancel(err) // the first counts
		}
	}
	return context.Cause(ctx)
}

// alone runs one command in a process group of its own, which ends with the context.
func alone(ctx context.Context, words []string, out io.Writer) error {
	var complaint tail
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = out, &complaint
	cmd.Env = append(os.Environ(), "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 3 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil && cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what did not listen; there may be nothing left
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(words[0]), err, &complaint)
	}
	return nil
}

// tail keeps the last bytes that were written.
type tail []byte

func (t *tail) Write(b []byte) (int, error) {
	*t = append(*t, b...)
	*t = (*t)[max(len(*t)-500, 0):]
	return len(b), nil
}

func (t *tail) String() string { return strings.Join(strings.Fields(string(*t)), " ") }
