// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tutti-go/tutti/collective/benchmark"
	"github.com/tutti-go/tutti/collective/schedule"
)

// maxMessages is up to how many messages of all ranks the machines of all are simulated, which takes a second for a million or
// two. Where there are more, the prediction from one rank stands alone.
const maxMessages = 20_000_000

// simulation is what the arguments of tutti sim say.
type simulation struct {
	op        schedule.Op
	ranks     int
	size      int
	root      int
	algorithm string
	model     schedule.Model
	faults    schedule.Faults
}

const simUsage = `Usage: tutti sim OPERATION [ARGUMENTS]
Predicts what an operation takes by each algorithm, and simulates the fastest, or the one named, rank by rank.
Operations: allreduce reducescatter allgather broadcast barrier reduce gather scatter alltoall
Arguments:`

// sim predicts and simulates one operation.
func sim(args []string, out io.Writer) error {
	s, err := parseSim(args, out)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, s.model.String())
	fmt.Fprintln(out)
	all := s.model.Rank(s.op, s.ranks, s.size)
	chosen, why := all[0], "the least predicted time"
	if s.algorithm != "" {
		why = "named by --algorithm"
		for _, p := range all {
			if p.Algorithm.Name == s.algorithm {
				chosen = p
			}
		}
	}
	fmt.Fprintln(out, schedule.Explanation(s.op, s.ranks, s.size, all, chosen.Choice, why))
	fmt.Fprintln(out)
	_, messages, _ := chosen.Effort(s.ranks, s.size)
	if first := chosen.Algorithm.Plan(s.ranks, 0, s.root, chosen.Parts); first.Turn > 0 && messages*s.ranks > maxMessages {
		fmt.Fprintf(out, "%d messages of each of %d ranks are too many to simulate one by one\n", messages, s.ranks)
		return nil
	}
	began := time.Now()
	o := schedule.Simulate(&s.model, chosen.Choice, s.ranks, s.root, s.size, s.faults)
	s.print(out, chosen.Choice, o, time.Since(began))
	return nil
}

func (s *simulation) print(out io.Writer, c schedule.Choice, o schedule.Outcome, took time.Duration) {
	fmt.Fprintf(out, "simulated %v of %d ranks, %d messages in %v\n", c, s.ranks, o.Messages, took.Round(time.Millisecond))
	if o.Completed == s.ranks {
		fmt.Fprintf(out, "  completed after   %v\n", o.Time)
	} else {
		fmt.Fprintf(out, "  completed         %d ranks, the last after %v\n", o.Completed, o.Time)
	}
	if o.Aborted > 0 {
		fmt.Fprintf(out, "  the other survivors know of the failure after %v\n", o.Aborted)
	}
	if o.Stuck > 0 {
		fmt.Fprintf(out, "  %d survivors wait for ever; --detect says when a failure is noticed\n", o.Stuck)
	}
	fmt.Fprintf(out, "  bytes sent        %.0f, %.0f by a rank\n", o.Bytes, o.Bytes/float64(s.ranks))
	fmt.Fprintf(out, "  between hosts     %.0f\n", o.Between)
	if s.model.PerRack > 0 {
		fmt.Fprintf(out, "  between racks     %.0f\n", o.Uplinks)
	}
	if s.op == schedule.AllReduce && o.Time > 0 && o.Completed == s.ranks {
		rate := float64(s.size) / o.Time.Seconds() / 1e9
		fmt.Fprintf(out, "  rate              %.3g GB/s, bus bandwidth %.3g GB/s\n", rate, rate*2*float64(s.ranks-1)/float64(s.ranks))
	}
}

// operationOf finds an operation by its name, with or without hyphens.
func operationOf(name string) (schedule.Op, error) {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "-", "")) }
	for op := schedule.AllReduce; len(schedule.Algorithms(op)) > 0; op++ {
		if plain(op.String()) == plain(name) {
			return op, nil
		}
	}
	return 0, fmt.Errorf("%w: sim: no operation %q", errUsage, name)
}

// parseSim reads the arguments of tutti sim. Help goes to out.
func parseSim(args []string, out io.Writer) (*simulation, error) {
	s := &simulation{model: schedule.Model{
		Process: schedule.Link{Latency: time.Microsecond, Overhead: 2 * time.Microsecond, Work: 0.1},
		Host:    schedule.Link{Latency: 5 * time.Microsecond, Overhead: 5 * time.Microsecond, Work: 0.2},
		Network: schedule.Link{Overhead: 5 * time.Microsecond, Work: 0.1},
		Combine: 0.05, Copy: 0.05,
	}}
	f := flag.NewFlagSet("tutti sim", flag.ContinueOnError)
	f.SetOutput(out)
	f.Usage = func() {
		fmt.Fprintln(out, simUsage)
		f.PrintDefaults()
	}
	f.IntVar(&s.ranks, "ranks", 400, "members of the group")
	f.IntVar(&s.root, "root", 0, "rank of the root, for operations that have one")
	f.StringVar(&s.algorithm, "algorithm", "", "simulate this algorithm rather than the fastest")
	f.Func("size", "bytes of a rank's larger buffer, such as 8, 64KiB or 1MB (default 1MiB)", func(text string) (err error) {
		s.size, err = benchmark.ParseSize(text)
		return err
	})
	network := func(text string) error { return parseNet(text, &s.model.Network) }
	f.Func("net", "rate of a host's card, latency and, optionally, a processor's work for a message at each end: 25gbit,20us,5us (default 10gbit,40us,5us)", network)
	f.IntVar(&s.model.PerProcess, "per-process", 1, "ranks of a process")
	f.IntVar(&s.model.PerHost, "per-host", 1, "ranks of a host")
	f.IntVar(&s.model.PerRack, "per-rack", 0, "ranks of a rack; 0: there are no racks")
	f.Float64Var(&s.model.Oversubscription, "oversubscription", 1, "how many times less a rack's uplink carries than the cards of its hosts")
	f.IntVar(&s.model.Cores, "cores", 0, "processors of a host; 0: one for each rank")
	f.Float64Var(&s.model.Combine, "combine", s.model.Combine, "nanoseconds to combine a byte with another")
	f.Func("late", "rank=time: this rank begins so much later; may be repeated", durations(&s.faults.Late))
	f.Func("fail", "rank=time: this rank does nothing from then on; may be repeated", durations(&s.faults.Fail))
	f.Func("slow", "rank=factor: the work of this rank takes so many times longer; may be repeated", factors(&s.faults.Slow))
	f.DurationVar(&s.faults.Detect, "detect", 0, "how long after a failure some rank notices; 0: nobody does")
	s.size = 1 << 20
	if err := network("10gbit,40us,5us"); err != nil {
		return nil, err
	}
	name, rest := "", args
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, rest = args[0], args[1:]
	}
	if err := f.Parse(rest); err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	var err error
	if s.op, err = operationOf(name); err != nil {
		return nil, err
	}
	return s, s.validate(f.Args())
}

// validate checks what the flags could not.
func (s *simulation) validate(rest []string) error {
	const most = 1 << 20 // ranks
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%w: sim: what is %q?", errUsage, rest)
	case s.ranks < 1 || s.ranks > most:
		return fmt.Errorf("%w: sim: --ranks is %d, want 1 to %d", errUsage, s.ranks, most)
	case s.root < 0 || s.root >= s.ranks:
		return fmt.Errorf("%w: sim: --root is %d, want 0 to %d", errUsage, s.root, s.ranks-1)
	case s.algorithm != "" && schedule.Lookup(s.op, s.algorithm) == nil:
		var names []string
		for _, a := range schedule.Algorithms(s.op) {
			names = append(names, a.Name)
		}
		return fmt.Errorf("%w: sim: %v has no algorithm %q, only %s", errUsage, s.op, s.algorithm, strings.Join(names, ", "))
	}
	if err := s.model.Validate(); err != nil {
		return fmt.Errorf("%w: sim: %w", errUsage, err)
	}
	return nil
}
