// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Limits measures what a batch call must not exceed, whatever it is compared with: the time to submit and to the last answer, in
// several shapes, beside the time of one copy of the argument in the same run. Read it beside the output of bench/floor.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/tutti-go/tutti/bench/ways"
	"github.com/tutti-go/tutti/core"
)

// shape is what is measured, and what it must not exceed; 0 where there is no bound.
type shape struct {
	actors, nodes, size int
	submit              time.Duration // beside one copy of the argument
	answer              time.Duration
}

func shapes() []shape {
	const us, ms = time.Microsecond, time.Millisecond
	return []shape{
		{8, 8, 0, 100 * us, 0},
		{400, 8, 0, 100 * us, 1500 * us},
		{4000, 8, 0, 100 * us, 0},
		{400, 8, 1 << 20, 100 * us, 0},
		{400, 8, 8 << 20, 100 * us, 0},
		{400, 400, 0, 0, 5700 * us},
		{100_000, 8, 0, 0, 150 * ms},
	}
}

// patience bounds the rounds of one shape.
const patience = 4 * time.Second

func main() {
	core.ServeNode()
	rounds := flag.Int("rounds", 200, "rounds, of which the median is shown")
	most := flag.Int("nodes", 400, "leaves out shapes with more node processes")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, shapes(), *rounds, *most); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, shapes []shape, rounds, most int) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "actors\tnodes\tbytes\tone copy\tsubmit\tp99\tbound\tlast answer\tp99\tbound\tdriver CPU\tbytes sent\tmessages\t")
	for _, s := range shapes {
		if s.nodes > most {
			continue
		}
		if err := s.measure(ctx, w, rounds); err != nil {
			return fmt.Errorf("%d actors on %d nodes, %d bytes: %w", s.actors, s.nodes, s.size, err)
		}
	}
	return w.Flush()
}

func (s shape) measure(ctx context.Context, w io.Writer, rounds int) (err error) {
	sys, err := core.Start(ctx, core.LocalNodes(s.nodes))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sys.Shutdown(ctx)) }()
	fleet, err := ways.NewFleet(ctx, sys, s.actors)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	arg, err := fleet.NewArgument(ctx, s.size)
	if err != nil {
		return err
	}
	defer arg.Release()

	from, to := make([]byte, s.size), make([]byte, s.size)
	for i := range from {
		from[i], to[i] = byte(i), 1 // pages that are there
	}
	const warmUp = 5
	var copies, submits, trips, cpu []time.Duration
	var last ways.Cost
	for end := time.Now().Add(patience); len(trips) < rounds && (len(trips) == 0 || time.Now().Before(end)); {
		for range warmUp {
			if len(trips) > 0 {
				break
			}
			if _, err := fleet.Batch(ctx, arg); err != nil {
				return err
			}
		}
		if last, err = fleet.Batch(ctx, arg); err != nil {
			return err
		}
		began := time.Now()
		copy(to, from)
		copies = append(copies, time.Since(began))
		submits, trips, cpu = append(submits, last.Submit), append(trips, last.Complete), append(cpu, last.CPU)
	}
	copied := quantile(copies, 0.5)
	fmt.Fprintf(w, "%d\t%d\t%d\t%v\t%v\t%v\t%s\t%v\t%v\t%s\t%v\t%d\t%d\t\n", s.actors, s.nodes, s.size, copied,
		quantile(submits, 0.5), quantile(submits, 0.99), bound(s.submit, copied),
		quantile(trips, 0.5), quantile(trips, 0.99), bound(s.answer, 0), quantile(cpu, 0.5), last.Bytes, last.Messages)
	return nil
}

func bound(d, more time.Duration) string {
	if d == 0 {
		return "-"
	}
	return (d + more).String()
}

func quantile(ds []time.Duration, q float64) time.Duration {
	slices.Sort(ds)
	return ds[min(int(q*float64(len(ds))), len(ds)-1)].Round(time.Microsecond)
}
