// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/tutti-go/tutti/collective/flight"
)

// errDiffer is how flight ends when it has found what it looks for, so that scripts can tell.
var errDiffer = errors.New("members differ")

// flightRecords reads the records that the members of groups keep of what they did, and prints for each epoch of a group the first operation in
// which its members differ: in what they called, in whether they called it, or in how it ended. The directories in args are those that
// TUTTI_FLIGHT named, or the run directory of a system that lives, from one machine or collected from several; files are
// found below them. The error is errDiffer if members differ.
func flightRecords(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("tutti flight [-v] DIRECTORY...", flag.ContinueOnError)
	flags.SetOutput(out)
	verbose := flags.Bool("v", false, "print the last operations of every member")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() == 0 {
		return fmt.Errorf("%w: tutti flight [-v] DIRECTORY, one or more", errUsage)
	}
	logs, err := flight.ReadDir(flags.Args()...)
	if len(logs) == 0 {
		return errors.Join(err, errors.New("there are no records"))
	}
	for _, f := range flight.Analyze(logs) {
		if f.Seq > 0 && err == nil {
			err = errDiffer
		}
		fmt.Fprintln(out, f)
	}
	if *verbose {
		for _, l := range logs {
			history(out, l)
		}
	}
	return err
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
