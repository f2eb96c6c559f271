// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Lanes measures an all-reduce between hosts beside bare socket programs that move the same bytes both ways. All processes run on this
// machine, and what they send goes over loopback TCP: ours believe that they are on hosts of their own.
//
//	go run ./bench/lanes                                    # two members on two hosts, 16 MiB
//	go run ./bench/lanes -members 8 -hosts 2                # two hosts of four members, by hosts and by messages
//	go run ./bench/lanes -members 8 -op broadcast           # another operation
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// config is what the flags say.
type config struct {
	bytes   int
	rounds  int // in each turn
	turns   int // of each way, one after the other
	members int
	hosts   int
	streams []int
	only    string
	op      string
}

// way is one way to move the bytes, with processes of its own that wait between its turns.
type way struct {
	name  string
	ours  bool
	small bool // a bare program with a small buffer to send from
	fleet *fleet
	times []time.Duration
}

func main() {
	if kind := os.Getenv(envChild); kind != "" {
		if err := serve(kind, os.Args[1:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, kind, err)
			os.Exit(1)
		}
		return
	}
	var c config
	streams := ""
	flag.IntVar(&c.bytes, "bytes", 16<<20, "bytes of a member's buffer")
	flag.IntVar(&c.rounds, "rounds", 10, "all-reduces in a turn")
	flag.IntVar(&c.turns, "turns", 10, "turns of each way, in rotation")
	flag.IntVar(&c.members, "members", 2, "members of ours, a process each")
	flag.IntVar(&c.hosts, "hosts", 2, "hosts on which they believe to be")
	flag.StringVar(&streams, "streams", "1,2,4", "numbers of connections of the bare programs")
	flag.StringVar(&c.only, "only", "", "bare or tutti; empty: both")
	flag.StringVar(&c.op, "op", "all-reduce", "what members do: "+strings.Join(slices.Sorted(maps.Keys(operations())), ", "))
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := c.parse(streams)
	if err == nil {
		err = c.run(ctx, os.Stdout)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lanes:", err)
		os.Exit(1)
	}
}

func (c *config) parse(streams string) error {
	for part := range strings.SplitSeq(streams, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 || n > maxStreams {
			return fmt.Errorf("-streams: %q: want numbers from 1 to %d with commas between", streams, maxStreams)
		}
		c.streams = append(c.streams, n)
	}
	switch {
	case c.bytes < 64 || c.bytes%64 != 0:
		return fmt.Errorf("-bytes: %d: want a multiple of 64", c.bytes)
	case c.rounds < 1 || c.turns < 1:
		return errors.New("-rounds and -turns: want 1 or more")
	case c.hosts < 1 || c.members < c.hosts || c.members%c.hosts != 0:
		return fmt.Errorf("-members: %d: want a multiple of the %d hosts", c.members, c.hosts)
	case operations()[c.op] == nil:
		return fmt.Errorf("-op: there is no %q", c.op)
	case c.only != "" && c.only != "bare" && c.only != "tutti":
		return fmt.Errorf("-only: %q: want bare or tutti", c.only)
	}
	return nil
}

// run measures the ways in rotation, so that all see the same machine.
func (c *config) run(ctx context.Context, out io.Writer) (err error) {
	var ways []*way
	defer func() {
		for _, w := range ways {
			err = errors.Join(err, w.fleet.close())
		}
	}()
	if c.only != "tutti" && c.members == 2 && c.op == "all-reduce" {
		for _, w := range c.bare() {
			if w.fleet, err = startBare(ctx, w.kind, w.streams, c.bytes, w.buffer); err != nil {
				return err
			}
			ways = append(ways, &w.way)
		}
	}
	var ours *way
	if c.only != "bare" {
		if ours, err = c.start(ctx, false); err != nil {
			return err
		}
		ways = append(ways, ours)
		if c.members > c.hosts {
			flat, err := c.start(ctx, true)
			if err != nil {
				return err
			}
			ways = append(ways, flat)
		}
	}
	for turn := range c.turns + 1 {
		for _, w := range ways {
			times, err := w.fleet.measure(c.rounds)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			if turn > 0 { // the first warms up
				w.times = append(w.times, times...)
			}
		}
	}
	return c.report(out, ways, ours)
}

// bareWay is one of the bare programs.
type bareWay struct {
	way

	kind            string
	streams, buffer int
}

// bare are the bare programs, which are not started. Each runs with the send buffers that the system finds right, and with small ones.
func (c *config) bare() []*bareWay {
	var all []*bareWay
	for _, buffer := range []int{0, smallBuffer} {
		for _, kind := range []string{kindNet, kindVector, kindTurns} {
			for _, n := range c.streams {
				w := &bareWay{kind: kind, streams: n, buffer: buffer}
				w.name = fmt.Sprintf("bare, %s, %d streams", kind, n)
				if w.small = buffer > 0; w.small {
					w.name = fmt.Sprintf("%s, %d KiB to send", w.name, buffer>>10)
				}
				all = append(all, w)
			}
		}
	}
	return all
}

// start starts members of ours.
func (c *config) start(ctx context.Context, flat bool) (*way, error) {
	f, err := startMembers(ctx, c.members, c.hosts, c.bytes, c.op, flat)
	if err != nil {
		return nil, err
	}
	w := &way{name: fmt.Sprintf("tutti, %d members on %d hosts", c.members, c.hosts), fleet: f, ours: true}
	if flat {
		w.name += ", by messages"
	}
	return w, nil
}

func (w *way) median() time.Duration { return w.times[len(w.times)/2] }

func (c *config) report(out io.Writer, ways []*way, ours *way) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "# %s of %d bytes (float32, sum), %d rounds; the bare programs send as many bytes, and receive as many at the same time\n", c.op, c.bytes, c.turns*c.rounds)
	fmt.Fprintln(t, "way\tmedian\tbest\tworst tenth\tGB/s, each way\t")
	var best, bestSmall *way
	for _, w := range ways {
		slices.Sort(w.times)
		to := &best
		if w.small {
			to = &bestSmall
		}
		if !w.ours && (*to == nil || w.median() < (*to).median()) {
			*to = w
		}
		fmt.Fprintf(t, "%s\t%.2f ms\t%.2f ms\t%.2f ms\t%.2f\t\n", w.name, ms(w.median()), ms(w.times[0]), ms(w.times[len(w.times)*9/10]),
			float64(c.bytes)/float64(w.median()))
	}
	if err := t.Flush(); err != nil || ours == nil || best == nil {
		return err
	}
	for _, w := range []*way{best, bestSmall} {
		if _, err := fmt.Fprintf(out, "rate of tutti over that of the best (%s): %.2f\n", w.name, float64(w.median())/float64(ours.median())); err != nil {
			return err
		}
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
