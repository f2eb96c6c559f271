// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Choice is an algorithm and into how many parts it cuts the data, if that is a choice; else 1.
type Choice struct {
	Algorithm *Algorithm
	Parts     int
}

// String prints a choice, such as "circulant" or "pipeline of 8".
func (c Choice) String() string {
	if c.Parts > 1 {
		return fmt.Sprintf("%s of %d", c.Algorithm.Name, c.Parts)
	}
	return c.Algorithm.Name
}

// Prediction is what the cost model says of one choice.
type Prediction struct {
	Choice

	Time time.Duration // from a common start until the last rank has completed
}

// Parts of parted algorithms.
const (
	maxParts  = 256     // of a pipeline
	leastPart = 4 << 10 // bytes of a block that is cut into lanes, or of a block of a pipeline, at least
)

// Predict returns what the operation takes by an algorithm. Where all ranks do alike, one of them is simulated, with its share of
// what all use; else all are. The model must be valid.
func (m *Model) Predict(c Choice, ranks, size int) time.Duration {
	switch a := c.Algorithm; {
	case ranks == 1:
		return 0
	case a.phases != nil:
		var total time.Duration
		for _, phase := range a.phases {
			total += m.Predict(Choice{phase, 1}, ranks, size)
		}
		return total
	case a.Rooted && a.Parted:
		return m.pipeline(c, ranks, size)
	}
	first := c.Algorithm.Plan(ranks, 0, 0, c.Parts)
	if first.Turn == 0 {
		return Simulate(m, c, ranks, 0, size, Faults{}).Time
	}
	return m.fold(c, first, ranks, size)
}

// fold simulates one rank for all.
func (m *Model) fold(c Choice, s Schedule, ranks, size int) time.Duration {
	e := newEngine(m, c, ranks, size)
	e.folded = true
	e.out.Ends = []time.Duration{-1}
	e.add(s, Compile(s))
	e.push(event{kind: begins})
	e.run()
	return e.out.Ends[0]
}

// pipeline simulates a rank in the middle of a pipeline, which passes on a block in every round.
func (m *Model) pipeline(c Choice, ranks, size int) time.Duration {
	rounds := c.Parts - 1 + Rounds(ranks)
	far := max(1, ranks/2)
	s := Schedule{Ranks: ranks, Blocks: rounds + 1, Rounds: rounds, Turn: 1, steps: rounds, at: func(i int) Step {
		return Step{
			Round: i, Send: Transfer{Peer: far, Blocks: block(i)},
			Recv: Transfer{Peer: ranks - far, Blocks: block(i + 1)}, Reduce: c.Algorithm.Op == Reduce,
		}
	}}
	return m.fold(c, s, ranks, size)
}

// Rank predicts the times of all algorithms of an operation, the fastest first.
func (m *Model) Rank(op Op, ranks, size int) []Prediction {
	var all []Prediction
	for _, a := range Algorithms(op) {
		best := Prediction{Time: math.MaxInt64}
		for _, parts := range m.parts(a, ranks, size) {
			c := Choice{a, parts}
			if t := m.Predict(c, ranks, size); t < best.Time {
				best = Prediction{c, t}
			}
		}
		all = append(all, best)
	}
	slices.SortStableFunc(all, func(a, b Prediction) int { return cmp.Compare(a.Time, b.Time) })
	return all
}

// parts returns the numbers of parts that are worth a look.
func (m *Model) parts(a *Algorithm, ranks, size int) []int {
	switch {
	case !a.Parted:
		return []int{1}
	case a.Rooted:
		// n blocks take n-1+q messages one after the other, of size/n bytes: the best n balances the two.
		latency, overhead, work, perByte := m.folded(ranks, max(1, ranks/2))
		crowd := m.crowd(ranks)
		message := latency + 2*overhead*crowd
		rate := perByte + 2*work*crowd
		n := 1.0
		if message > 0 {
			n = math.Sqrt(float64(Rounds(ranks)) * float64(size) * rate / message)
		}
		return []int{max(1, min(int(n), maxParts, size/leastPart))}
	default:
		parts := []int{1}
		for lanes := 2; lanes <= 4 && size/ranks/lanes >= leastPart; lanes *= 2 {
			parts = append(parts, lanes)
		}
		return parts
	}
}

// Explain prints predictions as a table, with what each rank sends, and which of them is chosen and why.
func Explain(op Op, ranks, size int, all []Prediction, chosen Choice, why string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v of %d ranks, %d bytes\n", op, ranks, size)
	fmt.Fprintf(&b, "  %-16s %12s %8s %10s %14s\n", "algorithm", "predicted", "rounds", "messages", "bytes sent")
	for _, p := range all {
		mark := "  "
		if p.Choice == chosen || p.Algorithm.Name == chosen.Algorithm.Name && p.Parts == chosen.Parts {
			mark = "* "
		}
		rounds, messages, bytes := p.Effort(ranks, size)
		fmt.Fprintf(&b, "%s%-16s %12v %8d %10d %14.0f\n", mark, p.Choice, p.Time.Round(roundTo(p.Time)), rounds, messages, bytes)
	}
	fmt.Fprintf(&b, "  * %s", why)
	return b.String()
}

// Effort returns the rounds of an algorithm, and the most messages and bytes that one rank sends.
func (c Choice) Effort(ranks, size int) (rounds, messages int, bytes float64) {
	looked := ranks
	for r := 0; r < looked; r++ {
		s := c.Algorithm.Plan(ranks, r, 0, c.Parts)
		if s.Turn > 0 {
			looked = 1 // all do alike
		}
		sent, blocks := 0, 0
		for _, st := range s.Steps() {
			if st.Send.Peer != None {
				sent++
				blocks += st.Send.Blocks.Len()
			}
		}
		rounds = s.Rounds
		messages = max(messages, sent)
		bytes = max(bytes, float64(blocks)*c.Algorithm.BlockBytes(s, size))
	}
	return rounds, messages, bytes
}

// roundTo keeps three digits of a time.
func roundTo(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return unit
}
