// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/collective"
	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// Survival is how a member lived through the loss of others.
type Survival struct {
	Failed  int64 // when its operation failed, in nanoseconds since 1970
	Ranks   []int // that failed, as its error says
	Lost    bool
	Text    string
	Way     string // of an all-reduce, as Explain says
	Size    int    // of the next epoch
	Epoch   uint32
	Resumed int64 // when its first operation in the next epoch succeeded
}

// Survive runs an operation until it fails, shrinks the group, and runs it once more. The rank t.Odd is late for the first.
func (m *member) Survive(ctx context.Context, t Task) (Survival, error) {
	g, err := collective.FromContext(ctx, t.Group)
	if err != nil {
		return Survival{}, err
	}
	if g.Rank() == t.Odd {
		timer := time.NewTimer(300 * time.Millisecond)
		<-timer.C
	}
	for err == nil {
		err = operate(ctx, g, t, make([]float32, t.Length))
		if err == nil && t.Op == "gather" || t.Op == "reduce" || t.Op == "broadcast" || t.Op == "scatter" {
			err = collective.Barrier(ctx, g) // what one member does by itself hears of nothing
		}
	}
	s := Survival{Failed: time.Now().UnixNano(), Lost: errors.Is(err, collective.ErrMemberLost), Text: err.Error()}
	if e, ok := errors.AsType[*collective.Error](err); ok {
		s.Ranks = e.Failed
	}
	way, err := g.Explain(schedule.AllReduce, 1)
	if err != nil {
		return s, err
	}
	s.Way = way
	next, err := g.Shrink(ctx)
	if err != nil {
		return s, fmt.Errorf("after %s: %w", s.Text, err)
	}
	s.Size, s.Epoch = next.Size(), next.Epoch()
	t.Root = 0
	if err := operate(ctx, next, t, make([]float32, t.Length)); err != nil {
		return s, fmt.Errorf("after the shrink: %w", err)
	}
	err = collective.Barrier(ctx, next)
	s.Resumed = time.Now().UnixNano()
	return s, err
}

// harm is what is done to a node, and how long it may take until all that are left have their error.
type harm struct {
	name  string
	bound time.Duration
	do    func(testing.TB, *core.System, uint32)
}

func harms() []harm {
	return []harm{{"kill", time.Second, coretest.KillNode}, {"stop", 3 * time.Second, coretest.StopNode}}
}

// cell is one case of the matrix: an operation, a phase of it, and who is lost.
type cell struct {
	op    string
	phase string
	node  uint32
	harm  harm
	hosts int // 0: all are on one
}

func (c cell) String() string {
	return fmt.Sprintf("%s/%s/%s/node=%d", c.harm.name, c.op, c.phase, c.node)
}

const (
	matrixNodes   = 4
	matrixMembers = 64
	matrixRoot    = 5 // on node 1, as rank 0 is, which makes the next epoch
)

// unevenExchange has blocks that are long enough to be read where they are.
const unevenExchange = "uneven-all-to-all"

func matrixOps() []string {
	return []string{
		"sum", "broadcast", "barrier", "reduce", "reduce-scatter", "all-gather", "gather", "scatter", "all-to-all", "send", "ring",
		unevenExchange,
	}
}

// matrix returns the cases. All of them take minutes: without TUTTI_KILL_MATRIX=full each operation is there once, and a few of them
// with a node that is stopped, which takes two seconds to find out.
func matrix() []cell {
	phases := []string{"before", "amid", "waiting"}
	victims := []uint32{1, 2, matrixNodes} // with the root and the coordinator; in the middle; the last ranks
	var all, some []cell
	for _, h := range harms() {
		for i, op := range matrixOps() {
			for j, phase := range phases {
				for k, node := range victims {
					c := cell{op, phase, node, h, 0}
					all = append(all, c)
					if (j+i)%3 == 0 && (k+i/3)%3 == 0 && (h.name == "kill" || i%5 == 0 || op == unevenExchange) {
						some = append(some, c)
					}
				}
			}
		}
	}
	if fullMatrix() {
		return all
	}
	return some
}

func fullMatrix() bool { return os.Getenv("TUTTI_KILL_MATRIX") == "full" }

// Whoever is lost, in whatever operation, at whatever point of it: all that are left hear of it in time, and go on.
func TestKillMatrix(t *testing.T) {
	for _, c := range matrix() {
		t.Run(c.String(), func(t *testing.T) { survive(t, c) })
	}
}

// The same on two hosts of two nodes each, whose members use their memory first. Lost are, in the order of the nodes, the one with the head of the first
// host, neighbours of it, the one with the head of the other, and neighbours of that.
func TestKillMatrixOfHosts(t *testing.T) {
	for i, op := range []string{"sum", "reduce", "broadcast", "reduce-scatter", "all-gather", "barrier", "gather", "scatter"} {
		for node := uint32(1); node <= matrixNodes; node++ {
			for j, phase := range []string{"before", "amid", "waiting"} {
				if fullMatrix() || (i+int(node)+j)%6 == 0 {
					c := cell{op, phase, node, harms()[0], 2}
					t.Run(c.String(), func(t *testing.T) { survive(t, c) })
				}
			}
		}
	}
}

func survive(t *testing.T, c cell) {
	opts := []core.Option{core.LocalNodes(matrixNodes)}
	if c.hosts > 0 {
		opts = append(opts, core.SimulatedHosts(c.hosts))
	}
	sys := coretest.Start(t, opts...)
	actors := spawn(t, sys, matrixMembers)
	g, err := collective.NewGroup(t.Context(), "g", actors)
	require.NoError(t, err)
	var left []*core.Handle[*member]
	var lost []int
	for rank, a := range actors {
		if a.Node() == c.node {
			lost = append(lost, rank)
		} else {
			left = append(left, a)
		}
	}
	if c.hosts > 0 { // they find out what memory they share
		_, err := run(t, actors, Task{Group: "g", Op: "barrier", Odd: -1})
		require.NoError(t, err)
	}
	task := Task{Group: "g", Op: c.op, Length: 2000, Root: matrixRoot, Odd: -1}
	if c.op == unevenExchange {
		task.Length = 10_000
	}
	if c.phase == "waiting" {
		task.Odd = slices.Index(actors, left[7]) // late: the others wait for it when the victims are lost
	}
	var refs *batch.Refs[Survival]
	call := func(on []*core.Handle[*member]) {
		var err error
		refs, err = batch.Call(t.Context(), batch.New(on, batch.BestEffort), (*member).Survive, task)
		require.NoError(t, err)
	}
	if c.phase != "before" {
		call(actors)
		timer := time.NewTimer(50 * time.Millisecond)
		<-timer.C
	}
	harmed := time.Now()
	c.harm.do(t, sys, c.node)
	if c.phase == "before" {
		call(left)
	}
	var slowest, resumed time.Duration
	n := 0
	for i, r := range refs.Stream(t.Context()) {
		if refs.Len() == len(actors) && actors[i].Node() == c.node {
			if n == len(left) {
				break
			}
			continue
		}
		require.NoError(t, r.Err)
		require.True(t, r.Value.Lost, r.Value.Text)
		require.Equal(t, lost, r.Value.Ranks, r.Value.Text)
		require.Equal(t, len(left), r.Value.Size)
		if c.hosts > 0 {
			require.Contains(t, r.Value.Way, fmt.Sprintf("the members of each of %d hosts use its memory", c.hosts))
		}
		require.Equal(t, uint32(2), r.Value.Epoch)
		slowest = max(slowest, time.Unix(0, r.Value.Failed).Sub(harmed))
		resumed = max(resumed, time.Unix(0, r.Value.Resumed).Sub(harmed))
		if n++; n == len(left) {
			break
		}
	}
	refs.Cancel()
	bound := c.harm.bound
	if !fullMatrix() { // among other tests, which may leave this one few processors
		bound *= 10
	}
	assert.Less(t, slowest, bound, "from the loss to the last error")
	<-g.Done() // the creator hears of it too
	require.ErrorIs(t, g.Err(), collective.ErrMemberLost)
	t.Logf("%d members: the last error %v after the loss, the next operation done %v after it",
		len(left), slowest.Round(time.Millisecond), resumed.Round(time.Millisecond))
}

// The creator can make the next epoch too, and a larger one.
func TestTheCreatorShrinksAndGrowsAGroup(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(3))
	actors := spawn(t, sys, 9)
	g, err := collective.NewGroup(t.Context(), "g", actors)
	require.NoError(t, err)
	coretest.KillNode(t, sys, 1)
	<-g.Done()
	require.NoError(t, actors[8].Kill(t.Context())) // nobody but its node knows
	g, err = g.Shrink(t.Context())
	require.NoError(t, err)
	require.Equal(t, 5, g.Size())
	_, err = run(t, actors[3:8], Task{Group: "g", Op: "sum", Length: 100, Odd: -1})
	require.NoError(t, err)
	before := g.Epoch()

	more := spawn(t, sys, 4)
	g, err = collective.Grow(t.Context(), g, more)
	require.NoError(t, err)
	require.Equal(t, 9, g.Size())
	require.Greater(t, g.Epoch(), before)
	_, err = run(t, append(slices.Clone(actors[3:8]), more...), Task{Group: "g", Op: "sum", Length: 100, Odd: -1})
	require.NoError(t, err)
	require.NoError(t, g.Close(t.Context()))
	_, err = g.Shrink(t.Context())
	require.ErrorIs(t, err, collective.ErrClosed)
}
