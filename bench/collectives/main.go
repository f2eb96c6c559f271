// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Collectives measures the operations of package collective beside those of Gloo, Open MPI and MPICH, with the programs in
// bench/peers, one after the other in one run on one machine. It prints what users of the OSU benchmarks and of nccl-tests know,
// and the ratios, and writes for every number of members a table, CSV and plots. What is measured of Tutti is in collective/benchmark, of which
// "tutti bench collectives" shows the same without the others.
//
//	go run ./bench/collectives -members 8,64     # a library that is not installed is named, with what to install
//	go run ./bench/collectives -way processes    # only ours, as lines of bench/peers/measure.h
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tutti-go/tutti/collective/benchmark"
	"github.com/tutti-go/tutti/core"
)

// config is what the flags say.
type config struct {
	choice    benchmark.Choice
	points    []benchmark.Point // in place of the choice, for one of our ways
	seconds   float64           // for each point
	rounds    int               // of each point, at least
	turns     int               // in which the libraries are measured one after the other
	limit     time.Duration     // for the points of one library, number of members and turn
	start     time.Duration     // until all members run; 0: startTime
	members   []int
	libraries []string
	memory    int    // bytes of all members' buffers together, beyond which a point is left out
	peers     string // folder of the sources
	out       string // folder of the files
}

func main() {
	core.ServeNode()
	way, c, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case way != "":
		core.Main(func(ctx context.Context, sys *core.System) error {
			return c.measure(ctx, sys, way, os.Stdout)
		}, ways()[way].nodes(c.members[0]))
	default:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err := c.compare(ctx, allContenders(), os.Stdout, os.Stderr)
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// way is one of ours.
type way struct {
	nodes  func(members int) core.Option
	shared bool
}

func ways() map[string]way {
	one := func(int) core.Option { return core.InProcess(1) }
	return map[string]way{
		"processes":  {nodes: core.LocalNodes},
		"shared":     {nodes: core.LocalNodes, shared: true},
		"goroutines": {nodes: one},
	}
}

// measure writes a line for each point.
func (c config) measure(ctx context.Context, sys *core.System, way string, out io.Writer) error {
	p := benchmark.Plan{Points: slices.Clone(c.points), Seconds: c.seconds, Least: c.rounds, Limit: c.limit, Memory: c.memory, Ready: func() { fmt.Fprintln(out, ready) }}
	if len(p.Points) == 0 {
		p.Points = c.choice.Points()
	}
	for i := range p.Points {
		p.Points[i].Shared = ways()[way].shared
	}
	p.Points = slices.DeleteFunc(p.Points, func(at benchmark.Point) bool { return at.Shared && !benchmark.Shareable(at.Operation) })
	return benchmark.Measure(ctx, sys, "tutti-"+way, c.members[0], p, func(r benchmark.Result) error {
		_, err := fmt.Fprintln(out, r)
		return err
	})
}

// parse reads the flags. way is empty where all libraries are to be compared.
func parse(args []string) (way string, c config, err error) {
	c.choice = benchmark.DefaultChoice()
	f := flag.NewFlagSet("collectives", flag.ContinueOnError)
	benchmark.Flags(f, &c.choice)
	f.StringVar(&way, "way", "", "measure only ours: processes, a member in each; shared, the same with shared results; or goroutines of one process")
	names := []string{"tutti-processes", "tutti-shared", "tutti-goroutines", "openmpi", "mpich", "gloo"}
	libraries := f.String("libraries", strings.Join(names, ","), "libraries to compare")
	members := f.String("members", "8,32", "numbers of members")
	points := f.String("points", "", "with -way: the points themselves, such as allreduce:4:reused,barrier:0:reused")
	f.Float64Var(&c.seconds, "seconds", 0.1, "seconds for each point")
	f.IntVar(&c.rounds, "rounds", 2, "rounds of each point, however long they take")
	f.IntVar(&c.turns, "turns", 1, "how often the libraries are measured one after the other, for the machine's speed varies; of each point the fastest turn counts")
	f.DurationVar(&c.limit, "limit", 45*time.Second, "most time for the points of one library, number of members and turn; points beyond it are left out, and named")
	f.DurationVar(&c.start, "start", 0, "most time until all members of a library run, before its points; 0: a second for each, a minute at least")
	f.IntVar(&c.memory, "memory", 0, "most bytes of the buffers of all members together; larger points are left out, and named; 0: half of what the machine has free")
	f.StringVar(&c.peers, "peers", "bench/peers", "folder of the peers' programs")
	f.StringVar(&c.out, "out", "bench/results", "folder for collectives-N.txt, collectives-N.csv and collectives-N-OPERATION.svg")
	if err := f.Parse(args); err != nil {
		return "", config{}, err
	}
	c.libraries = strings.Split(*libraries, ",")
	c.members, err = numbers("-members", *members)
	if c.turns < 1 {
		err = errors.Join(err, fmt.Errorf("-turns: %d: want 1 at least", c.turns))
	}
	err = errors.Join(err, known("-libraries", c.libraries, names))
	if way != "" {
		err = errors.Join(err, known("-way", []string{way}, []string{"processes", "shared", "goroutines"}))
	}
	for text := range strings.SplitSeq(*points, ",") {
		if text == "" {
			continue
		}
		p, e := benchmark.ParsePoint(text)
		c.points, err = append(c.points, p), errors.Join(err, e)
	}
	return way, c, err
}

func numbers(name, list string) ([]int, error) {
	var all []int
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%s: %q: want a number from 1 on", name, text)
		}
		all = append(all, n)
	}
	return all, nil
}

func known(name string, given, all []string) error {
	for _, g := range given {
		if !slices.Contains(all, g) {
			return fmt.Errorf("%s: %q: want some of %s", name, g, strings.Join(all, ", "))
		}
	}
	return nil
}

// compare measures all libraries and writes what came out, for one number of members after the other.
func (c config) compare(ctx context.Context, all []contender, out, progress io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "tutti-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	heading, err := head(ctx)
	if err != nil {
		return err
	}
	if c.memory == 0 {
		if c.memory, err = benchmark.HalfOfFreeMemory(); err != nil {
			return err
		}
	}
	absent := map[string]error{}
	for _, lib := range all {
		if slices.Contains(c.libraries, lib.name) {
			absent[lib.name] = lib.prepare(ctx, c.peers, dir)
		}
	}
	for _, n := range c.members {
		if err := c.compareMembers(ctx, n, heading, all, absent, dir, out, progress); err != nil {
			return err
		}
	}
	return nil
}

// compareMembers measures all libraries with one number of members. What was measured is written after each, whatever becomes of the next.
func (c config) compareMembers(
	ctx context.Context, members int, heading string, all []contender, absent map[string]error, dir string, out, progress io.Writer,
) error {
	r := &report{config: c, heading: heading, count: members}
	began := time.Now()
	for turn := range c.turns {
		for _, lib := range all {
			err, chosen := absent[lib.name]
			switch {
			case chosen && err == nil:
				r.run(ctx, lib, dir, progress)
			case chosen && turn == 0:
				r.note(progress, "%s: not measured: %v", lib.name, err)
			}
			if ctx.Err() != nil {
				r.note(progress, "ended amid %s: %v", lib.name, context.Cause(ctx))
				return errors.Join(context.Cause(ctx), r.write(out))
			}
			if err := r.write(io.Discard); err != nil {
				return err
			}
		}
	}
	r.note(io.Discard, "measured in %v", time.Since(began).Round(time.Second))
	return r.write(out)
}
