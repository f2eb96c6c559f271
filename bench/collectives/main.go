// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Collectives measures the operations of package collective beside those of Gloo, Open MPI and MPICH, with the programs in
// bench/peers, one after the other in one run on one machine. It prints what users of the OSU benchmarks and of nccl-tests know,
// and the ratios, and writes raw lines, a table, CSV and plots.
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

	"github.com/tutti-go/tutti/core"
)

// config is what the flags say.
type config struct {
	plan

	members   []int
	libraries []string
	timeout   time.Duration // for one library and number of members
	memory    int           // bytes of all members' buffers together, beyond which a size is left out
	peers     string        // folder of the sources
	out       string        // folder of the files
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
		n := c.members[0]
		nodes := core.InProcess(1)
		if way == "processes" {
			nodes = core.LocalNodes(n)
		}
		core.Main(func(ctx context.Context, sys *core.System) error {
			return measure(ctx, sys, "tutti-"+way, n, c.plan, os.Stdout)
		}, nodes)
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

// parse reads the flags. way is empty where all libraries are to be compared.
func parse(args []string) (way string, c config, err error) {
	f := flag.NewFlagSet("collectives", flag.ContinueOnError)
	f.StringVar(&way, "way", "", "measure only ours: processes, a member in each, or goroutines of one process")
	names := []string{"tutti-processes", "tutti-goroutines", "openmpi", "mpich", "gloo"}
	libraries := f.String("libraries", strings.Join(names, ","), "libraries to compare")
	members := f.String("members", "8,32", "numbers of members")
	ops := f.String("operations", strings.Join(operations(), ","), "operations")
	sizes := f.String("sizes", "4,1024,65536,1048576,16777216", "bytes of the larger buffer of a member, multiples of 4")
	modes := f.String("modes", "reused,fresh", "reused: the same buffers in every round; fresh: memory that was never used before")
	f.Float64Var(&c.seconds, "seconds", 0.1, "seconds for each point, which takes at least two rounds")
	f.DurationVar(&c.timeout, "timeout", 45*time.Second, "most time for one library and number of members")
	f.IntVar(&c.memory, "memory", 4<<30, "most bytes of the buffers of all members together; larger sizes are left out")
	f.StringVar(&c.peers, "peers", "bench/peers", "folder of the peers' programs")
	f.StringVar(&c.out, "out", "bench/results", "folder for collectives.txt, collectives.csv, collectives-raw.txt and collectives-N.svg")
	if err := f.Parse(args); err != nil {
		return "", config{}, err
	}
	var e1, e2 error
	c.members, e1 = numbers("-members", *members, 1, 1)
	c.sizes, e2 = numbers("-sizes", *sizes, 4, 4)
	c.operations, c.modes, c.libraries = strings.Split(*ops, ","), strings.Split(*modes, ","), strings.Split(*libraries, ",")
	err = errors.Join(e1, e2, known("-operations", c.operations, operations()), known("-modes", c.modes, []string{"reused", "fresh"}),
		known("-libraries", c.libraries, names))
	if way != "" {
		err = errors.Join(err, known("-way", []string{way}, []string{"processes", "goroutines"}))
	}
	return way, c, err
}

func numbers(name, list string, least, multiple int) ([]int, error) {
	var all []int
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n%multiple != 0 {
			return nil, fmt.Errorf("%s: %q: want a multiple of %d, at least %d", name, text, multiple, least)
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

// compare measures all libraries and writes what came out.
func (c config) compare(ctx context.Context, all []contender, out, progress io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "tutti-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	began := time.Now()
	r := &report{config: c}
	if err := r.head(ctx); err != nil {
		return err
	}
	for _, lib := range all {
		if !slices.Contains(c.libraries, lib.name) {
			continue
		}
		if err := lib.prepare(ctx, c.peers, dir); err != nil {
			r.note(progress, "%s: not measured: %v", lib.name, err)
			continue
		}
		for _, n := range c.members {
			p := c.plan
			p.sizes = c.fitting(n)
			if len(p.sizes) < len(c.sizes) {
				r.note(progress, "%s, %d members: buffers of more than %d bytes are left out: -memory is %d", lib.name, n, (c.memory/n/2)&^3, c.memory)
			}
			start := time.Now()
			lines, err := lib.run(ctx, dir, n, p, c.timeout)
			r.lines = append(r.lines, lines...)
			fmt.Fprintf(progress, "%s, %d members: %d points in %v\n", lib.name, n, len(lines), time.Since(start).Round(time.Millisecond))
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				r.note(progress, "%s, %d members: ended after %d points: %v", lib.name, n, len(lines), err)
			}
		}
	}
	r.note(io.Discard, "measured in %v", time.Since(began).Round(time.Second))
	return r.write(out)
}

// fitting returns the sizes that so many members have the memory for.
func (c config) fitting(members int) []int {
	return slices.DeleteFunc(slices.Clone(c.sizes), func(size int) bool { return 2*size*members > c.memory })
}
