// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule_test

import (
	"fmt"
	"slices"
	"strings"
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

// algorithm is what the tests know of one.
type algorithm struct {
	name   string
	op     schedule.Op
	rooted bool
	plan   func(ranks, rank, root int) schedule.Schedule
	rounds func(n int) int
	blocks func(n int) int // sent by one rank, at most
	held   func(n int) int // messages that wait for a rank that is late, at most
}

// rootless makes a plan of one for algorithms without a root.
func rootless(plan func(ranks, rank int) schedule.Schedule) func(ranks, rank, root int) schedule.Schedule {
	return func(ranks, rank, _ int) schedule.Schedule { return plan(ranks, rank) }
}

func ternary(plan func(ranks, rank, root, radix int) schedule.Schedule) func(ranks, rank, root int) schedule.Schedule {
	return func(ranks, rank, root int) schedule.Schedule { return plan(ranks, rank, root, 4) }
}

const pieces = 7 // of the pipelines

func inPieces(plan func(ranks, rank, root, blocks int) schedule.Schedule) func(ranks, rank, root int) schedule.Schedule {
	return func(ranks, rank, root int) schedule.Schedule { return plan(ranks, rank, root, pieces) }
}

func inLanes(plan func(ranks, rank int) schedule.Schedule) func(ranks, rank, root int) schedule.Schedule {
	return func(ranks, rank, _ int) schedule.Schedule { return plan(ranks, rank).Lanes(3) }
}

func logs(factor int) func(n int) int { return func(n int) int { return factor * ceilLog2(n) } }

func others(factor int) func(n int) int { return func(n int) int { return factor * (n - 1) } }

func one(int) int { return 1 }

func quaternary(n int) int {
	levels := 0
	for 1<<(2*levels) < n {
		levels++
	}
	return 3 * levels
}

func pipeline(n int) int {
	if n == 1 {
		return 0
	}
	return pieces - 1 + ceilLog2(n)
}

var algorithms = []algorithm{
	{"circulant reduce-scatter", schedule.ReduceScatter, false, rootless(schedule.CirculantReduceScatter), logs(1), others(1), logs(1)},
	{"circulant all-gather", schedule.AllGather, false, rootless(schedule.CirculantAllGather), logs(1), others(1), logs(1)},
	{"circulant all-reduce", schedule.AllReduce, false, rootless(schedule.CirculantAllReduce), logs(2), others(2), logs(2)},
	{"circulant all-reduce in lanes", schedule.AllReduce, false, inLanes(schedule.CirculantAllReduce), logs(6), others(6), logs(6)},
	{"circulant all-gather in lanes", schedule.AllGather, false, inLanes(schedule.CirculantAllGather), logs(3), others(3), logs(3)},
	{"far reduce-scatter", schedule.ReduceScatter, false, rootless(schedule.FarReduceScatter), logs(1), others(1), logs(1)},
	{"far all-gather", schedule.AllGather, false, rootless(schedule.FarAllGather), logs(1), others(1), logs(1)},
	{"far all-reduce", schedule.AllReduce, false, rootless(schedule.FarAllReduce), logs(2), others(2), logs(2)},
	{"ring reduce-scatter", schedule.ReduceScatter, false, rootless(schedule.RingReduceScatter), others(1), others(1), others(1)},
	{"ring all-gather", schedule.AllGather, false, rootless(schedule.RingAllGather), others(1), others(1), others(1)},
	{"ring all-reduce", schedule.AllReduce, false, rootless(schedule.RingAllReduce), others(2), others(2), others(2)},
	{"direct all-gather", schedule.AllGather, false, rootless(schedule.DirectAllGather), others(1), others(1), others(1)},
	{"binomial broadcast", schedule.Broadcast, true, schedule.BinomialBroadcast, logs(1), logs(1), one},
	{"4-nomial broadcast", schedule.Broadcast, true, ternary(schedule.KnomialBroadcast), quaternary, quaternary, one},
	{"pipelined broadcast", schedule.Broadcast, true, inPieces(schedule.PipelinedBroadcast), pipeline, func(n int) int { return pieces * ceilLog2(n) }, func(int) int { return pieces }},
	{"scatter and all-gather", schedule.Broadcast, true, schedule.ScatterBroadcast, logs(2), others(2), logs(2)},
	{"binomial reduce", schedule.Reduce, true, schedule.BinomialReduce, logs(1), one, logs(1)},
	{"4-nomial reduce", schedule.Reduce, true, ternary(schedule.KnomialReduce), quaternary, one, quaternary},
	{"pipelined reduce", schedule.Reduce, true, inPieces(schedule.PipelinedReduce), pipeline, func(int) int { return pieces }, func(n int) int { return pieces * ceilLog2(n) }},
	{"circulant reduce", schedule.Reduce, true, schedule.CirculantReduce, logs(2), others(2), logs(2)},
	{"binomial gather", schedule.Gather, true, schedule.BinomialGather, logs(1), others(1), logs(1)},
	{"4-nomial gather", schedule.Gather, true, ternary(schedule.KnomialGather), quaternary, others(1), quaternary},
	{"linear gather", schedule.Gather, true, schedule.LinearGather, others(1), one, func(int) int { return schedule.LinearWindow }},
	{"binomial scatter", schedule.Scatter, true, schedule.BinomialScatter, logs(1), others(1), one},
	{"4-nomial scatter", schedule.Scatter, true, ternary(schedule.KnomialScatter), quaternary, others(1), one},
	{"linear scatter", schedule.Scatter, true, schedule.LinearScatter, others(1), others(1), one},
	{"pairwise all-to-all", schedule.AllToAll, false, rootless(schedule.PairwiseAllToAll), others(1), others(1), others(1)},
	{"Bruck all-to-all", schedule.AllToAll, false, rootless(schedule.BruckAllToAll), logs(1), func(n int) int { return schedule.BruckRow(n) / 2 * ceilLog2(n) }, logs(1)},
	{"tree all-reduce", schedule.AllReduce, false, rootless(schedule.TreeAllReduce), logs(2), logs(1), logs(1)},
	{"tree barrier", schedule.Barrier, false, rootless(schedule.TreeBarrier), logs(2), func(int) int { return 0 }, logs(1)},
	{"dissemination barrier", schedule.Barrier, false, rootless(schedule.DisseminationBarrier), logs(1), func(int) int { return 0 }, logs(1)},
}

// counts are the numbers of ranks over which every algorithm is verified. Under the race detector, which slows a computation
// without goroutines ten times and cannot find anything in it, the largest are left out.
func counts() []int {
	if raceEnabled {
		return upTo(64, 100, 127, 257)
	}
	return upTo(300, 400, 511, 512, 513, 1000, 4096, 10000)
}

// rootsOf is all ranks of small groups, and a few of larger ones.
func rootsOf(a algorithm, n int) []int {
	switch {
	case !a.rooted:
		return []int{0}
	case n <= 24:
		return upTo(n)[:n]
	case n <= 300:
		return []int{1, n + 1 - n/3}
	default:
		return []int{1 + n/3}
	}
}

func TestEveryAlgorithmIsCorrectForAnyNumberOfRanks(t *testing.T) {
	t.Parallel()
	for _, a := range algorithms {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			for _, n := range counts() {
				for _, root := range rootsOf(a, n) {
					root-- // upTo counts from 1
					got, err := schedule.Verify(a.op, n, root, func(rank int) schedule.Schedule { return a.plan(n, rank, root) })
					require.NoError(t, err, "%d ranks, root %d", n, root)
					require.LessOrEqual(t, got.Rounds, a.rounds(n), "%d ranks, root %d: rounds", n, root)
					if !strings.HasPrefix(a.name, "4") { // of whose last level some rounds may be idle
						require.Equal(t, a.rounds(n), got.Rounds, "%d ranks, root %d: rounds", n, root)
					}
					require.LessOrEqual(t, got.Blocks, a.blocks(n), "%d ranks, root %d: blocks sent", n, root)
					require.LessOrEqual(t, got.Messages, got.Rounds, "%d ranks, root %d: messages", n, root)
				}
			}
		})
	}
}

// A verifier that accepts everything proves nothing: each sabotage of a good schedule must be found.
func TestVerifyFindsFaults(t *testing.T) {
	const n = 7
	sabotages := map[string]struct {
		at   int
		do   func(s *listed)
		want string
	}{
		"missing step":      {3, func(s *listed) { s.Steps = s.Steps[1:] }, "never receives"},
		"missing last step": {2, func(s *listed) { s.Steps = s.Steps[:len(s.Steps)-1] }, "deadlock"},
		"wrong peer":        {1, func(s *listed) { s.Steps[0].Send.Peer = 5 }, "deadlock: rank 2 waits for rank 1"},
		"peer out of range": {1, func(s *listed) { s.Steps[0].Send.Peer = n }, "peer 7"},
		"talks to itself":   {1, func(s *listed) { s.Steps[0].Recv.Peer = 1 }, "peer 1"},
		"wrong blocks":      {4, func(s *listed) { s.Steps[1].Send.Blocks.Count-- }, "wants blocks"},
		"no such block":     {4, func(s *listed) { s.Steps[1].Send.Blocks.First = n }, "of 7"},
		"copies, not sums":  {0, func(s *listed) { s.Steps[1].Reduce = false }, "contributions in block"},
		"sums, not copies":  {6, func(s *listed) { s.Steps[len(s.Steps)-1].Reduce = true }, "twice"},
		"rounds go back":    {2, func(s *listed) { s.Steps[1].Round = 0 }, "follows round"},
		"another's plan":    {2, func(s *listed) { s.Rank = 3 }, "plan(2) is for rank 3"},
		"too many rounds":   {2, func(s *listed) { s.Steps[5].Round = 6 }, "round 6 of 6"},
		"overlap":           {2, func(s *listed) { s.Steps[0].Recv.Blocks = s.Steps[0].Send.Blocks }, "sends and receives"},
		"nobody receives": {5, func(s *listed) {
			s.Rounds++
			s.Steps = append(s.Steps, schedule.Step{Round: 6, Send: schedule.Transfer{Peer: 0}, Recv: schedule.Transfer{Peer: schedule.None}})
		}, "never receives"},
	}
	for name, sabotage := range sabotages {
		t.Run(name, func(t *testing.T) {
			_, err := schedule.Verify(schedule.AllReduce, n, 0, func(rank int) schedule.Schedule {
				s := list(schedule.CirculantAllReduce(n, rank))
				if rank == sabotage.at {
					sabotage.do(&s)
				}
				return s.schedule()
			})
			require.ErrorContains(t, err, sabotage.want)
		})
	}
}

// listed is a schedule whose steps can be changed.
type listed struct {
	Ranks, Rank, Blocks, Rounds, Turn int
	Steps                             []schedule.Step
}

// list forgets that all ranks do alike.
func list(s schedule.Schedule) listed {
	l := listed{Ranks: s.Ranks, Rank: s.Rank, Blocks: s.Blocks, Rounds: s.Rounds}
	for _, st := range s.Steps() {
		l.Steps = append(l.Steps, st)
	}
	return l
}

func (l listed) schedule() schedule.Schedule {
	s := schedule.Of(l.Ranks, l.Rank, l.Blocks, l.Rounds, l.Steps...)
	s.Turn = l.Turn
	return s
}

// Where all ranks claim to do alike, they are looked at once: the claim itself must be checked, and faults of all ranks found.
func TestVerifyFindsFaultsOfAllRanksAtOnce(t *testing.T) {
	const n = 7
	everyone := func(do func(rank int, s *listed)) func(rank int) schedule.Schedule {
		return func(rank int) schedule.Schedule {
			s := list(schedule.CirculantAllReduce(n, rank))
			s.Turn = 1
			do(rank, &s)
			return s.schedule()
		}
	}
	for name, sabotage := range map[string]struct {
		plan func(rank int) schedule.Schedule
		want string
	}{
		"one differs": {everyone(func(rank int, s *listed) {
			if rank == 4 {
				s.Steps[1].Send.Blocks.Count--
			}
		}), "rank 4: step 1"},
		"one has less": {everyone(func(rank int, s *listed) {
			if rank == 4 {
				s.Steps = s.Steps[1:]
			}
		}), "plan(4)"},
		"nobody ends":          {everyone(func(_ int, s *listed) { s.Steps[5].Send = schedule.Transfer{Peer: schedule.None} }), "deadlock"},
		"nobody does one step": {everyone(func(_ int, s *listed) { s.Steps = slices.Delete(s.Steps, 1, 2) }), "contributions"},
		"nobody sums":          {everyone(func(_ int, s *listed) { s.Steps[1].Reduce = false }), "contributions"},
		"all sum twice":        {everyone(func(_ int, s *listed) { s.Steps[4].Reduce = true }), "twice"},
		"wrong direction": {everyone(func(_ int, s *listed) {
			s.Steps[0].Send.Peer = (s.Steps[0].Send.Peer + 1) % n
		}), "not what is sent"},
		"wrong blocks": {everyone(func(_ int, s *listed) {
			s.Steps[2].Send.Blocks.First = (s.Steps[2].Send.Blocks.First + 1) % n
		}), "not what is sent"},
		"nobody receives": {everyone(func(_ int, s *listed) { s.Steps[2].Recv = schedule.Transfer{Peer: schedule.None} }), "not what is sent"},
		"wrong turn":      {everyone(func(_ int, s *listed) { s.Turn = 2 }), "step 0"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := schedule.Verify(schedule.AllReduce, n, 0, sabotage.plan)
			require.ErrorContains(t, err, sabotage.want)
		})
	}
}

func TestVerifyFindsWhatAnOutcomeLacks(t *testing.T) {
	idle := func(rank int) schedule.Schedule { return schedule.Of(2, rank, 2, 0) }
	for _, op := range []schedule.Op{
		schedule.AllReduce, schedule.ReduceScatter, schedule.AllGather, schedule.Broadcast, schedule.Barrier,
		schedule.Reduce, schedule.Gather, schedule.Scatter, 99,
	} {
		_, err := schedule.Verify(op, 2, 0, idle)
		require.Error(t, err, "operation %d", op)
	}
	apart := func(rank int) schedule.Schedule { return schedule.Of(2, rank, 4, 0) }
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
	rows := schedule.Blocks{First: 5, Stride: 4, Count: 3, Groups: 2, Jump: 6}
	assert.Equal(t, []int{5, 2, 6, 4, 1, 5}, slices.Collect(rows.All(7)))
	for i, want := range []int{5, 2, 6, 4, 1, 5} {
		assert.Equal(t, want, rows.At(i, 7))
	}
	assert.Equal(t, 6, rows.Len())
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
	for _, step := range schedule.CirculantReduceScatter(5, 0).Steps() {
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
