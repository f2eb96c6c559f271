// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

// Floor measures the least that it takes one process to reach N others and to hear back from all of them, without actors, calls
// or encodings: a small message each way on a Unix socket for each process and, on Linux, one shared word, one futex wake for all
// and a shared countdown. What a batch call takes is to be read beside it.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// envChild tells a process of this program that it is one of the N, and of which kind.
const envChild = "TUTTI_FLOOR_CHILD"

// kind is one way of reaching others.
type kind struct {
	name string // as envChild has it
	what string

	// open starts n processes and returns what reaches them all once.
	open func(n int) (*others, error)
	// serve is the life of one of the processes, until its parent is gone.
	serve func() error
}

// others are n processes that answer.
type others struct {
	// round reaches all and returns when all have answered, with the time until all were reached.
	round func() (submit time.Duration, err error)
	// close ends the processes and waits for them.
	close func() error
}

func kinds() []kind {
	return append([]kind{{"socket", "64 bytes each way on a Unix socket", openSockets, serveSocket}}, sharedKinds()...)
}

func main() {
	serveChild()
	counts := flag.String("n", "8,64", "numbers of processes, with commas between")
	rounds := flag.Int("rounds", 200, "rounds, of which the median is shown")
	flag.Parse()
	if err := run(os.Stdout, *counts, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// serveChild ends the process if it was started as one of the N.
func serveChild() {
	name := os.Getenv(envChild)
	if name == "" {
		return
	}
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	for _, k := range kinds() {
		if k.name != name {
			continue
		}
		if err := k.serve(); err != nil {
			fmt.Fprintln(os.Stderr, "error:", name, err)
			os.Exit(1)
		}
	}
	os.Exit(0)
}

func run(out io.Writer, counts string, rounds int) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "processes\tall reached\tall answered\tp99\t  by")
	for count := range strings.SplitSeq(counts, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(count))
		if err != nil || n < 1 || rounds < 1 {
			return fmt.Errorf("%q processes and %d rounds: want at least 1", count, rounds)
		}
		for _, k := range kinds() {
			submits, trips, err := measure(k, n, rounds)
			if err != nil {
				return fmt.Errorf("%s, %d processes: %w", k.name, n, err)
			}
			fmt.Fprintf(w, "%d\t%v\t%v\t%v\t  %s\n", n, quantile(submits, 0.5), quantile(trips, 0.5), quantile(trips, 0.99), k.what)
		}
	}
	return w.Flush()
}

// measure reaches n processes so often, after a few times that do not count.
func measure(k kind, n, rounds int) (submits, trips []time.Duration, err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // garbage is no part of the floor
	o, err := k.open(n)
	if err != nil {
		return nil, nil, err
	}
	const warmUp = 5
	for i := range rounds + warmUp {
		began := time.Now()
		submit, err := o.round()
		if err != nil {
			return nil, nil, joinClose(err, o)
		}
		if i >= warmUp {
			submits, trips = append(submits, submit), append(trips, time.Since(began))
		}
	}
	return submits, trips, o.close()
}

func quantile(ds []time.Duration, q float64) time.Duration {
	slices.Sort(ds)
	return ds[min(int(q*float64(len(ds))), len(ds)-1)].Round(time.Microsecond)
}
