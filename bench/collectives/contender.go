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

	"github.com/tutti-go/tutti/collective/benchmark"
)

// contender is a library to measure. Its programs print a line for each point.
type contender struct {
	name     string
	compiler string   // of its program; empty: there is none
	flags    []string // behind the source
	source   string   // in the folder of the peers
	launcher string
	packages string // of Debian, that must be installed
	spins    bool   // its members keep their processor while they wait
	// commands returns what to start for some members: a launcher, or every process. program is the compiled one.
	commands func(program, dir string, members int, p benchmark.Plan) ([][]string, error)
}

func allContenders() []contender {
	return []contender{
		{name: "tutti-processes", commands: ours},
		{name: "tutti-shared", commands: ours},
		{name: "tutti-goroutines", commands: ours},
		{
			name: "openmpi", compiler: "mpicc.openmpi", source: "mpi.c", launcher: "mpirun.openmpi", packages: "gcc libopenmpi-dev openmpi-bin",
			commands: func(program, _ string, members int, p benchmark.Plan) ([][]string, error) {
				// With more members than cores they must give way to each other while they poll. The transports are those that it chooses by itself
				// on one machine; when they are named, members start without loading the others.
				launch := []string{
					"mpirun.openmpi", "--oversubscribe", "--mca", "mpi_yield_when_idle", "1", "--mca", "pml", "ob1", "--mca", "btl", "vader,self",
					"-n", strconv.Itoa(members), program, "openmpi",
				}
				return [][]string{append(launch, arguments(p)...)}, nil
			},
		},
		{
			name: "mpich", compiler: "mpicc.mpich", source: "mpi.c", launcher: "mpiexec.mpich", spins: true, packages: "gcc libmpich-dev mpich",
			commands: func(program, _ string, members int, p benchmark.Plan) ([][]string, error) {
				return [][]string{append([]string{"mpiexec.mpich", "-n", strconv.Itoa(members), program, "mpich"}, arguments(p)...)}, nil
			},
		},
		{
			name: "gloo", compiler: "g++", source: "gloo.cc", flags: []string{"-std=c++17", "-lgloo", "-lpthread"}, packages: "g++ libgloo-dev",
			commands: everyProcess,
		},
	}
}

// ours starts this program again, which starts the nodes.
func ours(program, _ string, members int, p benchmark.Plan) ([][]string, error) {
	self, err := os.Executable()
	args := arguments(p)
	return [][]string{{
		self, "-way", strings.TrimPrefix(program, "tutti-"), "-members", strconv.Itoa(members),
		"-points", args[0], "-seconds", args[1], "-rounds", args[2], "-limit", args[3] + "s", "-memory", strconv.Itoa(p.Memory),
	}}, err
}

// everyProcess starts one for each rank; they find each other by files in a folder that is empty at first.
func everyProcess(program, dir string, members int, p benchmark.Plan) ([][]string, error) {
	store, err := os.MkdirTemp(dir, "store-")
	if err != nil {
		return nil, err
	}
	commands := make([][]string, members)
	for rank := range commands {
		commands[rank] = append([]string{program, "gloo"}, arguments(p)...)
		commands[rank] = append(commands[rank], strconv.Itoa(rank), strconv.Itoa(members), store)
	}
	return commands, nil
}

// arguments are the plan as the programs of the peers take it.
func arguments(p benchmark.Plan) []string {
	points := make([]string, len(p.Points))
	for i, at := range p.Points {
		points[i] = at.String()
	}
	decimal := func(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
	return []string{strings.Join(points, ","), decimal(p.Seconds), strconv.Itoa(p.Least), decimal(p.Limit.Seconds())}
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

// ready is the line that the programs print before the first result: all members run and have met.
const ready = "ready"

// outcome is what a library did with a plan.
type outcome struct {
	results []benchmark.Result
	start   time.Duration // until all members ran and had met; 0: they never had
}

// run measures a plan with some members, which have some time to start and then as much as the plan says, and as much again for a point
// that takes long. The outcome has what came before an error, which is one short line.
func (c contender) run(ctx context.Context, dir string, members int, p benchmark.Plan, start time.Duration) (outcome, error) {
	commands, err := c.commands(c.program(dir), dir, members, p)
	if err != nil {
		return outcome{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	late := time.AfterFunc(start, func() { cancel(fmt.Errorf("its members had not met after %v", start)) })
	defer func() { late.Stop() }()
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := together(ctx, commands, writer)
		ended <- errors.Join(err, writer.Close())
	}()
	var o outcome
	var strange error // launchers say at length that they were ended; the first line counts, and only if nothing else failed
	for text := bufio.NewScanner(reader); text.Scan(); {
		if text.Text() == ready && late.Stop() {
			o.start = time.Since(began)
			most := p.Limit + max(p.Limit, leastSlack)
			late = time.AfterFunc(most, func() { cancel(fmt.Errorf("it was ended after %v", most)) })
			continue
		}
		r, err := benchmark.ParseResult(text.Text())
		if err == nil {
			o.results = append(o.results, r)
		} else if strange == nil {
			strange = err
		}
	}
	if err := <-ended; err != nil {
		return o, err
	}
	return o, strange
}

// leastSlack is how much longer than its points a library may take at least, for a point that never ends.
const leastSlack = 20 * time.Second

// startTime is how long members may take to start: a second for each was never too little, not even beside others on 2 cores.
func startTime(members int) time.Duration {
	return max(time.Minute, time.Duration(members)*time.Second)
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
	*t = (*t)[max(len(*t)-200, 0):]
	return len(b), nil
}

func (t *tail) String() string { return strings.Join(strings.Fields(string(*t)), " ") }
