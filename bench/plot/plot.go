// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package plot

import (
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"strings"
)

// The picture, in pixels: a title and a legend above two panels that share the scale of their y axes.
const (
	width, height   = 1080, 500
	top, bottom     = 92, 440
	panelWidth      = 450
	leftOf, rightOf = 70, 590 // where the panels begin
)

// Curve is one line of a panel.
type Curve struct {
	Name   string
	Color  string // as in CSS
	Dashed bool
	Ys     []float64 // in milliseconds, one for each x; 0 if there is none
}

// Panel is one of the two diagrams.
type Panel struct {
	Title  string
	Curves []Curve
}

// Chart is two panels side by side, which share their axes.
type Chart struct {
	Title  string
	Axis   string    // what x is
	Xs     []float64 // where the points are
	Labels []string  // if there are any, one for each point: the axis is then logarithmic, and the first of Xs the least, above 0
	Panels [2]Panel
	Legend []Curve
}

// Write writes the chart as an SVG image.
func (c Chart) Write(w io.Writer) error {
	if c.Labels != nil {
		at := make([]float64, len(c.Labels))
		for i := range at {
			at[i] = math.Log10(c.Xs[i] / c.Xs[0])
		}
		c.Xs = at
	}
	d := &drawing{bounds: boundsOf(c), chart: c}
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12" fill="#222">`, width, height)
	d.printf(`<rect width="%d" height="%d" fill="#fff"/>`, width, height)
	d.text(leftOf, 28, `font-size="17" font-weight="600"`, c.Title)
	d.legend(c.Legend)
	for i, x := range []int{leftOf, rightOf} {
		d.frame(x, c.Panels[i])
		for _, curve := range c.Panels[i].Curves {
			d.curve(x, curve)
		}
	}
	d.printf("</svg>")
	_, err := io.WriteString(w, d.String())
	return err
}

// bounds are what the axes show.
type bounds struct {
	xMost       float64
	xStep       float64 // 0 where the points have labels
	from, until int     // powers of ten of a millisecond
}

func boundsOf(c Chart) bounds {
	b := bounds{from: math.MaxInt, until: math.MinInt}
	for _, x := range c.Xs {
		b.xMost = max(b.xMost, x)
	}
	if c.Labels == nil {
		b.xStep = step(b.xMost)
		b.xMost = math.Ceil(b.xMost/b.xStep) * b.xStep
	}
	if b.xMost <= 0 {
		b.xMost = 1
	}
	for _, p := range c.Panels {
		for _, curve := range p.Curves {
			for _, y := range curve.Ys {
				if y > 0 {
					exponent := math.Log10(max(y, 1e-3))
					b.from, b.until = min(b.from, int(math.Floor(exponent))), max(b.until, int(math.Ceil(exponent)))
				}
			}
		}
	}
	if b.from > b.until { // there is nothing to draw
		b.from, b.until = 0, 0
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

	chart Chart
}

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

func (d *drawing) text(x, y float64, attributes, s string) {
	d.printf(`<text x="%.1f" y="%.1f" %s>%s</text>`, x, y, attributes, html.EscapeString(s))
}

// at returns where a point of the panel that begins at left is.
func (d *drawing) at(left int, x, ms float64) (px, py float64) {
	share := (math.Log10(max(ms, 1e-3)) - float64(d.from)) / float64(d.until-d.from)
	return float64(left) + panelWidth*x/d.xMost, bottom - share*(bottom-top)
}

// frame draws the axes of a panel with their ticks.
func (d *drawing) frame(left int, p Panel) {
	right := left + panelWidth
	d.text(float64(left), top-10, `font-weight="600"`, p.Title)
	for e := d.from; e <= d.until; e++ {
		_, y := d.at(left, 0, math.Pow10(e))
		d.printf(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`, left, y, right, y)
		d.text(float64(left)-7, y+4, `text-anchor="end"`, duration(e))
		for k := 2; k < 10 && e < d.until; k++ {
			_, y := d.at(left, 0, float64(k)*math.Pow10(e))
			d.printf(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#f3f3f3"/>`, left, y, right, y)
		}
	}
	for i, x := range d.ticks() {
		px, _ := d.at(left, x, 1)
		d.printf(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#222"/>`, px, bottom, px, bottom+5)
		d.text(px, bottom+20, `text-anchor="middle"`, d.label(i, x))
	}
	d.printf(`<path d="M%d %dV%dH%d" fill="none" stroke="#222"/>`, left, top, bottom, right)
	d.text(float64(left)+panelWidth/2, bottom+42, `text-anchor="middle"`, d.chart.Axis)
}

// ticks are where the x axis has names: at the points that have one, else at round numbers.
func (d *drawing) ticks() []float64 {
	if d.chart.Labels != nil {
		return d.chart.Xs
	}
	var all []float64
	for i := 0; float64(i)*d.xStep <= d.xMost; i++ {
		all = append(all, float64(i)*d.xStep)
	}
	return all
}

// label names a tick of the x axis.
func (d *drawing) label(i int, x float64) string {
	if d.chart.Labels == nil {
		return count(x)
	}
	return d.chart.Labels[i]
}

// curve joins the points of a curve, each of which says what it stands for when it is pointed at.
func (d *drawing) curve(left int, c Curve) {
	dash := ""
	if c.Dashed {
		dash = ` stroke-dasharray="5 4"`
	}
	var points, marks strings.Builder
	for i, y := range c.Ys {
		if y <= 0 {
			continue
		}
		px, py := d.at(left, d.chart.Xs[i], y)
		fmt.Fprintf(&points, " %.1f,%.1f", px, py)
		fmt.Fprintf(&marks, `<circle cx="%.1f" cy="%.1f" r="2.6"><title>%s, %s: %.3f ms</title></circle>`,
			px, py, html.EscapeString(c.Name), html.EscapeString(d.label(i, d.chart.Xs[i])), y)
	}
	if points.Len() == 0 {
		return
	}
	d.printf(`<polyline points="%s" fill="none" stroke="%s" stroke-width="1.8"%s/>`, points.String()[1:], c.Color, dash)
	if !c.Dashed {
		d.printf(`<g fill="%s">%s</g>`, c.Color, marks.String())
	}
}

func (d *drawing) legend(curves []Curve) {
	x := float64(leftOf)
	for _, c := range curves {
		dash := ""
		if c.Dashed {
			dash = ` stroke-dasharray="5 4"`
		}
		d.printf(`<line x1="%.1f" y1="50" x2="%.1f" y2="50" stroke="%s" stroke-width="2.4"%s/>`, x, x+24, c.Color, dash)
		d.text(x+30, 54, "", c.Name)
		x += 56 + 6.4*float64(len(c.Name))
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
