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
)

// base is the library that others are compared with.
const base = "tutti-processes"

// report is what was measured.
type report struct {
	config

	heading string
	lines   []line
	notes   []string
}

func (r *report) note(progress io.Writer, format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")
	r.notes = append(r.notes, text)
	fmt.Fprintln(progress, text)
}

// head says what was measured on.
func (r *report) head(ctx context.Context) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	r.heading = fmt.Sprintf("# %s, %s, %d cores, Linux %s, %s, commit %s\n# collectives %s\n", time.Now().UTC().Format(time.DateOnly),
		runtime.GOARCH, runtime.NumCPU(), unix.ByteSliceToString(u.Release[:]), runtime.Version(), strings.TrimSpace(string(commit)),
		strings.Join(os.Args[1:], " "))
	return nil
}

// best returns the fastest algorithm of a library at a point.
func (r *report) best(library, operation string, bytes, members int, mode string) (line, bool) {
	var found line
	for _, l := range r.lines {
		if l.library == library && l.operation == operation && l.bytes == bytes && l.members == members && l.mode == mode &&
			(found.rounds == 0 || l.span < found.span) {
			found = l
		}
	}
	return found, found.rounds > 0
}

// sizesOf returns the sizes of an operation; a barrier has one, of no bytes.
func (r *report) sizesOf(operation string) []int {
	if operation == "barrier" {
		return []int{0}
	}
	return r.sizes
}

// table prints every point, side by side for all libraries.
func (r *report) table(w io.Writer) {
	fmt.Fprintln(w, "\nmin, avg and max are over members, of the mean over rounds of each one's own call; until last is the median over rounds from the\n"+
		"first begin to the last end, of which the bandwidths and the ratios are made: more than 1.00 is slower than "+base+".")
	for _, n := range r.members {
		for _, mode := range r.modes {
			for _, op := range r.operations {
				if op == "barrier" && mode != r.modes[0] {
					continue
				}
				fmt.Fprintf(w, "\n%s, %d members, %s buffers\n%10s  %-16s  %-16s %10s %10s %10s %13s %11s %11s %7s\n", op, n, mode,
					"bytes", "library", "algorithm", "min us", "avg us", "max us", "until last us", "algbw GB/s", "busbw GB/s", "ratio")
				for _, size := range r.sizesOf(op) {
					r.rows(w, op, size, n, mode)
				}
			}
		}
	}
}

// rows prints one line for each library that was measured at a point.
func (r *report) rows(w io.Writer, operation string, bytes, members int, mode string) {
	against, compared := r.best(base, operation, bytes, members, mode)
	for _, lib := range r.libraries {
		l, ok := r.best(lib, operation, bytes, members, mode)
		if !ok {
			continue
		}
		algorithm, bus := l.rate()
		ratio := ""
		if compared {
			ratio = fmt.Sprintf("%.2f", l.span/against.span)
		}
		fmt.Fprintf(w, "%10d  %-16s  %-16s %10.1f %10.1f %10.1f %13.1f %11.3f %11.3f %7s\n",
			bytes, lib, l.algorithm, l.least, l.mean, l.most, l.span, algorithm, bus, ratio)
	}
}

// rival is what the summary compares ours with: the best of some libraries.
type rival struct {
	name      string
	libraries []string
}

// summary prints how many times as long the others take as ours, on one page.
func (r *report) summary(w io.Writer) {
	for _, ours := range []string{base, "tutti-goroutines"} {
		for _, other := range []rival{{"gloo", []string{"gloo"}}, {"the best MPI", []string{"openmpi", "mpich"}}} {
			for _, n := range r.members {
				for _, mode := range r.modes {
					r.matrix(w, ours, other, n, mode)
				}
			}
		}
	}
}

func (r *report) matrix(w io.Writer, ours string, other rival, members int, mode string) {
	var rows bytes.Buffer
	cells := 0
	for _, op := range r.operations {
		fmt.Fprintf(&rows, "  %-15s", op)
		for _, size := range r.sizes {
			cell := ""
			if slices.Contains(r.sizesOf(op), size) || op == "barrier" && size == r.sizes[0] {
				at := size
				if op == "barrier" {
					at = 0
				}
				cell = r.ratio(ours, other, op, at, members, mode)
			}
			if cell != "" {
				cells++
			}
			fmt.Fprintf(&rows, " %9s", cell)
		}
		rows.WriteByte('\n')
	}
	if cells == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s over %s, %d members, %s buffers\n  %-15s", other.name, ours, members, mode, "bytes")
	for _, size := range r.sizes {
		fmt.Fprintf(w, " %9d", size)
	}
	fmt.Fprintf(w, "\n%s", rows.String())
}

// ratio is how many times as long the best of some libraries takes.
func (r *report) ratio(ours string, other rival, operation string, bytes, members int, mode string) string {
	own, ok := r.best(ours, operation, bytes, members, mode)
	if !ok {
		return ""
	}
	least := 0.0
	for _, lib := range other.libraries {
		if l, ok := r.best(lib, operation, bytes, members, mode); ok && (least == 0 || l.span < least) {
			least = l.span
		}
	}
	if least == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", least/own.span)
}

// write prints the report and writes its files.
func (r *report) write(out io.Writer) error {
	if err := os.MkdirAll(r.out, 0o750); err != nil {
		return err
	}
	var text, raw, csv bytes.Buffer
	text.WriteString(r.heading)
	for _, n := range r.notes {
		text.WriteString("# " + n + "\n")
	}
	r.table(&text)
	text.WriteString("\nHow many times as long the others take until the last member is done:\n")
	r.summary(&text)
	raw.WriteString(r.heading)
	csv.WriteString("library,algorithm,operation,bytes,mode,members,rounds,min_us,avg_us,max_us,until_last_us,algbw_gb_s,busbw_gb_s\n")
	for _, l := range r.lines {
		algorithm, bus := l.rate()
		fmt.Fprintln(&raw, l)
		fmt.Fprintf(&csv, "%s,%.4f,%.4f\n", l, algorithm, bus)
	}
	errs := []error{r.save("collectives.txt", text.Bytes()), r.save("collectives-raw.txt", raw.Bytes()), r.save("collectives.csv", csv.Bytes())}
	for _, n := range r.members {
		var svg bytes.Buffer
		errs = append(errs, r.draw(&svg, n), r.save(fmt.Sprintf("collectives-%d.svg", n), svg.Bytes()))
	}
	_, err := text.WriteTo(out)
	return errors.Join(append(errs, err)...)
}

func (r *report) save(name string, text []byte) error {
	return os.WriteFile(filepath.Join(r.out, name), text, 0o600)
}

// draw draws two operations for some members.
func (r *report) draw(w io.Writer, members int) error {
	colors := map[string]string{base: "#0072b2", "tutti-goroutines": "#56b4e9", "openmpi": "#d55e00", "mpich": "#e69f00", "gloo": "#999999"}
	mode := r.modes[0]
	panel := func(operation string) plot.Panel {
		p := plot.Panel{Title: operation + ", until the last member is done"}
		for _, lib := range r.libraries {
			c := plot.Curve{Name: lib, Color: colors[lib]}
			for _, size := range r.sizes {
				l, _ := r.best(lib, operation, size, members, mode)
				c.Ys = append(c.Ys, l.span/1e3)
			}
			p.Curves = append(p.Curves, c)
		}
		return p
	}
	c := plot.Chart{
		Title: fmt.Sprintf("%d members on one machine, %s buffers", members, mode), Axis: "bytes",
		Panels: [2]plot.Panel{panel("allreduce"), panel("broadcast")},
	}
	for _, size := range r.sizes {
		c.Labels = append(c.Labels, bytesText(size))
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
