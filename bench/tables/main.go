// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Tables measures Tables 1 to 4 of the proposal, on its own grid: a batch call beside a loop that passes the value, a loop
// that passes a reference to a value put once, and a loop of plain gRPC calls. It prints them with the proposal's own figures, and
// writes them as text, as CSV and as plots.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tutti-go/tutti/bench/ways"
	"github.com/tutti-go/tutti/core"
)

// config is what the flags say.
type config struct {
	tables string // numbers of tables, with commas between
	points int    // how many points of each table, spread over its grid; 0 for all
	actors int    // leaves out points with more actors; 0 for none
	out    string // directory of the files
}

func main() {
	core.ServeNode()
	var c config
	flag.StringVar(&c.tables, "tables", "1,2,3,4", "tables to measure")
	flag.IntVar(&c.points, "points", 0, "points of each table, spread over its grid; 0 measures all")
	flag.IntVar(&c.actors, "actors", 0, "use at most so many actors, which leaves out or changes points; 0 for the proposal's")
	flag.StringVar(&c.out, "out", "bench/results", "directory for tables.txt, tables-N.csv and tables-N.svg")
	nodes := flag.Int("nodes", 8, "node processes")
	flag.Parse()
	core.Main(func(ctx context.Context, sys *core.System) error { return run(ctx, sys, c, os.Stdout, os.Stderr) }, core.LocalNodes(*nodes))
}

// run measures the tables that c asks for and writes them to the directory, the text to out as well, and what it is doing to progress.
func run(ctx context.Context, sys *core.System, c config, out, progress io.Writer) (err error) {
	began := time.Now()
	tables, err := c.choose()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.out, 0o750); err != nil {
		return err
	}
	var text bytes.Buffer
	both := io.MultiWriter(out, &text)
	if err := printHead(ctx, both, len(sys.Nodes())); err != nil {
		return err
	}
	fleet, err := ways.NewFleet(ctx, sys, mostActors(tables))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	m := &meter{fleet: fleet, known: map[key]median{}, progress: progress}
	for _, t := range tables {
		lines, err := m.measure(ctx, t)
		if err != nil {
			return err
		}
		if err := c.write(both, t, lines); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(both, "\nmeasured in %v\n", time.Since(began).Round(time.Second)); err != nil {
		return err
	}
	return c.save("tables.txt", func(w io.Writer) error { _, err := text.WriteTo(w); return err })
}

// write prints one table and writes its files.
func (c config) write(out io.Writer, t table, lines []line) error {
	name := fmt.Sprintf("tables-%d.", t.number)
	return errors.Join(
		printTable(out, t, lines),
		c.save(name+"csv", func(w io.Writer) error { return writeCSV(w, t, lines) }),
		c.save(name+"svg", func(w io.Writer) error { return draw(w, t, lines) }),
	)
}

func (c config) save(name string, fill func(io.Writer) error) error {
	f, err := os.Create(filepath.Join(c.out, name))
	if err != nil {
		return err
	}
	return errors.Join(fill(f), f.Close())
}

// choose returns the tables to measure, each with the points to measure.
func (c config) choose() ([]table, error) {
	var chosen []table
	for number := range strings.SplitSeq(c.tables, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(number))
		all := allTables()
		if err != nil || n < 1 || n > len(all) {
			return nil, fmt.Errorf("table %q: want a number from 1 to %d", number, len(all))
		}
		t := all[n-1].limit(c.actors)
		t.points = thin(t.points, c.points)
		if len(t.points) == 0 {
			return nil, fmt.Errorf("table %d: no point has at most %d actors", n, c.actors)
		}
		chosen = append(chosen, t)
	}
	return chosen, nil
}

// limit keeps the points that have at most so many actors, or lowers the number where it is the same at all points; 0 keeps all.
func (t table) limit(actors int) table {
	switch {
	case actors == 0:
	case t.axis == "bytes":
		fewer := min(fixedActors, actors)
		t.title = strings.Replace(t.title, strconv.Itoa(fixedActors), strconv.Itoa(fewer), 1)
		for i := range t.points {
			t.points[i].actors = fewer
		}
	default:
		t.points = slices.DeleteFunc(t.points, func(p point) bool { return p.actors > actors })
	}
	return t
}

// thin keeps n of the points, with the first and the last of them; 0 keeps all.
func thin(points []point, n int) []point {
	if n == 0 || n >= len(points) {
		return points
	}
	if n == 1 {
		return points[:1]
	}
	var kept []point
	for i := range n {
		kept = append(kept, points[i*(len(points)-1)/(n-1)])
	}
	return kept
}

func mostActors(tables []table) int {
	most := 0
	for _, t := range tables {
		most = max(most, slices.MaxFunc(t.points, func(a, b point) int { return a.actors - b.actors }).actors)
	}
	return most
}
