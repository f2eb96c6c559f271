// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Ranking measures every algorithm of some collective operations, among members of one process and of eight, and prints the times
// beside those that the group's cost model predicts, in the order of both, and how often the two agree.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/collective"
	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/core"
)

// config is what the flags say.
type config struct {
	members  []int
	sizes    []int
	repeats  int           // iterations at most
	patience time.Duration // for the iterations of one algorithm
	hopeless float64       // an algorithm that is predicted to take so many times as long as the best is not run
}

func main() {
	core.ServeNode()
	c := config{patience: 300 * time.Millisecond, hopeless: 30}
	members := flag.String("members", "8,16,64", "numbers of members")
	sizes := flag.String("sizes", "1024,16384,131072,1048576", "bytes of a member's larger buffer")
	flag.IntVar(&c.repeats, "repeats", 15, "iterations of each algorithm, at most; the median counts")
	flag.Parse()
	var err error
	if c.members, err = numbers(*members); err == nil {
		c.sizes, err = numbers(*sizes)
	}
	if err == nil {
		err = run(context.Background(), c, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ranking:", err)
		os.Exit(1)
	}
}

// numbers reads positive numbers with commas between.
func numbers(text string) ([]int, error) {
	var all []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("want numbers with commas between, not %q", text)
		}
		all = append(all, n)
	}
	return all, nil
}

// run measures in both places.
func run(ctx context.Context, c config, out io.Writer) error {
	var total agreement
	for _, place := range []struct {
		name  string
		nodes core.Option
	}{{"one process", core.InProcess(1)}, {"8 processes", core.LocalNodes(8)}} {
		sys, err := core.Start(ctx, place.nodes)
		if err != nil {
			return err
		}
		err = c.place(ctx, out, place.name, sys, &total)
		if end := sys.Shutdown(ctx); err == nil {
			err = end
		}
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "\n%v\n", &total)
	return nil
}

func operations() []schedule.Op {
	return []schedule.Op{schedule.AllReduce, schedule.Broadcast, schedule.AllToAll}
}

func (c config) place(ctx context.Context, out io.Writer, name string, sys *core.System, total *agreement) error {
	actors, err := members.Spawn(ctx, sys, slices.Max(c.members), core.Void{})
	if err != nil {
		return err
	}
	for _, n := range c.members {
		for i, op := range operations() {
			lines, model, err := c.compare(ctx, actors[:n], op)
			if err != nil {
				return fmt.Errorf("%s, %d members, %v: %w", name, n, op, err)
			}
			if i == 0 {
				fmt.Fprintf(out, "\n%s, %d members on %d processors\n%s\n", name, n, runtime.GOMAXPROCS(0), model)
			}
			for _, l := range lines {
				fmt.Fprintf(out, "%v\n", l)
				total.add(l)
			}
		}
	}
	return nil
}

// compare predicts and measures all algorithms of an operation at all sizes.
func (c config) compare(ctx context.Context, actors []*core.Handle[*member], op schedule.Op) ([]comparison, string, error) {
	lines := make([]comparison, len(c.sizes))
	model := ""
	for _, a := range schedule.Algorithms(op) {
		g, err := collective.NewGroup(ctx, "ranking", actors, collective.Algorithm(op, a.Name))
		if err != nil {
			return nil, "", err
		}
		for i, size := range c.sizes {
			if lines[i].predicted == nil {
				lines[i] = comparison{op: op, members: len(actors), size: size}
				if lines[i].predicted, err = g.Predict(op, size); err != nil {
					return nil, "", err
				}
			}
			took, ok, err := c.measure(ctx, actors, op, size, a.Name, lines[i].predicted)
			if err != nil {
				return nil, "", err
			}
			if ok {
				lines[i].measured = append(lines[i].measured, measurement{a.Name, took})
			}
		}
		if model == "" {
			text, err := g.Explain(op, c.sizes[0])
			if err != nil {
				return nil, "", err
			}
			model, _, _ = strings.Cut(text, "\n"+op.String())
		}
		if err := g.Close(ctx); err != nil {
			return nil, "", err
		}
	}
	return lines, model, nil
}

// measure returns the median time of an algorithm, unless it is hopeless.
func (c config) measure(ctx context.Context, actors []*core.Handle[*member], op schedule.Op, size int, name string, predicted []schedule.Prediction) (time.Duration, bool, error) {
	at := slices.IndexFunc(predicted, func(p schedule.Prediction) bool { return p.Algorithm.Name == name })
	if float64(predicted[at].Time) > c.hopeless*float64(predicted[0].Time) {
		return 0, false, nil
	}
	repeats := min(c.repeats, 3+int(c.patience/max(1, predicted[at].Time)))
	refs, err := batch.Call(ctx, batch.New(actors), (*member).Run, Task{Op: op, Size: size, Repeats: repeats})
	if err != nil {
		return 0, false, err
	}
	all, err := refs.Get(ctx)
	if err != nil {
		return 0, false, err
	}
	slowest := all[0] // by iteration
	for _, of := range all[1:] {
		for i, t := range of {
			slowest[i] = max(slowest[i], t)
		}
	}
	slices.Sort(slowest)
	return time.Duration(slowest[len(slowest)/2]), true, nil
}
