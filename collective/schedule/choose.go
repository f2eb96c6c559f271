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
	return (&predictor{model: m, ranks: ranks}).predict(c, size, never)
}

// predictor predicts times for a number of ranks.
type predictor struct {
	model *Model
	ranks int
	casts map[Choice]cast // of all ranks, or of the one that stands for all
}

// never is a bound that no prediction reaches.
const never = time.Duration(math.MaxInt64)

// predict returns a time; or never, as soon as it is known to be above a bound.
func (p *predictor) predict(c Choice, size int, bound time.Duration) time.Duration {
	switch a := c.Algorithm; {
	case p.ranks == 1:
		return 0
	case a.phases != nil:
		var total time.Duration
		for _, phase := range a.phases {
			t := p.predict(Choice{phase, 1}, size, bound-total)
			if t == never {
				return never
			}
			total += t
		}
		return total
	case a.Rooted && a.Parted:
		return p.model.pipeline(c, p.ranks, size, bound)
	}
	all, ok := p.casts[c]
	if !ok {
		if p.casts == nil {
			p.casts = map[Choice]cast{}
		}
		if first := c.Algorithm.Plan(p.ranks, 0, 0, c.Parts); first.Turn > 0 {
			all = cast{[]Schedule{first}, []*Program{Compile(first)}}
		} else {
			all = prepare(c, p.ranks, 0)
		}
		p.casts[c] = all
	}
	if all.plans[0].Turn > 0 {
		return p.model.fold(c, all, size, bound)
	}
	return simulate(p.model, c, all, size, Faults{}, bound).Time
}

// fold simulates rank 0 for all.
func (m *Model) fold(c Choice, one cast, size int, bound time.Duration) time.Duration {
	s := one.plans[0]
	e := newEngine(m, c, s, size)
	if c.Algorithm.Rooted { // s stands for a rank of a pipeline, whose blocks are parts
		e.blockBytes = float64(size) / float64(c.Parts)
	}
	e.folded = true
	e.plans, e.machines, e.states = one.plans, []Machine{*NewMachine(one.programs[0])}, [][]uint8{make([]uint8, s.steps)}
	e.threads, e.begun = []float64{0}, []bool{false}
	e.out.Ends = []time.Duration{never}
	e.push(event{kind: begins})
	e.run(bound)
	return e.out.Ends[0]
}

// pipeline simulates a rank in the middle of a pipeline, which passes on a block in every round.
func (m *Model) pipeline(c Choice, ranks, size int, bound time.Duration) time.Duration {
	rounds := c.Parts - 1 + Rounds(ranks)
	far := max(1, ranks/2)
	s := Schedule{Ranks: ranks, Blocks: max(ranks, rounds+1), Rounds: rounds, Turn: 1, steps: rounds, at: func(i int) Step {
		return Step{
			Round: i, Send: Transfer{Peer: far, Blocks: block(i)},
			Recv: Transfer{Peer: ranks - far, Blocks: block(i + 1)}, Reduce: c.Algorithm.Op == Reduce,
		}
	}}
	return m.fold(c, cast{[]Schedule{s}, []*Program{Compile(s)}}, size, bound)
}

// Rank predicts the times of all algorithms of an operation, the fastest first.
func (m *Model) Rank(op Op, ranks, size int) []Prediction {
	p := &predictor{model: m, ranks: ranks}
	var all []Prediction
	for _, a := range Algorithms(op) {
		all = append(all, p.best(a, size, never))
	}
	slices.SortStableFunc(all, func(a, b Prediction) int { return cmp.Compare(a.Time, b.Time) })
	return all
}

// atLeast is a time that an algorithm takes whatever the size: the work for the messages of rank 0.
func (p *predictor) atLeast(a *Algorithm) time.Duration {
	if a.Rooted || a.phases != nil || p.ranks == 1 {
		return 0
	}
	s := a.Plan(p.ranks, 0, 0, 1)
	if s.Turn == 0 { // rank 0 does not stand for all
		return 0
	}
	_, overhead, _, _ := p.model.folded(p.ranks, 1)
	return time.Duration(float64(2*s.Len()) * overhead * p.model.crowd(p.ranks))
}

// best predicts the time of an algorithm with the best number of parts. It is never, if it is above a bound.
func (p *predictor) best(a *Algorithm, size int, bound time.Duration) Prediction {
	best := Prediction{Time: never}
	for _, parts := range p.model.parts(a, p.ranks, size) {
		c := Choice{a, parts}
		if t := p.predict(c, size, min(bound, best.Time)); t < best.Time || best.Algorithm == nil {
			best = Prediction{c, t}
		}
	}
	return best
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

// Explanation prints predictions as a table, with what each rank sends, and which of them is chosen and why.
func Explanation(op Op, ranks, size int, all []Prediction, chosen Choice, why string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v, %d ranks, %d bytes\n", op, ranks, size)
	fmt.Fprintf(&b, "  %-16s %12s %8s %10s %14s\n", "algorithm", "predicted", "rounds", "messages", "bytes sent")
	for _, p := range all {
		mark := ' '
		if p.Algorithm.Name == chosen.Algorithm.Name {
			mark = '*'
		}
		rounds, messages, bytes := p.Effort(ranks, size)
		fmt.Fprintf(&b, "%c %-16s %12v %8d %10d %14.0f\n", mark, p.Choice, p.Time.Round(unit(p.Time)), rounds, messages, bytes)
	}
	fmt.Fprintf(&b, "* %v: %s", chosen, why)
	return b.String()
}

// Effort returns the rounds of an algorithm, and the most messages and bytes that one rank sends.
func (c Choice) Effort(ranks, size int) (rounds, messages int, bytes float64) {
	for r := range ranks {
		s := c.Algorithm.Plan(ranks, r, 0, c.Parts)
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
		if s.Turn > 0 {
			break // all do alike
		}
	}
	return rounds, messages, bytes
}

// unit keeps three digits of a time.
func unit(d time.Duration) time.Duration {
	u := time.Duration(1)
	for d/u >= 1000 {
		u *= 10
	}
	return u
}
