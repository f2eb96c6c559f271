// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/schedule"
)

// network runs machines of all ranks over wires that keep the order of messages between two ranks, and nothing else: which of the
// released transfers goes on is drawn.
type network struct {
	plans    []schedule.Schedule
	machines []*schedule.Machine
	open     [][]schedule.Action // by rank: released and not complete
	wires    map[[2]int][]int    // by from and to: rounds of messages on their way
	asleep   int                 // a rank that does nothing, or -1
	rng      *rand.Rand
	last     map[[2]int]int // by from and to: step of the receive that was released last
	disorder int            // receives that were released before another from the same rank

	// moved is called in the order of events.
	sent, came func(rank int, st schedule.Step)
}

func newNetwork(rng *rand.Rand, ranks int, plan func(rank int) schedule.Schedule) *network {
	w := &network{open: make([][]schedule.Action, ranks), wires: map[[2]int][]int{}, asleep: -1, rng: rng, last: map[[2]int]int{}}
	var shared *schedule.Program
	for r := range ranks {
		s := plan(r)
		if shared == nil || s.Turn == 0 {
			shared = schedule.Compile(s)
		}
		w.plans = append(w.plans, s)
		w.machines = append(w.machines, schedule.NewMachine(shared))
	}
	return w
}

// step lets one rank do one thing and says whether it could.
func (w *network) step(r int) bool {
	m := w.machines[r]
	for a, ok := m.Next(); ok; a, ok = m.Next() {
		w.open[r] = append(w.open[r], a)
		w.release(r, a)
	}
	for _, i := range w.rng.Perm(len(w.open[r])) {
		a := w.open[r][i]
		st := w.plans[r].At(a.Step)
		if a.Send {
			edge := [2]int{r, st.Send.Peer}
			w.wires[edge] = append(w.wires[edge], st.Round)
			if w.sent != nil {
				w.sent(r, st)
			}
		} else {
			edge := [2]int{st.Recv.Peer, r}
			if len(w.wires[edge]) == 0 || w.wires[edge][0] != st.Round { // of another round: for another receive that is open
				continue
			}
			w.wires[edge] = w.wires[edge][1:]
			if w.came != nil {
				w.came(r, st)
			}
		}
		w.open[r] = append(w.open[r][:i], w.open[r][i+1:]...)
		m.Complete(a)
		return true
	}
	return false
}

// release notes the order of receives.
func (w *network) release(r int, a schedule.Action) {
	if a.Send {
		return
	}
	edge := [2]int{w.plans[r].At(a.Step).Recv.Peer, r}
	if last, ok := w.last[edge]; ok && last > a.Step {
		w.disorder++
	}
	w.last[edge] = a.Step
}

// run goes on until nobody can, and says whether all are done.
func (w *network) run() bool {
	for moved := true; moved; {
		moved = false
		for _, r := range w.rng.Perm(len(w.machines)) {
			for r != w.asleep && w.step(r) {
				moved = true
				if w.rng.IntN(3) == 0 {
					break
				}
			}
		}
	}
	for _, m := range w.machines {
		if !m.Done() {
			return false
		}
	}
	return true
}

// waiting counts the messages that wait for a rank.
func (w *network) waiting(rank int) int {
	n := 0
	for edge, rounds := range w.wires {
		if edge[1] == rank {
			n += len(rounds)
		}
	}
	return n
}

// Whatever the order of events, the machines of all ranks get through with all algorithms, and with the bits that the order of
// the schedule gives: sums are of floats, in which another order shows.
func TestMachinesEndAlikeInAnyOrderOfEvents(t *testing.T) {
	for _, a := range algorithms {
		t.Run(a.name, func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 5, 8, 13, 17, 40} {
				root := n / 2
				plan := func(rank int) schedule.Schedule { return a.plan(n, rank, root) }
				var want [][]float64
				for seed := range uint64(4) {
					w := newNetwork(rand.New(rand.NewPCG(seed, 7)), n, plan)
					got := w.floats()
					require.True(t, w.run(), "%d ranks", n)
					require.Zero(t, w.disorder, "receives of %d ranks, seed %d", n, seed)
					if want == nil {
						want = *got
					}
					require.Equal(t, want, *got, "%d ranks, seed %d", n, seed)
				}
			}
		})
	}
}

// floats gives every rank a value in every block, and lets messages move them.
func (w *network) floats() *[][]float64 {
	data := make([][]float64, len(w.plans))
	for r, s := range w.plans {
		data[r] = make([]float64, s.Blocks)
		for b := range data[r] {
			data[r][b] = 1 / float64(7*r+b+1)
		}
	}
	flight := map[[2]int][][]float64{}
	w.sent = func(rank int, st schedule.Step) {
		var values []float64
		for b := range st.Send.Blocks.All(w.plans[rank].Blocks) {
			values = append(values, data[rank][b])
		}
		edge := [2]int{rank, st.Send.Peer}
		flight[edge] = append(flight[edge], values)
	}
	w.came = func(rank int, st schedule.Step) {
		edge := [2]int{st.Recv.Peer, rank}
		values := flight[edge][0]
		flight[edge] = flight[edge][1:]
		i := 0
		for b := range st.Recv.Blocks.All(w.plans[rank].Blocks) {
			if st.Reduce {
				data[rank][b] += values[i]
			} else {
				data[rank][b] = values[i]
			}
			i++
		}
	}
	return &data
}

// A rank that has not begun holds few messages, whatever the others do.
func TestFewMessagesWaitForARankThatIsLate(t *testing.T) {
	for _, a := range algorithms {
		for _, n := range []int{2, 7, 33, 64, 100} {
			for _, late := range []int{0, n / 2, n - 1} {
				w := newNetwork(rand.New(rand.NewPCG(1, 2)), n, func(rank int) schedule.Schedule { return a.plan(n, rank, n/2) })
				w.asleep = late
				w.run()
				assert.LessOrEqual(t, w.waiting(late), a.held(n), "%s of %d ranks, rank %d is late", a.name, n, late)
			}
		}
	}
}

// The steps of a window are under way together, and no others.
func TestWindowBoundsTheStepsUnderWay(t *testing.T) {
	const n = 50
	m := schedule.NewMachine(schedule.Compile(schedule.PairwiseAllToAll(n, 3)))
	open := 0
	highest := 0
	for a, ok := m.Next(); ok; a, ok = m.Next() {
		open++
		highest = max(highest, a.Step)
	}
	assert.Equal(t, 2*schedule.PairwiseWindow, open)
	assert.Equal(t, schedule.PairwiseWindow-1, highest)
	m.Complete(schedule.Action{Step: 0, Send: true})
	_, ok := m.Next()
	assert.False(t, ok, "the first step still receives")
	m.Complete(schedule.Action{Step: 0})
	a, ok := m.Next()
	assert.True(t, ok)
	assert.Equal(t, schedule.PairwiseWindow, a.Step)
	assert.False(t, m.Done())
}

func TestASignalHoldsBackWhatComesAfterIt(t *testing.T) {
	m := schedule.NewMachine(schedule.Compile(schedule.DisseminationBarrier(8, 0)))
	for round := range 3 {
		for range 2 {
			a, ok := m.Next()
			require.True(t, ok)
			require.Equal(t, round, a.Step)
			if !a.Send {
				m.Complete(a)
			}
		}
		m.Complete(schedule.Action{Step: round, Send: true})
	}
	assert.True(t, m.Done())
}
