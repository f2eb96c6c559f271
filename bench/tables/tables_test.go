// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/bench/ways"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestMain(m *testing.M) { coretest.Main(m) }

func TestATinyGridIsMeasuredPrintedAndWritten(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	dir := filepath.Join(t.TempDir(), "results")
	var out, progress bytes.Buffer
	c := config{tables: "1,2,3,4", points: 1, actors: 50, out: dir}
	require.NoError(t, run(t.Context(), sys, c, &out, &progress))
	assert.Equal(t, 4, strings.Count(progress.String(), "point 1 of 1"))
	text, err := os.ReadFile(filepath.Join(dir, "tables.txt"))
	require.NoError(t, err)
	assert.Equal(t, out.String(), string(text))
	assert.Contains(t, out.String(), "Table 1: an argument of varying size, 50 actors\n")
	var records [][][]string
	for n := 1; n <= 4; n++ {
		name := filepath.Join(dir, fmt.Sprintf("tables-%d.", n))
		data, err := os.ReadFile(name + "csv")
		require.NoError(t, err)
		table, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		require.NoError(t, err)
		require.Len(t, table, 2)
		assert.Equal(t, "50", table[1][0])
		records = append(records, table)
		svg, err := os.ReadFile(name + "svg")
		require.NoError(t, err)
		requireDrawing(t, svg)
	}
	assert.NotContains(t, records[2][0], "loop-ref_submit_us", "without an argument there is nothing to refer to")
	assert.Equal(t, records[1][0][2], records[3][0][2])
	assert.Equal(t, records[1][1][2], records[3][1][2], "what two tables show is measured once")
}

// requireDrawing wants XML that draws only numbers.
func requireDrawing(t *testing.T, svg []byte) {
	t.Helper()
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok {
			for _, a := range e.Attr {
				require.NotRegexp(t, "NaN|Inf|!", a.Value)
			}
		}
	}
}

func TestTheGridIsTheProposals(t *testing.T) {
	for i, tab := range allTables() {
		assert.Equal(t, i+1, tab.number)
		assert.Len(t, tab.points, []int{20, 19, 19, 19}[i])
		for _, p := range tab.points {
			assert.InDelta(t, 100*(1-p.batch/p.foreach), p.reduction, 0.1, "table %d at %d: a slip of the pen", i+1, p.x)
		}
	}
}

func TestPointsAreChosenOverTheWholeGrid(t *testing.T) {
	xs := func(c config) []int {
		tables, err := c.choose()
		require.NoError(t, err)
		var xs []int
		for _, p := range tables[0].points {
			xs = append(xs, p.x)
		}
		return xs
	}
	assert.Equal(t, []int{50, 500, 950}, xs(config{tables: "2", points: 3}))
	assert.Equal(t, []int{50}, xs(config{tables: "3", points: 1}))
	assert.Equal(t, []int{50, 100, 150}, xs(config{tables: "4", actors: 199}))
	assert.Equal(t, []int{10, 7782650}, xs(config{tables: " 1", actors: 5, points: 2}))
	assert.Len(t, xs(config{tables: "1", points: 99}), 20)
	for _, c := range []config{{tables: ""}, {tables: "5"}, {tables: "1,x"}, {tables: "2", actors: 49}} {
		_, err := c.choose()
		require.Error(t, err, "%+v", c)
	}
}

func TestRoundsFollowTheFirst(t *testing.T) {
	rounds := func(first, others time.Duration) (median, int) {
		calls := 0
		m, err := repeat(func() (ways.Cost, error) {
			calls++
			if calls == 1 {
				return ways.Cost{Complete: first}, nil
			}
			return ways.Cost{Complete: others}, nil
		})
		require.NoError(t, err)
		return m, calls
	}
	m, calls := rounds(time.Millisecond, time.Microsecond)
	assert.Equal(t, maxRounds, m.rounds)
	assert.Equal(t, maxRounds+1, calls, "the first does not count")
	assert.Equal(t, time.Microsecond, m.Complete)
	m, _ = rounds(900*time.Millisecond, time.Millisecond)
	assert.Equal(t, minRounds, m.rounds)
	m, calls = rounds(2*time.Second, time.Second)
	assert.Equal(t, slowRounds, m.rounds)
	assert.Equal(t, slowRounds, calls, "the first counts where rounds are dear")
	broken := errors.New("broken")
	_, err := repeat(func() (ways.Cost, error) { return ways.Cost{}, broken })
	require.ErrorIs(t, err, broken)
}

func TestGainsAreComparedWithTheAims(t *testing.T) {
	tab := allTables()[0]
	l := func(x int, value, ref, batch time.Duration) line {
		l := line{point: point{published: published{x: x, foreach: 20, batch: 2}}}
		l.cells[byValue].Submit, l.cells[byReference].Submit, l.cells[byBatch].Submit = value, ref, batch
		return l
	}
	lines := []line{l(10, 9000, 3000, 1000), l(20, 30000, 2000, 1000)}
	assert.Equal(t, "Submit, gain over the column value: the proposal's gain or more at 1 of 2 points; "+
		"at worst 9.0 at 10 bytes, where the aim is 10.0.\n"+
		"Submit, gain over the column ref: 3 times or more at 1 of 2 points; "+
		"at worst 2.0 at 20 bytes, where the aim is 3.0.\n", verdict(tab, lines))
}

func TestNumbersAreReadable(t *testing.T) {
	for want, d := range map[string]time.Duration{"0.001": 1200, "9.999": 9999 * 1000, "12.35": 12345 * 1000, "1234.5": 1234500 * 1000} {
		assert.Equal(t, want, milliseconds(d))
	}
}
