// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Tutti is the command of the library: tutti help lists what it does.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

// command is one subcommand.
type command struct {
	name string
	what string // for the list
	run  func(args []string, out io.Writer) error
}

func commands() []command {
	return []command{
		{"bench", "measure collective operations on this machine, or on the hosts of a cluster", bench},
		{"flight", "find the first operation in which the members of a group differ, in the records that they keep", flightRecords},
		{"sim", "predict what a collective operation takes on a cluster that you may not have", sim},
		{"version", "print the version of this command and of Go", version},
	}
}

// errUsage is matched by errors about how the command was called.
var errUsage = errors.New("usage")

func main() {
	switch err := dispatch(os.Args[1:], os.Stdout); {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "tutti:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "tutti:", err)
		os.Exit(1)
	}
}

// dispatch runs the subcommand that args begin with.
func dispatch(args []string, out io.Writer) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprintln(out, "Usage: tutti COMMAND [ARGUMENTS]")
		for _, c := range commands() {
			fmt.Fprintf(out, "  %-9s %s\n", c.name, c.what)
		}
		fmt.Fprintln(out, "tutti COMMAND -h lists the arguments of one.")
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(args[1:], out)
		}
	}
	return fmt.Errorf("%w: no command %q; tutti help lists them", errUsage, args[0])
}

// version prints what this binary was built of.
func version(args []string, out io.Writer) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: version takes no arguments", errUsage)
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("this binary does not tell its version")
	}
	fmt.Fprintf(out, "tutti %s, %s\n", info.Main.Version, info.GoVersion)
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" || s.Key == "vcs.time" || s.Key == "vcs.modified" {
			fmt.Fprintf(out, "%s %s\n", s.Key, s.Value)
		}
	}
	return nil
}
