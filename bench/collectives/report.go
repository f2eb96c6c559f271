// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tutti-go/tutti/bench/plot"
	"github.com/tutti-go/tutti/collective/benchmark"
)

// base is the library that others are compared with.
const base = "tutti-processes"

// report is what was measured with one number of members.
type report struct {
	config

	heading string
	count   int // of members
	results []benchmark.Result
	notes   []string
	starts  []string // how long each library took until all its members had met
}

// note keeps one line, and shows it at once. What is said in every turn is kept once.
func (r *report) note(progress io.Writer, format string, args ...any) {
	text := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
	if !slices.Contains(r.notes, text) {
		r.notes = append(r.notes, text)
	}
	fmt.Fprintln(progress, text)
}

// head says what is measured on.
func head(ctx context.Context) (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	return fmt.Sprintf("# %s, %s, %d cores, Linux %s, %s, commit %s\n# collectives %s\n", time.Now().UTC().Format(time.DateOnly),
		runtime.GOARCH, runtime.NumCPU(), unix.ByteSliceToString(u.Release[:]), runtime.Version(), strings.TrimSpace(string(commit)),
		strings.Join(os.Args[1:], " ")), nil
}

// run measures one library, and notes in one line each what it was not measured at, and why.
func (r *report) run(ctx context.Context, lib contender, dir string, progress io.Writer) {
	name := fmt.Sprintf("%s, %d members", lib.name, r.count)
	all := r.choice.Points()
	p := benchmark.Plan{Points: r.fitting(all, r.count), Seconds: r.seconds, Least: r.rounds, Limit: r.limit, Memory: r.memory}
	if len(p.Points) < len(all) {
		r.note(progress, "%s: their buffers would take more than %d MiB: %s", name, r.memory>>20, missing(all, p.Points))
	}
	var why string
	if p.Points, why = restrain(lib, p.Points, r.count); why != "" {
		p.Least = 1
		r.note(progress, "%s: %s", name, why)
	}
	if len(p.Points) == 0 {
		return
	}
	patience := r.start
	if patience == 0 {
		patience = startTime(r.count)
	}
	start := time.Now()
	o, err := lib.run(ctx, dir, r.count, p, patience)
	if o.start > 0 {
		r.starts = append(r.starts, fmt.Sprintf("%s %.2f s", lib.name, o.start.Seconds()))
	}
	var done, late []benchmark.Point
	for _, at := range o.results {
		if at.Rounds == 0 {
			late = append(late, at.Point)
			continue
		}
		done = append(done, at.Point)
		r.results = append(r.results, at)
	}
	fmt.Fprintf(progress, "%s: %d results in %v, of which %v until all had started\n", name, len(done),
		time.Since(start).Round(time.Millisecond), o.start.Round(time.Millisecond))
	if names := missing(late, done); names != "" { // of a point that it has several algorithms for, some may be there
		r.note(progress, "%s: left out, for %v were over: %s", name, r.limit, names)
	}
	if err != nil {
		r.note(progress, "%s: ended after %d results: %v", name, len(done), err)
	}
}

// missing names those of all points that are not among some, by operation.
func missing(all, some []benchmark.Point) string {
	var names []string
	sizes := map[string][]string{}
	for _, p := range all {
		if slices.Contains(some, p) {
			continue
		}
		if sizes[p.Operation] == nil {
			names = append(names, p.Operation)
		}
		text := bytesText(p.Bytes)
		if p.Fresh {
			text += " fresh"
		}
		if !slices.Contains(sizes[p.Operation], text) {
			sizes[p.Operation] = append(sizes[p.Operation], text)
		}
	}
	for i, op := range names {
		if op != "barrier" {
			names[i] += " of " + strings.Join(sizes[op], ", ")
		}
	}
	return strings.Join(names, "; ")
}

// write prints the report and writes its files.
func (r *report) write(out io.Writer) error {
	if err := os.MkdirAll(r.out, 0o750); err != nil {
		return err
	}
	var text, csv bytes.Buffer
	text.WriteString(r.heading)
	for _, n := range r.notes {
		text.WriteString("# " + n + "\n")
	}
	if len(r.starts) > 0 {
		text.WriteString("# until all members had started and met: " + strings.Join(r.starts, ", ") + "\n")
	}
	r.table(&text)
	text.WriteString("\nHow many times as long the others take until the last member is done:\n")
	r.summary(&text)
	csv.WriteString("library,algorithm,operation,bytes,buffers,members,rounds,min_us,avg_us,max_us,until_last_us,algbw_gb_s,busbw_gb_s\n")
	for _, l := range r.results {
		algorithm, bus := l.Rate()
		fmt.Fprintf(&csv, "%s,%.4f,%.4f\n", l, algorithm, bus)
	}
	errs := []error{r.save(".txt", text.Bytes()), r.save(".csv", csv.Bytes())}
	for _, op := range r.choice.Operations {
		if op == "barrier" {
			continue
		}
		var svg bytes.Buffer
		errs = append(errs, r.draw(&svg, op), r.save("-"+op+".svg", svg.Bytes()))
	}
	_, err := text.WriteTo(out)
	return errors.Join(append(errs, err)...)
}

func (r *report) save(name string, text []byte) error {
	return os.WriteFile(filepath.Join(r.out, fmt.Sprintf("collectives-%d%s", r.count, name)), text, 0o600)
}

// draw draws what an operation takes, with the buffers that were chosen side by side.
func (r *report) draw(w io.Writer, operation string) error {
	colors := map[string]string{
		base: "#0072b2", "tutti-shared": "#009e73", "tutti-goroutines": "#56b4e9", "openmpi": "#d55e00", "mpich": "#e69f00", "gloo": "#999999",
	}
	c := plot.Chart{Title: fmt.Sprintf("%s, %d members on one machine", operation, r.count), Axis: "bytes"}
	for _, size := range r.choice.Sizes {
		c.Xs, c.Labels = append(c.Xs, float64(size)), append(c.Labels, bytesText(size))
	}
	for i, buffers := range r.choice.Buffers {
		c.Panels[i].Title = buffers + " buffers, until the last member is done"
		for _, lib := range r.libraries {
			curve := plot.Curve{Name: lib, Color: colors[lib]}
			for _, size := range r.choice.Sizes {
				l, _ := r.best(lib, point(operation, size, buffers))
				curve.Ys = append(curve.Ys, l.UntilLast/1e3)
			}
			c.Panels[i].Curves = append(c.Panels[i].Curves, curve)
		}
	}
	c.Legend = c.Panels[0].Curves
	return c.Write(w)
}

// bytesText names a size.
func bytesText(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d B", n)
	}
}
