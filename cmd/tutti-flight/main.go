// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Tutti-flight reads the records that the members of groups keep of what they did, and prints for each epoch of a group the first
// operation in which its members differ: in what they called, in whether they called it, or in how it ended.
//
//	tutti-flight [-v] DIRECTORY...
//
// The directories are those that TUTTI_FLIGHT named, or the run directory of a system that lives, from one machine or collected from
// several; files are found below them. With -v it prints the last operations of every member, too. It exits with 1 if members differ or
// a file cannot be read, and with 2 if it was called wrongly.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tutti-go/tutti/collective/flight"
)

func main() {
	differ, err := run(os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "tutti-flight:", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "tutti-flight:", err)
		os.Exit(1)
	case differ:
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: tutti-flight [-v] DIRECTORY, one or more")

// run prints what the records below the directories in args say, and reports whether members differ.
func run(args []string, out io.Writer) (differ bool, err error) {
	flags := flag.NewFlagSet("tutti-flight", flag.ContinueOnError)
	flags.SetOutput(out)
	verbose := flags.Bool("v", false, "print the last operations of every member")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return false, err
		}
		return false, fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() == 0 {
		return false, errUsage
	}
	logs, err := flight.ReadDir(flags.Args()...)
	if len(logs) == 0 {
		return false, errors.Join(err, errors.New("there are no records"))
	}
	for _, f := range flight.Analyze(logs) {
		differ = differ || f.Seq > 0
		fmt.Fprintln(out, f)
	}
	if *verbose {
		for _, l := range logs {
			history(out, l)
		}
	}
	return differ, err
}

// history prints what one member did last.
func history(out io.Writer, l *flight.Log) {
	fmt.Fprintf(out, "group %q epoch %d rank %d:\n", l.Group, l.Epoch, l.Rank)
	for _, e := range l.Entries {
		took := "not ended"
		if !e.Ended.IsZero() {
			took = e.Ended.Sub(e.Begun).Round(time.Microsecond).String()
		}
		fmt.Fprintf(out, "  %s  %6d  %-8v %10s  %s\n", e.Begun.Format("15:04:05.000000"), e.Seq, e.State, took, e.Text)
	}
}
