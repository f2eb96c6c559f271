// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// group is a set of columns of text under one heading.
type group struct {
	heading string
	columns []textColumn
}

type textColumn struct {
	heading string
	cell    func(line) string
}

// printTable prints a table as aligned text, and what it says about the aims.
func printTable(w io.Writer, t table, lines []line) error {
	rows := make([]string, 2+len(lines))
	for i, g := range groups(t) {
		for j, part := range g.block(lines) {
			if i > 0 {
				rows[j] += " | "
			}
			rows[j] += part
		}
	}
	for i := range rows {
		rows[i] = strings.TrimRight(rows[i], " ")
	}
	note := t.note
	if note != "" {
		note += "\n"
	}
	_, err := fmt.Fprintf(w, "\nTable %d: %s\n%s\n%s\n\n%s", t.number, t.title, note, strings.Join(rows, "\n"), verdict(t, lines))
	return err
}

// block returns the two lines of headings and one line for each of lines, all of them equally long.
func (g group) block(lines []line) []string {
	block := make([]string, 2+len(lines))
	block[0] = g.heading
	for i, c := range g.columns {
		cells := []string{c.heading}
		for _, l := range lines {
			cells = append(cells, c.cell(l))
		}
		width := longest(cells)
		for j, cell := range cells {
			if i > 0 {
				block[j+1] += "  "
			}
			block[j+1] += fmt.Sprintf("%*s", width, cell)
		}
	}
	width := longest(block)
	for i := range block {
		block[i] = fmt.Sprintf("%-*s", width, block[i])
	}
	return block
}

func longest(texts []string) int {
	most := 0
	for _, t := range texts {
		most = max(most, len(t))
	}
	return most
}

// headings are those of the columns, in their order.
func headings() [columns]string {
	return [columns]string{byValue: "value", byReference: "ref", byGRPC: "gRPC", byBatch: "batch"}
}

// groups returns the columns of the text. A gRPC call is submitted when it is answered, so that its submit is left out.
func groups(t table) []group {
	of := func(heading string, cell func(l line, i int) string, shown ...int) group {
		g := group{heading: heading}
		for _, i := range shown {
			if t.columns[i].call != nil {
				g.columns = append(g.columns, textColumn{headings()[i], func(l line) string { return cell(l, i) }})
			}
		}
		return g
	}
	cost := func(part measure) func(line, int) string {
		return func(l line, i int) string { return milliseconds(part(l.cells[i])) }
	}
	gain := func(part measure) func(line, int) string {
		return func(l line, i int) string { return times(l.gain(part, i)) }
	}
	return []group{
		{"", []textColumn{{t.axis, func(l line) string { return strconv.Itoa(l.x) }}}},
		of("submit, ms", cost(submit), byValue, byReference, byBatch),
		of("last answer, ms", cost(complete), byValue, byReference, byGRPC, byBatch),
		of("driver CPU, ms", cost(cpu), byValue, byReference, byGRPC, byBatch),
		of("submit: batch gains", gain(submit), byValue, byReference),
		of("last answer: gains", gain(complete), byValue, byReference, byGRPC),
		{"the proposal's, ms", []textColumn{
			{"foreach", func(l line) string { return strconv.FormatFloat(l.foreach, 'f', 3, 64) }},
			{"batch", func(l line) string { return strconv.FormatFloat(l.batch, 'f', 3, 64) }},
			{"ratio", func(l line) string { return strconv.FormatFloat(l.reduction, 'f', 1, 64) + "%" }},
			{"times", func(l line) string { return times(l.times()) }},
		}},
	}
}

// measure is one of the things that are measured.
type measure func(median) time.Duration

func submit(m median) time.Duration   { return m.Submit }
func complete(m median) time.Duration { return m.Complete }
func cpu(m median) time.Duration      { return m.CPU }

// gain says how many times less a batch takes than another way.
func (l line) gain(part measure, than int) float64 {
	return float64(part(l.cells[than])) / float64(max(part(l.cells[byBatch]), 1))
}

// leastOverReference is what the batch is to gain over a loop that passes a reference, at every point.
const leastOverReference = 3

// verdict says at how many points the batch gains what it is to gain, and where it is farthest from it.
func verdict(t table, lines []line) string {
	proposal := func(l line) float64 { return l.times() }
	text := aim(t, lines, byValue, "the proposal's gain", proposal)
	if t.base == byReference {
		text += aim(t, lines, byReference, "the proposal's gain", proposal)
	}
	if t.columns[byReference].call != nil {
		text += aim(t, lines, byReference, "3 times", func(line) float64 { return leastOverReference })
	}
	return text
}

func aim(t table, lines []line, than int, name string, need func(line) float64) string {
	share := func(l line) float64 { return l.gain(submit, than) / need(l) }
	met := 0
	for _, l := range lines {
		if share(l) >= 1 {
			met++
		}
	}
	worst := slices.MinFunc(lines, func(a, b line) int { return cmp.Compare(share(a), share(b)) })
	return fmt.Sprintf("Submit, gain over the column %s: %s or more at %d of %d points; at worst %s at %d %s, where the aim is %s.\n",
		headings()[than], name, met, len(lines), times(worst.gain(submit, than)), worst.x, t.axis, times(need(worst)))
}

// milliseconds has three digits or more, never an exponent.
func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms < 10:
		return strconv.FormatFloat(ms, 'f', 3, 64)
	case ms < 100:
		return strconv.FormatFloat(ms, 'f', 2, 64)
	}
	return strconv.FormatFloat(ms, 'f', 1, 64)
}

func times(x float64) string {
	if x < 100 {
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}

// writeCSV writes a table for programs: a column for each way and measure, in microseconds; what there is not is empty.
func writeCSV(w io.Writer, t table, lines []line) error {
	record := []string{"actors", "bytes"}
	for _, c := range t.columns {
		if c.call != nil {
			record = append(record, c.name+"_submit_us", c.name+"_complete_us", c.name+"_cpu_us", c.name+"_rounds")
		}
	}
	record = append(record, "proposal_foreach_ms", "proposal_batch_ms", "proposal_reduction_percent")
	out := csv.NewWriter(w)
	if err := out.Write(record); err != nil {
		return err
	}
	for _, l := range lines {
		record = []string{strconv.Itoa(l.actors), strconv.Itoa(l.size)}
		for i, c := range t.columns {
			if c.call == nil {
				continue
			}
			m := l.cells[i]
			record = append(record, microseconds(m.Submit), microseconds(m.Complete), microseconds(m.CPU), strconv.Itoa(m.rounds))
		}
		for _, v := range []float64{l.foreach, l.batch, l.reduction} {
			record = append(record, strconv.FormatFloat(v, 'f', -1, 64))
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func microseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Microsecond), 'f', 1, 64)
}
