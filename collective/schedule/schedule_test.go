// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/schedule"
)

// upTo is 1..last and some larger counts: primes and neighbours of powers of two.
func upTo(last int, more ...int) []int {
	counts := make([]int, 0, last+len(more))
	for n := 1; n <= last; n++ {
		counts = append(counts, n)
	}
	return append(counts, more...)
}

func ceilLog2(n int) int {
	q := 0
	for 1<<q < n {
		q++
	}
	return q
}

func TestCirculantSchedulesAreCorrectAndOptimalForAnyNumberOfRanks(t *testing.T) {
	// The all-reduce contains the other two, so that they are run over fewer counts, for time's sake.
	algorithms := []struct {
		name   string
		op     schedule.Op
		phases int
		counts []int
		plan   func(ranks, rank int) schedule.Schedule
	}{
		{"reduce-scatter", schedule.ReduceScatter, 1, upTo(100), schedule.CirculantReduceScatter},
		{"all-gather", schedule.AllGather, 1, upTo(100), schedule.CirculantAllGather},
		{"all-reduce", schedule.AllReduce, 2, upTo(300, 400, 401, 509, 512), schedule.CirculantAllReduce},
	}
	for _, a := range algorithms {
		t.Run(a.name, func(t *testing.T) {
			for _, n := range a.counts {
				got, err := schedule.Verify(a.op, n, 0, func(rank int) schedule.Schedule { return a.plan(n, rank) })
				require.NoError(t, err, "%d ranks", n)
				require.Equal(t, a.phases*ceilLog2(n), got.Rounds, "%d ranks: rounds", n)
				require.Equal(t, a.phases*ceilLog2(n), got.Messages, "%d ranks: messages", n)
				require.Equal(t, a.phases*(n-1), got.Blocks, "%d ranks: blocks sent", n)
				require.LessOrEqual(t, got.Waiting, 2, "%d ranks: messages that wait", n)
			}
		})
	}
}

// rootsOf is all ranks of small groups, and a few of larger ones.
func rootsOf(n, all int) []int {
	roots := []int{0, 1 % n, n / 2, n - 1}
	if n <= all {
		roots = roots[:0]
		for root := range n {
			roots = append(roots, root)
		}
	}
	slices.Sort(roots)
	return slices.Compact(roots)
}

func TestBroadcastReachesAllFromAnyRoot(t *testing.T) {
	for _, n := range upTo(300, 400, 509, 513, 1009, 4099) {
		for _, root := range rootsOf(n, 64) {
			got, err := schedule.Verify(schedule.Broadcast, n, root, func(rank int) schedule.Schedule {
				return schedule.BinomialBroadcast(n, rank, root)
			})
			require.NoError(t, err, "%d ranks, root %d", n, root)
			require.Equal(t, ceilLog2(n), got.Rounds, "%d ranks, root %d", n, root)
			require.LessOrEqual(t, got.Messages, ceilLog2(n), "%d ranks, root %d", n, root)
		}
	}
}

func TestTreesToAndFromAnyRootAreCorrectForAnyNumberOfRanks(t *testing.T) {
	one := func(int) int { return 1 }
	others := func(n int) int { return n - 1 }
	algorithms := []struct {
		name     string
		op       schedule.Op
		phases   int
		counts   []int
		messages func(q int) int // at most, per rank
		blocks   func(n int) int // at most, per rank
		plan     func(ranks, rank, root int) schedule.Schedule
	}{
		{"reduce", schedule.Reduce, 1, upTo(300, 400, 509, 1009), one, one, schedule.BinomialReduce},
		{"gather", schedule.Gather, 1, upTo(300, 401), one, func(n int) int { return n / 2 }, schedule.BinomialGather},
		{"scatter", schedule.Scatter, 1, upTo(300, 401), func(q int) int { return q }, others, schedule.BinomialScatter},
		{"long reduce", schedule.Reduce, 2, upTo(300, 401), func(q int) int { return q + 1 }, func(n int) int { return n - 1 + n/2 }, schedule.CirculantReduce},
	}
	for _, a := range algorithms {
		t.Run(a.name, func(t *testing.T) {
			for _, n := range a.counts {
				roots := rootsOf(n, 24)
				if n > 100 {
					roots = roots[2:3] // for time's sake
				}
				for _, root := range roots {
					got, err := schedule.Verify(a.op, n, root, func(rank int) schedule.Schedule { return a.plan(n, rank, root) })
					require.NoError(t, err, "%d ranks, root %d", n, root)
					require.Equal(t, a.phases*ceilLog2(n), got.Rounds, "%d ranks, root %d: rounds", n, root)
					require.LessOrEqual(t, got.Messages, a.messages(ceilLog2(n)), "%d ranks, root %d: messages", n, root)
					require.LessOrEqual(t, got.Blocks, a.blocks(n), "%d ranks, root %d: blocks sent", n, root)
					require.LessOrEqual(t, got.Waiting, 2, "%d ranks, root %d: messages that wait", n, root)
				}
			}
		})
	}
}

func TestAllToAllMovesEachBlockOnce(t *testing.T) {
	for _, n := range upTo(100, 101) { // their squares are the numbers of blocks
		got, err := schedule.Verify(schedule.AllToAll, n, 0, func(rank int) schedule.Schedule { return schedule.PairwiseAllToAll(n, rank) })
		require.NoError(t, err, "%d ranks", n)
		require.Equal(t, schedule.Report{Rounds: n - 1, Messages: n - 1, Blocks: n - 1, Waiting: min(n-1, 1)}, got, "%d ranks", n)
	}
}

func TestBarrierHearsFromAll(t *testing.T) {
	for _, n := range upTo(300, 400, 509, 513, 1009, 4099) {
		got, err := schedule.Verify(schedule.Barrier, n, 0, func(rank int) schedule.Schedule {
			return schedule.DisseminationBarrier(n, rank)
		})
		require.NoError(t, err, "%d ranks", n)
		require.Equal(t, ceilLog2(n), got.Rounds, "%d ranks", n)
		require.Zero(t, got.Blocks)
	}
}

// A verifier that accepts everything proves nothing: each sabotage of a good schedule must be found.
func TestVerifyFindsFaults(t *testing.T) {
	const n = 7
	sabotages := map[string]struct {
		at   int
		do   func(*schedule.Schedule)
		want string
	}{
		"missing step":      {3, func(s *schedule.Schedule) { s.Steps = s.Steps[1:] }, "deadlock"},
		"missing last step": {2, func(s *schedule.Schedule) { s.Steps = s.Steps[:len(s.Steps)-1] }, "deadlock"},
		"wrong peer":        {1, func(s *schedule.Schedule) { s.Steps[0].Send.Peer = 5 }, "wants blocks"},
		"peer out of range": {1, func(s *schedule.Schedule) { s.Steps[0].Send.Peer = n }, "peer 7"},
		"talks to itself":   {1, func(s *schedule.Schedule) { s.Steps[0].Recv.Peer = 1 }, "peer 1"},
		"wrong blocks":      {4, func(s *schedule.Schedule) { s.Steps[1].Send.Blocks.Count-- }, "wants blocks"},
		"no such block":     {4, func(s *schedule.Schedule) { s.Steps[1].Send.Blocks.First = n }, "of 7"},
		"copies, not sums":  {0, func(s *schedule.Schedule) { s.Steps[1].Reduce = false }, "contributions in block"},
		"sums, not copies":  {6, func(s *schedule.Schedule) { s.Steps[len(s.Steps)-1].Reduce = true }, "twice"},
		"rounds go back":    {2, func(s *schedule.Schedule) { s.Steps[1].Round = 0 }, "follows round"},
		"another's plan":    {2, func(s *schedule.Schedule) { s.Rank = 3 }, "plan(2) is for rank 3"},
		"overlap":           {2, func(s *schedule.Schedule) { s.Steps[0].Recv.Blocks = s.Steps[0].Send.Blocks }, "sends and receives"},
		"nobody receives": {5, func(s *schedule.Schedule) {
			s.Steps = append(s.Steps, schedule.Step{Round: 99, Send: schedule.Transfer{Peer: 0}, Recv: schedule.Transfer{Peer: schedule.None}})
		}, "never receives"},
	}
	for name, sabotage := range sabotages {
		t.Run(name, func(t *testing.T) {
			_, err := schedule.Verify(schedule.AllReduce, n, 0, func(rank int) schedule.Schedule {
				s := schedule.CirculantAllReduce(n, rank)
				if rank == sabotage.at {
					sabotage.do(&s)
				}
				return s
			})
			require.ErrorContains(t, err, sabotage.want)
		})
	}
}

func TestVerifyFindsWhatAnOutcomeLacks(t *testing.T) {
	idle := func(rank int) schedule.Schedule { return schedule.Schedule{Ranks: 2, Rank: rank, Blocks: 2} }
	for _, op := range []schedule.Op{
		schedule.AllReduce, schedule.ReduceScatter, schedule.AllGather, schedule.Broadcast, schedule.Barrier,
		schedule.Reduce, schedule.Gather, schedule.Scatter, 99,
	} {
		_, err := schedule.Verify(op, 2, 0, idle)
		require.Error(t, err, "operation %d", op)
	}
	apart := func(rank int) schedule.Schedule { return schedule.Schedule{Ranks: 2, Rank: rank, Blocks: 4} }
	_, err := schedule.Verify(schedule.AllToAll, 2, 0, apart)
	require.Error(t, err)
	early := func(rank int) schedule.Schedule {
		return schedule.BinomialBroadcast(2, rank, 1)
	}
	_, err = schedule.Verify(schedule.Broadcast, 2, 0, early)
	require.ErrorContains(t, err, "before it has it")
}

func TestBlocksWrapAround(t *testing.T) {
	b := schedule.Blocks{First: 5, Stride: 4, Count: 3}
	assert.Equal(t, []int{5, 2, 6}, slices.Collect(b.All(7)))
	for range b.All(7) {
		break
	}
	assert.Empty(t, slices.Collect(schedule.Blocks{}.All(0)))
}

func TestArgumentsOutOfRangePanic(t *testing.T) {
	assert.Panics(t, func() { schedule.CirculantAllReduce(0, 0) })
	assert.Panics(t, func() { schedule.CirculantAllGather(4, 4) })
	assert.Panics(t, func() { schedule.BinomialBroadcast(4, 0, -1) })
	assert.Panics(t, func() { schedule.BinomialGather(4, 0, 4) })
	assert.Panics(t, func() { schedule.PairwiseAllToAll(4, 4) })
	assert.Panics(t, func() { schedule.DisseminationBarrier(4, -1) })
}

func ExampleCirculantReduceScatter() {
	for _, step := range schedule.CirculantReduceScatter(5, 0).Steps {
		fmt.Println("round", step.Round, "to", step.Send.Peer, slices.Collect(step.Send.Blocks.All(5)),
			"from", step.Recv.Peer, slices.Collect(step.Recv.Blocks.All(5)))
	}
	// Output:
	// round 0 to 1 [1 3] from 4 [0 2]
	// round 1 to 2 [2] from 3 [0]
	// round 2 to 4 [4] from 1 [0]
}

func BenchmarkCirculantAllReduce(b *testing.B) {
	for _, n := range []int{8, 400, 10000} {
		b.Run(fmt.Sprintf("ranks=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				schedule.CirculantAllReduce(n, n/2)
			}
		})
	}
}
