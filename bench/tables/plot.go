// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/tutti-go/tutti/bench/plot"
)

// draw draws a table: the time to submit beside the proposal's own on the left, the time to the last answer on the right. The y axis
// is logarithmic, for the ways differ by orders of magnitude.
func draw(w io.Writer, t table, lines []line) error {
	// The colours are those of Okabe and Ito, which everybody can tell apart.
	look := [columns]plot.Curve{
		byValue: {Name: "loop by value", Color: "#d55e00"}, byReference: {Name: "loop over a reference", Color: "#e69f00"},
		byGRPC: {Name: "loop of gRPC calls", Color: "#56b4e9"}, byBatch: {Name: "batch call", Color: "#0072b2"},
	}
	pick := func(part measure, shown ...int) []plot.Curve {
		var picked []plot.Curve
		for _, i := range shown {
			if t.columns[i].call == nil {
				continue
			}
			c := look[i]
			for _, l := range lines {
				c.Ys = append(c.Ys, float64(part(l.cells[i]))/float64(time.Millisecond))
			}
			picked = append(picked, c)
		}
		return picked
	}
	foreach := plot.Curve{Name: "the proposal's loop", Color: "#999999", Dashed: true}
	batch := plot.Curve{Name: "the proposal's batch", Color: "#333333", Dashed: true}
	var xs []float64
	for _, l := range lines {
		xs = append(xs, float64(l.x))
		foreach.Ys, batch.Ys = append(foreach.Ys, l.foreach), append(batch.Ys, l.batch)
	}
	return plot.Chart{
		Title: fmt.Sprintf("Table %d: %s", t.number, t.title), Axis: t.axis, Xs: xs,
		Panels: [2]plot.Panel{
			{Title: "until everything is submitted", Curves: append(pick(submit, byValue, byReference, byBatch), foreach, batch)},
			{Title: "until the last answer", Curves: pick(complete, byValue, byReference, byGRPC, byBatch)},
		},
		Legend: append(pick(submit, byValue, byReference, byGRPC, byBatch), foreach, batch),
	}.Write(w)
}
