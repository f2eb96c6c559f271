// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/tutti-go/tutti/bench/ways"
)

// What is slower than slow gets slowRounds rounds. What is not gets as many as fit into patience, but not fewer than
// minRounds and not more than maxRounds, and one before them that does not count.
const (
	slow       = time.Second
	slowRounds = 3
	patience   = 200 * time.Millisecond
	minRounds  = 5
	maxRounds  = 51
)

// median is what one way cost at one point.
type median struct {
	ways.Cost

	rounds int // 0 if the way is not there
}

// line is one line of a table.
type line struct {
	point

	cells [columns]median
}

// key names what was measured, so that it is measured once even if two tables show it.
type key struct {
	way          string
	actors, size int
}

// meter measures tables, one thing at a time.
type meter struct {
	fleet    *ways.Fleet
	known    map[key]median
	progress io.Writer
}

func (m *meter) measure(ctx context.Context, t table) ([]line, error) {
	var lines []line
	for i, p := range t.points {
		fmt.Fprintf(m.progress, "table %d, point %d of %d\n", t.number, i+1, len(t.points))
		l, err := m.point(ctx, t, p)
		if err != nil {
			return nil, fmt.Errorf("table %d, %d actors, %d bytes: %w", t.number, p.actors, p.size, err)
		}
		lines = append(lines, l)
	}
	return lines, nil
}

func (m *meter) point(ctx context.Context, t table, p point) (line, error) {
	l := line{point: p}
	fleet := m.fleet.Of(p.actors)
	arg, err := fleet.NewArgument(ctx, p.size)
	if err != nil {
		return line{}, err
	}
	defer arg.Release()
	for i, c := range t.columns {
		k := key{c.name, p.actors, p.size}
		known, ok := m.known[k]
		if !ok && c.call != nil {
			runtime.GC() // nobody pays for what others left
			known, err = repeat(func() (ways.Cost, error) { return c.call(fleet, ctx, arg) })
			if err != nil {
				return line{}, fmt.Errorf("%s: %w", c.name, err)
			}
			m.known[k] = known
		}
		l.cells[i] = known
	}
	return l, nil
}

// repeat calls once, and then as often as that lets it.
func repeat(call func() (ways.Cost, error)) (median, error) {
	first, err := call()
	if err != nil {
		return median{}, err
	}
	var costs []ways.Cost
	rounds := min(max(int(patience/first.Complete), minRounds), maxRounds)
	if first.Complete > slow {
		costs, rounds = append(costs, first), slowRounds
	}
	for len(costs) < rounds {
		c, err := call()
		if err != nil {
			return median{}, err
		}
		costs = append(costs, c)
	}
	of := func(part func(ways.Cost) time.Duration) time.Duration {
		ds := make([]time.Duration, len(costs))
		for i, c := range costs {
			ds[i] = part(c)
		}
		slices.Sort(ds)
		return (ds[(len(ds)-1)/2] + ds[len(ds)/2]) / 2
	}
	return median{ways.Cost{
		Submit:   of(func(c ways.Cost) time.Duration { return c.Submit }),
		Complete: of(func(c ways.Cost) time.Duration { return c.Complete }),
		CPU:      of(func(c ways.Cost) time.Duration { return c.CPU }),
	}, len(costs)}, nil
}
