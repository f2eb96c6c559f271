// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// envChild names the way of a process that this program starts.
const envChild = "TUTTI_BENCH_LANES"

// child is one process: it is told a number of rounds in a line, and answers with the nanoseconds of each.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// fleet is the processes of one way.
type fleet struct{ children []*child }

// start starts a process with arguments.
func (f *fleet) start(ctx context.Context, kind string, env []string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(append(os.Environ(), envChild+"="+kind), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c := &child{cmd, in, bufio.NewReader(out)}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	f.children = append(f.children, c)
	return c, nil
}

func (c *child) line() (string, error) {
	text, err := c.out.ReadString('\n')
	return strings.TrimSpace(text), err
}

// measure makes all do some rounds together. The time of a round is that of the process that took longest.
func (f *fleet) measure(rounds int) ([]time.Duration, error) {
	for _, c := range f.children {
		if _, err := fmt.Fprintln(c.in, rounds); err != nil {
			return nil, err
		}
	}
	times := make([]time.Duration, rounds)
	for _, c := range f.children {
		text, err := c.line()
		if err != nil {
			return nil, err
		}
		words := strings.Fields(text)
		if len(words) != rounds {
			return nil, fmt.Errorf("an answer of %d times, want %d: %q", len(words), rounds, text)
		}
		for i, word := range words {
			ns, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				return nil, err
			}
			times[i] = max(times[i], time.Duration(ns))
		}
	}
	return times, nil
}

// close lets the processes end and waits for them.
func (f *fleet) close() error {
	var errs []error
	for _, c := range f.children {
		_ = c.in.Close() // it may have died, as Wait says
	}
	for _, c := range f.children {
		errs = append(errs, c.cmd.Wait())
	}
	return errors.Join(errs...)
}

// answer does rounds for whoever asks for them, until nobody does.
func answer(in io.Reader, out io.Writer, round func() error) error {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			return err
		}
		words := make([]string, n)
		for i := range words {
			began := time.Now()
			if err := round(); err != nil {
				return err
			}
			words[i] = strconv.FormatInt(time.Since(began).Nanoseconds(), 10)
		}
		if _, err := fmt.Fprintln(out, strings.Join(words, " ")); err != nil {
			return err
		}
	}
	return nil
}

// numbersOf reads arguments that are numbers.
func numbersOf(args []string) ([]int, error) {
	numbers := make([]int, len(args))
	for i, arg := range args {
		n, err := strconv.Atoi(arg)
		if err != nil {
			return nil, err
		}
		numbers[i] = n
	}
	return numbers, nil
}

// serve is the part of a child.
func serve(kind string, args []string, in io.Reader, out io.Writer) error {
	if kind == kindMember {
		return serveMember(args, in, out)
	}
	return serveBare(kind, args, in, out)
}
