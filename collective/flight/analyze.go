// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Finding is what the logs of one epoch of a group say together.
type Finding struct {
	Group   string
	Epoch   uint32
	Size    int
	Missing []int  // ranks without a log
	Seq     uint64 // first operation in which the members differ; 0 if they do not
	Last    uint64 // last operation that anybody has begun
	Views   []View // of operation Seq, or of Last
}

// View is how some ranks saw an operation.
type View struct {
	Ranks []int
	What  string // what they called, and how far it is
}

// Analyze puts the logs of each epoch together and finds the first operation in which its members differ: in what they called, in
// whether they have called it, or in how it ended. Operations that have left the ring of a rank count as done by it.
func Analyze(logs []*Log) []Finding {
	type epoch struct {
		id    uint64
		epoch uint32
	}
	groups := map[epoch][]*Log{}
	var order []epoch
	for _, l := range logs {
		k := epoch{l.ID, l.Epoch}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], l)
	}
	slices.SortFunc(order, func(a, b epoch) int { return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.epoch, b.epoch)) })
	var findings []Finding
	for _, k := range order {
		findings = append(findings, analyze(groups[k]))
	}
	return findings
}

func analyze(logs []*Log) Finding {
	slices.SortFunc(logs, func(a, b *Log) int { return a.Rank - b.Rank })
	f := Finding{Group: logs[0].Group, Epoch: logs[0].Epoch, Size: logs[0].Size}
	ops := make([]map[uint64]Entry, len(logs))
	oldest := make([]uint64, len(logs)) // that is in the ring
	for i, l := range logs {
		ops[i] = map[uint64]Entry{}
		for _, e := range l.Entries {
			if e.Seq > 0 {
				ops[i][e.Seq] = e
				f.Last = max(f.Last, e.Seq)
				if oldest[i] == 0 || e.Seq < oldest[i] {
					oldest[i] = e.Seq
				}
			}
		}
	}
	present := map[int]bool{}
	for _, l := range logs {
		present[l.Rank] = true
	}
	for r := range f.Size {
		if !present[r] {
			f.Missing = append(f.Missing, r)
		}
	}
	first := f.Last
	for _, o := range oldest {
		first = min(first, max(o, 1))
	}
	for seq := first; seq <= f.Last && seq > 0; seq++ {
		views := viewsOf(logs, ops, oldest, seq)
		if len(views) > 1 {
			f.Seq, f.Views = seq, views
			return f
		}
		f.Views = views
	}
	return f
}

// viewsOf groups the ranks by what they called and how far it is.
func viewsOf(logs []*Log, ops []map[uint64]Entry, oldest []uint64, seq uint64) []View {
	var views []View
	index := map[string]int{}
	waits := map[int][]int{} // by view
	for i, l := range logs {
		e, known := ops[i][seq]
		what := "has not called it"
		switch {
		case known:
			what = fmt.Sprintf("%s [%08x]: %v", e.Text, e.Hash, e.State)
		case seq < oldest[i]:
			continue // so long ago that it is not recorded any more
		}
		at, ok := index[what]
		if !ok {
			at = len(views)
			index[what] = at
			views = append(views, View{What: what})
		}
		views[at].Ranks = append(views[at].Ranks, l.Rank)
		if known && e.State != Done && e.Waits >= 0 {
			waits[at] = append(waits[at], e.Waits)
		}
	}
	for at, ranks := range waits {
		slices.Sort(ranks)
		views[at].What += ", waiting for " + rangesText(slices.Compact(ranks))
	}
	return views
}

// String describes the finding in some lines.
func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "group %q epoch %d, %d members: ", f.Group, f.Epoch, f.Size)
	switch {
	case f.Last == 0:
		b.WriteString("no operation was recorded")
	case f.Seq == 0:
		fmt.Fprintf(&b, "no difference up to operation %d", f.Last)
	default:
		fmt.Fprintf(&b, "the members differ first in operation %d (of %d)", f.Seq, f.Last)
	}
	for _, v := range f.Views {
		fmt.Fprintf(&b, "\n  %s: %s", rangesText(v.Ranks), v.What)
	}
	if len(f.Missing) > 0 {
		fmt.Fprintf(&b, "\n  %s: no record", rangesText(f.Missing))
	}
	return b.String()
}

// rangesText prints rising ranks, those that follow each other as a range.
func rangesText(ranks []int) string {
	var parts []string
	for i := 0; i < len(ranks); {
		j := i
		for j+1 < len(ranks) && ranks[j+1] == ranks[j]+1 {
			j++
		}
		if i == j {
			parts = append(parts, strconv.Itoa(ranks[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", ranks[i], ranks[j]))
		}
		i = j + 1
	}
	if len(ranks) == 1 {
		return "rank " + parts[0]
	}
	return "ranks " + strings.Join(parts, ",")
}
