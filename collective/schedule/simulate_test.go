// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/schedule"
)

// flat is a network of hosts with one rank each.
func flat() *schedule.Model {
	return &schedule.Model{
		Network: schedule.Link{Latency: 20 * time.Microsecond, Overhead: 2 * time.Microsecond, PerByte: 0.32, Work: 0.05},
		Combine: 0.1, Copy: 0.05,
	}
}

// crowded is one host whose ranks share two processors.
func crowded() *schedule.Model {
	return &schedule.Model{
		Process: schedule.Link{Latency: 2 * time.Microsecond, Overhead: 2 * time.Microsecond, Work: 0.1},
		Host:    schedule.Link{Latency: 10 * time.Microsecond, Overhead: 5 * time.Microsecond, Work: 0.3},
		Combine: 0.1, Copy: 0.05, Cores: 2, PerProcess: 8, PerHost: 1 << 20,
	}
}

func choice(op schedule.Op, name string) schedule.Choice {
	return schedule.Choice{Algorithm: schedule.Lookup(op, name), Parts: 1}
}

// What takes no simulation to know: a message alone, one after the other, and side by side.
func TestSimulationOfFewMessagesIsWhatOneWouldReckon(t *testing.T) {
	m := flat()
	message := func(size float64) time.Duration {
		return m.Network.Latency + 2*m.Network.Overhead + time.Duration(math.Ceil(size*(2*m.Network.Work+m.Network.PerByte)))
	}
	simulate := func(op schedule.Op, name string, ranks, size int) time.Duration {
		return schedule.Simulate(m, choice(op, name), ranks, 0, size, schedule.Faults{}).Time
	}
	within := func(want, got time.Duration) {
		t.Helper()
		assert.InDelta(t, float64(want), float64(got), 20, "want %v, got %v", want, got)
	}
	within(message(1000), simulate(schedule.Broadcast, "binomial", 2, 1000))
	within(2*message(1000), simulate(schedule.Broadcast, "binomial", 4, 1000))
	within(3*message(0), simulate(schedule.Barrier, "dissemination", 8, 0))
	within(6*message(100), simulate(schedule.AllGather, "ring", 7, 700))
	assert.Zero(t, simulate(schedule.AllReduce, "circulant", 1, 1000))
	// Of a ring of sums each message is combined, too.
	within(2*5*message(100)+5*10, simulate(schedule.AllReduce, "ring", 6, 600))
}

// One rank that stands for all gives the time of all, also where they share processors, cards and uplinks.
func TestPredictionAgreesWithSimulationOfAllRanks(t *testing.T) {
	racks := flat()
	racks.PerHost, racks.PerRack, racks.Oversubscription = 4, 16, 4
	racks.Process, racks.Host = crowded().Process, crowded().Host
	for name, tc := range map[string]struct {
		model  *schedule.Model
		factor float64 // by which they may differ
	}{"flat": {flat(), 1.01}, "crowded": {crowded(), 1.6}, "racks": {racks, 2.5}} {
		for _, op := range []schedule.Op{schedule.AllReduce, schedule.ReduceScatter, schedule.AllGather, schedule.AllToAll, schedule.Barrier} {
			for _, a := range schedule.Algorithms(op) {
				for _, ranks := range []int{2, 16, 64} {
					for _, size := range []int{64, 64 << 10, 4 << 20} {
						c := schedule.Choice{Algorithm: a, Parts: 1}
						got := float64(tc.model.Predict(c, ranks, size))
						want := float64(schedule.Simulate(tc.model, c, ranks, 0, size, schedule.Faults{}).Time)
						what := fmt.Sprintf("%s: %v %s, %d ranks, %d bytes: predicted %v", name, op, a.Name, ranks, size, time.Duration(got))
						assert.LessOrEqual(t, got, want*tc.factor, what)
						assert.GreaterOrEqual(t, got, want/tc.factor, what)
					}
				}
			}
		}
	}
}

func TestAStragglerDelaysThoseThatNeedIt(t *testing.T) {
	m := flat()
	c := choice(schedule.AllReduce, "circulant")
	even := schedule.Simulate(m, c, 50, 0, 1<<20, schedule.Faults{})
	late := schedule.Simulate(m, c, 50, 0, 1<<20, schedule.Faults{Late: map[int]time.Duration{7: time.Second}})
	assert.Greater(t, late.Time, time.Second)
	assert.Less(t, late.Time, time.Second+2*even.Time)
	assert.Equal(t, even.Messages, late.Messages)
	slow := schedule.Simulate(m, c, 50, 0, 1<<20, schedule.Faults{Slow: map[int]float64{7: 20}})
	assert.Greater(t, slow.Time, even.Time)

	// A leaf of a gather does not wait for one that is late.
	gather := schedule.Simulate(m, choice(schedule.Gather, "linear"), 10, 0, 1000, schedule.Faults{Late: map[int]time.Duration{3: time.Second}})
	assert.Less(t, gather.Ends[4], time.Second)
	assert.Greater(t, gather.Ends[0], time.Second)
}

func TestARankThatFailsLeavesOthersStuckUntilItIsDetected(t *testing.T) {
	m := flat()
	c := choice(schedule.AllReduce, "circulant")
	faults := schedule.Faults{Fail: map[int]time.Duration{7: 50 * time.Microsecond}}
	got := schedule.Simulate(m, c, 100, 0, 1<<20, faults)
	assert.Equal(t, 0, got.Completed)
	assert.Equal(t, 99, got.Stuck)
	assert.Zero(t, got.Aborted)
	faults.Detect = 100 * time.Millisecond
	got = schedule.Simulate(m, c, 100, 0, 1<<20, faults)
	assert.Zero(t, got.Stuck)
	assert.Greater(t, got.Aborted, 100*time.Millisecond)
	assert.Less(t, got.Aborted, 101*time.Millisecond)

	// One that has done its part when it fails harms nobody.
	leaf := schedule.Simulate(m, choice(schedule.Reduce, "binomial"), 8, 0, 8, schedule.Faults{Fail: map[int]time.Duration{7: time.Millisecond}})
	assert.Equal(t, 8, leaf.Completed)
}

func TestUplinksCarryLittleInTheNearHeavyOrder(t *testing.T) {
	m := flat()
	m.PerRack = 20
	share := func(name string) float64 {
		const ranks, size = 400, 1 << 20
		return schedule.Simulate(m, choice(schedule.ReduceScatter, name), ranks, 0, size, schedule.Faults{}).Uplinks / ranks / size
	}
	assert.InDelta(t, 0.154, share("circulant"), 0.001) // figures of the table in docs/algorithms.md
	assert.InDelta(t, 0.964, share("far"), 0.001)
	assert.InDelta(t, 0.050, share("ring"), 0.001)
}

func TestTheBestAlgorithmDependsOnRanksSizeAndNetwork(t *testing.T) {
	best := func(m *schedule.Model, op schedule.Op, ranks, size int) string {
		return m.Rank(op, ranks, size)[0].Algorithm.Name
	}
	assert.Equal(t, "one-shot", best(flat(), schedule.AllReduce, 8, 8))
	assert.Equal(t, "gather", best(flat(), schedule.AllReduce, 400, 8))
	assert.Equal(t, "circulant", best(flat(), schedule.AllReduce, 400, 1<<20))
	assert.Equal(t, "pipeline", best(flat(), schedule.Broadcast, 400, 16<<20))
	assert.Equal(t, "bruck", best(flat(), schedule.AllToAll, 400, 4<<10))
	assert.Equal(t, "pairwise", best(flat(), schedule.AllToAll, 400, 16<<20))
	assert.Equal(t, "dissemination", best(flat(), schedule.Barrier, 400, 0))
	// Where all share two processors, the fewest messages count.
	assert.Equal(t, "tree", best(crowded(), schedule.Barrier, 400, 0))
	assert.Equal(t, "tree", best(crowded(), schedule.AllReduce, 400, 8))
	// A ring pays where uplinks are thin and buffers long.
	racks := flat()
	racks.PerRack, racks.Oversubscription = 20, 20
	assert.Equal(t, "ring", best(racks, schedule.AllReduce, 400, 1<<30))
	assert.Equal(t, "circulant", best(racks, schedule.AllReduce, 400, 1<<20))
}

// What a table leaves unpredicted, for it cannot be the best, is not.
func TestTablesHoldTheLeastPredictedTimes(t *testing.T) {
	spread := flat()
	spread.PerProcess, spread.PerHost, spread.PerRack, spread.Oversubscription = 2, 8, 16, 4
	c := schedule.NewCatalogue()
	for _, m := range []*schedule.Model{flat(), crowded(), spread} {
		for _, ranks := range []int{2, 7, 33} {
			table, err := m.Table(c, ranks, nil)
			require.NoError(t, err)
			for op := schedule.AllReduce; len(c.Of(op)) > 0; op++ {
				for size := 1; size <= 128<<20; size *= 8 {
					want, got := m.Rank(op, ranks, size)[0], table.Choose(op, size)
					assert.Equal(t, want.Algorithm.Name, got.Algorithm.Name, "%v of %d ranks, %d bytes", op, ranks, size)
					assert.Equal(t, want.Parts, got.Parts)
				}
			}
		}
	}
}

func TestTablesTravelAsNumbers(t *testing.T) {
	c := schedule.NewCatalogue()
	for _, ranks := range []int{1, 2, 33} {
		want, err := flat().Table(c, ranks, nil)
		require.NoError(t, err)
		got, err := schedule.ParseTable(c, want.Codes(c))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	forced, err := flat().Table(c, 33, map[schedule.Op]string{schedule.AllReduce: "ring"})
	require.NoError(t, err)
	for size := 1; size < 1<<30; size *= 3 {
		assert.Equal(t, c.Lookup(schedule.AllReduce, "ring"), forced.Choose(schedule.AllReduce, size).Algorithm)
	}
	_, err = flat().Table(c, 33, map[schedule.Op]string{schedule.AllReduce: "bruck"})
	require.ErrorContains(t, err, `all-reduce has no algorithm "bruck"`)
	assert.Nil(t, c.Of(99))
	assert.Nil(t, c.Lookup(schedule.Barrier, "ring"))
}

func FuzzTable(f *testing.F) {
	c := schedule.NewCatalogue()
	good, err := flat().Table(c, 8, nil)
	require.NoError(f, err)
	encode := func(codes []uint32) []byte {
		var b []byte
		for _, code := range codes {
			b = append(b, byte(code), byte(code>>8), byte(code>>16), byte(code>>24))
		}
		return b
	}
	f.Add(encode(good.Codes(c)))
	f.Add(encode(make([]uint32, len(good.Codes(c)))))
	f.Add([]byte{1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		var codes []uint32
		for ; len(b) >= 4; b = b[4:] {
			codes = append(codes, uint32(b[0])|uint32(b[1])<<8|uint32(b[2])<<16|uint32(b[3])<<24)
		}
		table, err := schedule.ParseTable(c, codes)
		if err != nil {
			return
		}
		require.Equal(t, codes, table.Codes(c))
		for op := schedule.AllReduce; op <= schedule.AllToAll; op++ {
			for _, size := range []int{0, 1, 2, 1 << 20, math.MaxInt} {
				require.NotNil(t, table.Choose(op, size).Algorithm)
			}
		}
	})
}

func TestAModelThatIsOutOfBoundsIsRefusedByName(t *testing.T) {
	m := flat()
	require.NoError(t, m.Validate())
	m.Host.Latency, m.Combine, m.Cores = -1, math.NaN(), -3
	err := m.Validate()
	require.ErrorContains(t, err, "Host.Latency is -1ns, want 0 or more")
	require.ErrorContains(t, err, "Combine is NaN")
	require.ErrorContains(t, err, "Cores is -3")
	racks := crowded()
	racks.PerRack = 32
	assert.Contains(t, racks.String(), "2 processors for a host")
	assert.Contains(t, racks.String(), "oversubscribed 1:1")
}

func TestExplanationNamesAllAlgorithmsAndTheChoice(t *testing.T) {
	m := flat()
	all := m.Rank(schedule.AllReduce, 64, 1<<20)
	text := schedule.Explanation(schedule.AllReduce, 64, 1<<20, all, all[0].Choice, "the least predicted time")
	for _, a := range schedule.Algorithms(schedule.AllReduce) {
		assert.Contains(t, text, a.Name)
	}
	assert.Contains(t, text, "* circulant of 4")
	assert.Contains(t, text, "the least predicted time")
}

// Ten thousand ranks, by the machines of all; under the race detector a tenth of them.
func TestSimulationOfManyRanksTakesSeconds(t *testing.T) {
	ranks := 10000
	if raceEnabled {
		ranks = 1000
	}
	c := choice(schedule.AllReduce, "circulant")
	got := schedule.Simulate(flat(), c, ranks, 0, 64<<20, schedule.Faults{})
	assert.Equal(t, ranks, got.Completed)
	assert.Equal(t, 2*ceilLog2(ranks)*ranks, got.Messages)
	assert.InDelta(t, 2*float64(ranks-1)*(64<<20), got.Bytes, 1<<20)
	assert.InDelta(t, float64(flat().Predict(c, ranks, 64<<20)), float64(got.Time), 1000)
}

func BenchmarkSimulateAllReduce(b *testing.B) {
	for _, ranks := range []int{400, 10000} {
		b.Run(fmt.Sprintf("ranks=%d/size=64MiB", ranks), func(b *testing.B) {
			for b.Loop() {
				schedule.Simulate(flat(), choice(schedule.AllReduce, "circulant"), ranks, 0, 64<<20, schedule.Faults{})
			}
		})
	}
}

func BenchmarkTable(b *testing.B) {
	for _, ranks := range []int{8, 64, 400, 1024} {
		b.Run(fmt.Sprintf("ranks=%d", ranks), func(b *testing.B) {
			c := schedule.NewCatalogue()
			for b.Loop() {
				if _, err := flat().Table(c, ranks, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
