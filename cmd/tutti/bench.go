// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/tutti-go/tutti/collective/benchmark"
	"github.com/tutti-go/tutti/core"
)

// measurement is what the arguments of tutti bench collectives say.
type measurement struct {
	plan    benchmark.Plan
	members int // 0: one for each node
	where   string
}

const benchUsage = `Usage: tutti bench collectives [ARGUMENTS]
Measures collective operations, and prints what the OSU benchmarks and nccl-tests print. Every member checks all data.
With -in nodes the members are on nodes of other machines, where the same command runs with TUTTI_ROLE=node and TUTTI_DRIVER set; here
TUTTI_LISTEN and TUTTI_WAIT_NODES say where they join, and how many. Under Slurm, "srun tutti bench collectives -in nodes" is enough.
Arguments:`

// bench measures collective operations. It returns in the driver only; nodes serve.
func bench(args []string, out io.Writer) error {
	if len(args) == 0 || args[0] != "collectives" {
		return fmt.Errorf("%w: tutti bench collectives [ARGUMENTS]; -h lists them", errUsage)
	}
	m, err := parseBench(args[1:], out)
	if err != nil {
		return err
	}
	run := func(ctx context.Context, sys *core.System) error { return m.measure(ctx, sys, out) }
	switch m.where {
	case "processes":
		core.Main(run, core.LocalNodes(m.members))
	case "goroutines":
		core.Main(run, core.InProcess(1))
	default:
		core.Main(run)
	}
	return nil
}

// parseBench reads the arguments of tutti bench collectives. Help goes to out.
func parseBench(args []string, out io.Writer) (*measurement, error) {
	m := &measurement{where: "processes"}
	choice := benchmark.DefaultChoice()
	f := flag.NewFlagSet("tutti bench collectives", flag.ContinueOnError)
	f.SetOutput(out)
	f.Usage = func() {
		fmt.Fprintln(out, benchUsage)
		f.PrintDefaults()
	}
	benchmark.Flags(f, &choice)
	f.BoolVar(&choice.Shared, "shared", false, "results are one object on each host, which its members read in place; operations without that are left out")
	f.IntVar(&m.members, "members", 0, "members of the group (default 8; with -in nodes, one for each node)")
	f.Func("in", "where members are: processes of this machine, one for each; goroutines of this process; or nodes that join (default processes)", func(text string) error {
		if text != "processes" && text != "goroutines" && text != "nodes" {
			return fmt.Errorf("want processes, goroutines or nodes, not %q", text)
		}
		m.where = text
		return nil
	})
	f.Float64Var(&m.plan.Seconds, "seconds", 0.1, "seconds for each point")
	f.IntVar(&m.plan.Least, "rounds", 2, "rounds of each point, however long they take, up to 200")
	f.DurationVar(&m.plan.Limit, "limit", 5*time.Minute, "most time for all points; those that would begin later are left out, and named; 0: no limit")
	f.Func("memory", "most memory for the buffers of the members of one host, such as 4GiB; larger points are left out, and named (default half of what is free there)",
		func(text string) error {
			n, err := benchmark.ParseSize(text)
			if err == nil && n == 0 {
				err = errors.New("want more than nothing")
			}
			m.plan.Memory = n
			return err
		})
	if err := f.Parse(args); err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	const most = 1 << 20
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("%w: bench: what is %q?", errUsage, f.Args())
	case m.members < 0 || m.members > most:
		return nil, fmt.Errorf("%w: bench: --members is %d, want 1 to %d", errUsage, m.members, most)
	}
	if m.members == 0 && m.where != "nodes" {
		m.members = 8
	}
	m.plan.Points = choice.Points()
	if err := m.plan.Validate(); err != nil {
		return nil, fmt.Errorf("%w: bench: %w", errUsage, err)
	}
	return m, nil
}

// measure prints a line for each point as soon as it has been measured.
func (m *measurement) measure(ctx context.Context, sys *core.System, out io.Writer) error {
	hosts := map[string]bool{}
	nodes := 0
	for _, node := range sys.Nodes() {
		if node.Alive && node.ID != 0 {
			nodes++
			hosts[node.Host] = true
		}
	}
	if m.members == 0 {
		m.members = nodes
	}
	if m.members == 0 {
		return errors.New("no node has joined: TUTTI_LISTEN says where they may, TUTTI_WAIT_NODES how many are waited for")
	}
	fmt.Fprintf(out, "# %s, %s/%s, %d cores here, %s\n", time.Now().UTC().Format(time.DateTime), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	fmt.Fprintf(out, "# %d members, %d nodes, %d hosts\n", m.members, nodes, len(hosts))
	fmt.Fprintln(out, "# min, avg and max are over members, of the mean over rounds of each one's own call; until last is the median over rounds from the first\n"+
		"# begin to the last end, of which the bandwidths are made: algbw = bytes / time, busbw as nccl-tests define it, in 10^9 bytes a second")
	fmt.Fprintf(out, "%-15s %-7s %s\n", "operation", "buffers", benchmark.Columns)
	return benchmark.Measure(ctx, sys, "tutti", m.members, m.plan, func(r benchmark.Result) error {
		if r.Rounds == 0 {
			_, err := fmt.Fprintf(out, "%-15s %-7s %10d  left out: %s\n", r.Operation, r.Buffers(), r.Bytes, r.LeftOut)
			return err
		}
		_, err := fmt.Fprintf(out, "%-15s %-7s %s\n", r.Operation, r.Buffers(), r.Row())
		return err
	})
}
