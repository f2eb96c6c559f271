// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package benchmark

import (
	"context"
	"errors"
	"flag"
	"io"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestMain(m *testing.M) { coretest.Main(m) }

// Every member checks its data at every point, so that a result means that it was right.
func TestEveryOperationIsMeasured(t *testing.T) {
	private := Choice{Operations: Operations(), Sizes: []int{4, 4096}, Buffers: []string{"reused", "fresh"}}
	shared := private
	shared.Shared = true
	points := append(private.Points(), shared.Points()...)
	require.Len(t, points, 12*4+1+10*4)
	for name, nodes := range map[string][]core.Option{
		"processes":  {core.LocalNodes(3)},
		"goroutines": {core.InProcess(1)},
		"hosts":      {core.InProcess(3), core.SimulatedHosts(2)},
	} {
		t.Run(name, func(t *testing.T) {
			sys := coretest.Start(t, nodes...)
			var got []Point
			require.NoError(t, Measure(t.Context(), sys, name, 3, Plan{Points: points}, func(r Result) error {
				got = append(got, r.Point)
				assert.Equal(t, Result{r.Point, name, "default", 3, 2, "", r.Min, r.Avg, r.Max, r.UntilLast}, r)
				assert.LessOrEqual(t, r.Min, r.Avg)
				assert.LessOrEqual(t, r.Avg, r.Max)
				assert.Positive(t, r.UntilLast)
				return nil
			}))
			assert.Equal(t, points, got)
			for _, node := range sys.Nodes() {
				assert.Zero(t, node.Actors, "members must end with the measurement")
			}
		})
	}
}

func TestPointsWhoseTimeIsUpAreReportedWithoutRounds(t *testing.T) {
	sys := coretest.Start(t)
	points := Choice{Operations: []string{barrier, allReduce}, Sizes: []int{4, 8, 12}, Buffers: []string{"reused"}}.Points()
	var rounds []int
	require.NoError(t, Measure(t.Context(), sys, "x", 2, Plan{Points: points, Limit: 1}, func(r Result) error {
		rounds = append(rounds, r.Rounds)
		assert.Equal(t, "1ns were over", r.LeftOut)
		return nil
	}))
	assert.Equal(t, []int{0, 0, 0, 0}, rounds)
	p := Plan{Points: points, Limit: 4 * time.Second}
	assert.Equal(t, time.Second, p.deadline(0))
	assert.Equal(t, 4*time.Second, p.deadline(1), "an operation's points share their time")
}

func TestLongPointsArePredictedByTheirBytes(t *testing.T) {
	assert.Zero(t, span{}.of(4))
	assert.Equal(t, 2*time.Second, span{4, time.Second}.of(1<<20))
	assert.Equal(t, 32*time.Second, span{1 << 20, time.Second}.of(16<<20))
	assert.Zero(t, span{16 << 20, time.Second}.of(4), "of another kind of buffers")
}

func TestPointsThatNeedTooMuchMemoryAreReportedWithoutRounds(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2), core.SimulatedHosts(2))
	points := Choice{Operations: []string{broadcast}, Sizes: []int{1 << 20, 2 << 20}, Buffers: []string{"reused"}}.Points()
	left := map[int]string{}
	require.NoError(t, Measure(t.Context(), sys, "x", 3, Plan{Points: points, Memory: 2 << 20}, func(r Result) error {
		left[r.Bytes] = r.LeftOut
		return nil
	}))
	assert.Empty(t, left[1<<20])
	assert.Regexp(t, `^the buffers of its 2 members on host \S+ would take 4 MiB, and may take 2$`, left[2<<20])
	half, err := HalfOfFreeMemory()
	require.NoError(t, err)
	assert.Positive(t, half)
	r := roomOf([]string{"a", "b", "a"}, []int{50, 30, 40}, 0)
	assert.Equal(t, room{map[string][]int{"a": {0, 2}, "b": {1}}, map[string]int{"a": 40, "b": 30}}, r)
	assert.Equal(t, 3*16, Point{Operation: allReduce, Bytes: 16, Shared: true}.NeedOf([]int{1, 2}, 3), "two inputs and the result")
}

func TestMeasureEndsWithTheFirstError(t *testing.T) {
	sys := coretest.Start(t)
	points := []Point{{Operation: barrier}, {Operation: barrier}}
	enough := errors.New("enough")
	require.ErrorIs(t, Measure(t.Context(), sys, "x", 2, Plan{Points: points}, func(Result) error { return enough }), enough)
	ctx, cancel := context.WithCancel(t.Context())
	err := Measure(ctx, sys, "x", 2, Plan{Points: points}, func(Result) error {
		cancel()
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, sys.Nodes()[0].Actors)
	for want, p := range map[string]Plan{
		"-1 rounds":               {Least: -1},
		"201 rounds":              {Least: 201},
		"-1 bytes of memory":      {Memory: -1},
		`operation "scan"`:        {Points: []Point{{Operation: "scan"}}},
		"allreduce of 6 bytes":    {Points: []Point{{Operation: allReduce, Bytes: 6}}},
		"allreduce of 0 bytes":    {Points: []Point{{Operation: allReduce}}},
		"barrier of 4 bytes":      {Points: []Point{{Operation: barrier, Bytes: 4}}},
		"alltoall has no shared":  {Points: []Point{{Operation: allToAll, Bytes: 4, Shared: true}}},
		"alltoallv has no shared": {Points: []Point{{Operation: allToAllV, Bytes: 4, Shared: true}}},
	} {
		err := Measure(t.Context(), sys, "x", 2, p, nil)
		require.ErrorIs(t, err, core.ErrInvalid)
		require.ErrorContains(t, err, want)
	}
}

// What every member has in the end follows from what all had at first by the definition of the operation alone.
func TestExpectedResultsAreThoseOfTheDefinitions(t *testing.T) {
	const n, bytes = 5, 100 // blocks of 5 elements
	for _, op := range []string{allGather, gather, allToAll, allGatherV, gatherV, allToAllV, scatter, scatterV, reduceScatter} {
		ins := make([][]float32, n)
		shapes := make([]shape, n)
		for rank := range n {
			shapes[rank] = shapeOf(Point{Operation: op, Bytes: bytes}, rank, n)
			ins[rank] = make([]float32, shapes[rank].in)
			fill(op, ins[rank], nil, rank)
		}
		for rank, s := range shapes {
			var want []float32
			switch op {
			case allGather, allGatherV:
				want = slices.Concat(ins...)
			case gather, gatherV:
				if rank == 0 {
					want = slices.Concat(ins...)
				}
			case allToAll, allToAllV:
				for source := range n {
					from, length := rank*s.block, s.block
					if op == allToAllV {
						from, length = place(shapes[source].counts, rank), shapes[source].counts[rank]
					}
					want = append(want, ins[source][from:][:length]...)
				}
			case scatter:
				want = ins[0][rank*s.block:][:s.block]
			case scatterV:
				want = ins[0][place(s.counts, rank):][:s.counts[rank]]
			case reduceScatter:
				for i := range s.block {
					var total float32
					for source := range n {
						total += ins[source][rank*s.block+i]
					}
					want = append(want, total)
				}
			}
			require.Len(t, want, s.checked, "%s at rank %d", op, rank)
			require.NoError(t, check(op, s, want, rank, n))
			if len(want) > 0 {
				want = slices.Clone(want)
				want[len(want)-1]++
				require.ErrorContains(t, check(op, s, want, rank, n), "at rank "+strconv.Itoa(rank)+" is")
				require.ErrorContains(t, check(op, s, want[1:], rank, n), "want "+strconv.Itoa(s.checked))
			}
		}
	}
	assert.Equal(t, shape{block: 1, in: 4, out: 1, checked: 1}, shapeOf(Point{Operation: reduceScatter, Bytes: 4}, 3, 4), "a block has an element at least")
	assert.Equal(t, []int{7, 3, 7}, countsOf(5, 0, 3))
	assert.Equal(t, 64, Point{Operation: gather, Bytes: 48}.Need(0, 3))
	assert.Equal(t, 16, Point{Operation: gather, Bytes: 48}.Need(1, 3))
	assert.Equal(t, 48, Point{Operation: allReduce, Bytes: 48, Shared: true}.Need(1, 3))
	assert.Equal(t, 0, Point{Operation: broadcast, Bytes: 48, Shared: true}.Need(1, 3))
}

func TestTimingsOfAllMembersBecomeOneResult(t *testing.T) {
	timings := []Timing{
		{Begins: []int64{1000, 11000, 21000}, Ends: []int64{3000, 14000, 22000}},
		{Begins: []int64{2000, 10000, 21000}, Ends: []int64{4000, 13000, 30000}},
	}
	r := Result{}.summarized(timings, []string{"a", "a"})
	assert.Equal(t, Result{Rounds: 3, Min: 2, Avg: 3.3333333333333335, Max: 4.666666666666667, UntilLast: 4}, r)
	r = Result{}.summarized(timings, []string{"a", "b"})
	assert.InDelta(t, 3, r.UntilLast, 1e-9, "clocks of different hosts must not be compared")
	assert.Len(t, r.Row(), len(Columns))
}

// nccl-tests multiply size over time by a factor for each operation, where the size is that of the whole: the count of a rank times their number.
func TestBandwidthsAreThoseOfNCCLTests(t *testing.T) {
	const members, time = 4, 1000
	for op, factor := range map[string]float64{
		allReduce: 1.5, broadcast: 1, reduce: 1, reduceScatter: 0.75, allGather: 0.75, gather: 0.75, scatter: 0.75, allToAll: 0.75,
		allGatherV: 0.75, gatherV: 0.75, scatterV: 0.75, allToAllV: 0.75,
	} {
		r := Result{Point: Point{Operation: op, Bytes: 1 << 20}, Members: members, UntilLast: time}
		algorithm, bus := r.Rate()
		assert.InDelta(t, 1.048576, algorithm, 1e-9, op)
		assert.InDelta(t, 1.048576*factor, bus, 1e-9, op)
	}
	algorithm, bus := Result{Point: Point{Operation: barrier}, Members: members, UntilLast: time}.Rate()
	assert.Zero(t, algorithm)
	assert.Zero(t, bus)
	algorithm, bus = Result{Point: Point{Operation: allGather, Bytes: 4}, Members: 400, UntilLast: 1}.Rate()
	assert.InDelta(t, 1.6, algorithm, 1e-9, "a block has an element at least")
	assert.InDelta(t, 1.6*399/400, bus, 1e-9)
	algorithm, _ = Result{Point: Point{Operation: reduceScatter, Bytes: 1000}, Members: 3, UntilLast: 1}.Rate()
	assert.InDelta(t, 0.996, algorithm, 1e-9, "83 elements for each member")
}

func TestRoundsThatWarmUpSayHowManyCount(t *testing.T) {
	sys := coretest.Start(t)
	var ready, rounds int
	p := Plan{Points: []Point{{Operation: barrier}}, Seconds: 10, Ready: func() { ready++ }}
	require.NoError(t, Measure(t.Context(), sys, "x", 2, p, func(r Result) error {
		assert.Equal(t, 1, ready)
		rounds = r.Rounds
		return nil
	}))
	assert.Equal(t, mostRounds, rounds)
}

func TestPointsAndResultsAreReadAsTheyAreWritten(t *testing.T) {
	c := DefaultChoice()
	c.Shared = true
	for _, p := range append(c.Points(), DefaultChoice().Points()...) {
		got, err := ParsePoint(p.String())
		require.NoError(t, err)
		assert.Equal(t, p, got)
		p.Shared = false
		r := Result{p, "a", "b", 7, 9, "", 1.25, 2.5, 3, 4}
		read, err := ParseResult(r.String())
		require.NoError(t, err)
		assert.Equal(t, r, read)
	}
	for text, want := range map[string]string{
		"a,b":                         "has 2 fields, want 11",
		"a,b,c,d,fresh,6,7,8,9,10,11": "field 4",
		"a,b,c,4,old,6,7,8,9,10,11":   "field 5",
		"a,b,c,4,fresh,6,7,8,9,10,x":  "field 11",
	} {
		_, err := ParseResult(text)
		require.ErrorContains(t, err, want)
	}
	for _, text := range []string{"", "allreduce:4", "allreduce:4:old", "allreduce:5:fresh", "allreduce:x:fresh", "scan:4:fresh", "allreduce:4:fresh:x", "alltoall:4:fresh:shared"} {
		_, err := ParsePoint(text)
		require.Error(t, err, text)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("allreduce:4:reused:shared")
	f.Add("tutti,default,allreduce,4,reused,3,2,1.00,2.00,3.00,4.00")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := ParsePoint(text); err == nil {
			again, err := ParsePoint(p.String())
			require.NoError(t, err)
			require.Equal(t, p, again)
		}
		if r, err := ParseResult(text); err == nil {
			_, err := ParseResult(r.String())
			require.NoError(t, err)
		}
	})
}

func TestFlagsChangeTheChoice(t *testing.T) {
	c := DefaultChoice()
	f := flag.NewFlagSet("x", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	Flags(f, &c)
	require.NoError(t, f.Parse([]string{"-sizes", "4,64KiB,1MB", "-operations", "gather", "-buffers", "fresh"}))
	assert.Equal(t, Choice{Operations: []string{"gather"}, Sizes: []int{4, 65536, 1e6}, Buffers: []string{"fresh"}}, c)
	for want, args := range map[string][]string{
		`"6": want a multiple of 4 bytes`:   {"-sizes", "4,6"},
		`not "5parsec"`:                     {"-sizes", "5parsec"},
		`"old": want some of reused, fresh`: {"-buffers", "old"},
		`"scan": want some of barrier`:      {"-operations", "scan"},
	} {
		require.ErrorContains(t, f.Parse(args), want)
	}
}
