// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// The picture, in pixels: a title and a legend above two panels that share the scale of their y axes.
const (
	width, height   = 1080, 500
	top, bottom     = 92, 440
	panelWidth      = 450
	leftOf, rightOf = 70, 590 // where the panels begin
)

// curve is one line of a panel.
type curve struct {
	name   string
	color  string
	dashed bool
	ys     []float64 // in milliseconds, one for each line of the table
}

// panel is one of the two diagrams.
type panel struct {
	x      int
	title  string
	curves []curve
}

// plot draws a table: the time to submit beside the proposal's own on the left, the time to the last answer on the right. The y axis
// is logarithmic, for the ways differ by orders of magnitude.
func plot(w io.Writer, t table, lines []line) error {
	// The colours are those of Okabe and Ito, which everybody can tell apart.
	look := [columns]curve{
		byValue: {name: "loop by value", color: "#d55e00"}, byReference: {name: "loop over a reference", color: "#e69f00"},
		byGRPC: {name: "loop of gRPC calls", color: "#56b4e9"}, byBatch: {name: "batch call", color: "#0072b2"},
	}
	pick := func(part measure, shown ...int) []curve {
		var picked []curve
		for _, i := range shown {
			if t.columns[i].call == nil {
				continue
			}
			c := look[i]
			for _, l := range lines {
				c.ys = append(c.ys, float64(part(l.cells[i]))/float64(time.Millisecond))
			}
			picked = append(picked, c)
		}
		return picked
	}
	foreach, batch := curve{name: "the proposal's loop", color: "#999999", dashed: true}, curve{name: "the proposal's batch", color: "#333333", dashed: true}
	for _, l := range lines {
		foreach.ys, batch.ys = append(foreach.ys, l.foreach), append(batch.ys, l.batch)
	}
	left := panel{leftOf, "until everything is submitted", append(pick(submit, byValue, byReference, byBatch), foreach, batch)}
	right := panel{rightOf, "until the last answer", pick(complete, byValue, byReference, byGRPC, byBatch)}

	d := &drawing{bounds: boundsOf(lines, left, right)}
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12" fill="#222">`, width, height)
	d.printf(`<rect width="%d" height="%d" fill="#fff"/>`, width, height)
	d.text(leftOf, 28, `font-size="17" font-weight="600"`, fmt.Sprintf("Table %d: %s", t.number, t.title))
	d.legend(append(pick(submit, byValue, byReference, byGRPC, byBatch), foreach, batch))
	for _, p := range []panel{left, right} {
		d.frame(p, t.axis)
		for _, c := range p.curves {
			d.curve(p, c, lines)
		}
	}
	d.printf("</svg>")
	_, err := io.WriteString(w, d.String())
	return err
}

// bounds are what the axes show.
type bounds struct {
	xMost       float64
	xStep       float64
	from, until int // powers of ten of a millisecond
}

func boundsOf(lines []line, panels ...panel) bounds {
	b := bounds{from: math.MaxInt, until: math.MinInt}
	for _, l := range lines {
		b.xMost = max(b.xMost, float64(l.x))
	}
	b.xStep = step(b.xMost)
	b.xMost = math.Ceil(b.xMost/b.xStep) * b.xStep
	for _, p := range panels {
		for _, c := range p.curves {
			for _, y := range c.ys {
				exponent := math.Log10(max(y, 1e-3))
				b.from, b.until = min(b.from, int(math.Floor(exponent))), max(b.until, int(math.Ceil(exponent)))
			}
		}
	}
	b.until = max(b.until, b.from+1)
	return b
}

// step returns the distance of about eight ticks, as a round number.
func step(most float64) float64 {
	raw := max(most, 1) / 8
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, f := range []float64{1, 2, 5} {
		if raw <= f*unit {
			return f * unit
		}
	}
	return 10 * unit
}

// drawing is an SVG image in the making.
type drawing struct {
	strings.Builder
	bounds
}

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

func (d *drawing) text(x, y float64, attributes, s string) {
	d.printf(`<text x="%.1f" y="%.1f" %s>%s</text>`, x, y, attributes, html.EscapeString(s))
}

func (d *drawing) at(p panel, x, ms float64) (px, py float64) {
	share := (math.Log10(max(ms, 1e-3)) - float64(d.from)) / float64(d.until-d.from)
	return float64(p.x) + panelWidth*x/d.xMost, bottom - share*(bottom-top)
}

// frame draws the axes of a panel with their ticks.
func (d *drawing) frame(p panel, axis string) {
	right := p.x + panelWidth
	d.text(float64(p.x), top-10, `font-weight="600"`, p.title)
	for e := d.from; e <= d.until; e++ {
		_, y := d.at(p, 0, math.Pow10(e))
		d.printf(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`, p.x, y, right, y)
		d.text(float64(p.x)-7, y+4, `text-anchor="end"`, duration(e))
		for k := 2; k < 10 && e < d.until; k++ {
			_, y := d.at(p, 0, float64(k)*math.Pow10(e))
			d.printf(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#f3f3f3"/>`, p.x, y, right, y)
		}
	}
	for x := 0.0; x <= d.xMost; x += d.xStep {
		px, _ := d.at(p, x, 1)
		d.printf(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#222"/>`, px, bottom, px, bottom+5)
		d.text(px, bottom+20, `text-anchor="middle"`, count(x))
	}
	d.printf(`<path d="M%d %dV%dH%d" fill="none" stroke="#222"/>`, p.x, top, bottom, right)
	d.text(float64(p.x)+panelWidth/2, bottom+42, `text-anchor="middle"`, axis)
}

// curve joins the points of a curve, each of which says what it stands for when it is pointed at.
func (d *drawing) curve(p panel, c curve, lines []line) {
	dash := ""
	if c.dashed {
		dash = ` stroke-dasharray="5 4"`
	}
	var points, marks strings.Builder
	for i, y := range c.ys {
		px, py := d.at(p, float64(lines[i].x), y)
		fmt.Fprintf(&points, " %.1f,%.1f", px, py)
		fmt.Fprintf(&marks, `<circle cx="%.1f" cy="%.1f" r="2.6"><title>%s, %d: %.3f ms</title></circle>`, px, py, c.name, lines[i].x, y)
	}
	d.printf(`<polyline points="%s" fill="none" stroke="%s" stroke-width="1.8"%s/>`, points.String()[1:], c.color, dash)
	if !c.dashed {
		d.printf(`<g fill="%s">%s</g>`, c.color, marks.String())
	}
}

func (d *drawing) legend(curves []curve) {
	x := float64(leftOf)
	for _, c := range curves {
		dash := ""
		if c.dashed {
			dash = ` stroke-dasharray="5 4"`
		}
		d.printf(`<line x1="%.1f" y1="50" x2="%.1f" y2="50" stroke="%s" stroke-width="2.4"%s/>`, x, x+24, c.color, dash)
		d.text(x+30, 54, "", c.name)
		x += 56 + 6.4*float64(len(c.name))
	}
}

// duration names a power of ten of a millisecond.
func duration(exponent int) string {
	if exponent < 0 {
		return strconv.FormatFloat(math.Pow10(exponent+3), 'f', -1, 64) + " µs"
	}
	if exponent < 3 {
		return strconv.FormatFloat(math.Pow10(exponent), 'f', -1, 64) + " ms"
	}
	return strconv.FormatFloat(math.Pow10(exponent-3), 'f', -1, 64) + " s"
}

// count names a number on the x axis.
func count(x float64) string {
	if x >= 1e6 {
		return strconv.FormatFloat(x/1e6, 'f', -1, 64) + " M"
	}
	return strconv.FormatFloat(x, 'f', -1, 64)
}
