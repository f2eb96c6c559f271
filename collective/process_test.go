// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/collective"
	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// member is an actor that runs collective operations.
type member struct{}

func newMember(context.Context, core.Void) (*member, error) { return &member{}, nil }

// Task says what the members do in one call.
type Task struct {
	Group  string
	Op     string
	Length int
	Root   int
	Odd    int // the rank that does something else; -1 for none
}

func (m *member) Run(ctx context.Context, t Task) ([]float32, error) {
	g, err := collective.FromContext(ctx, t.Group)
	if err != nil {
		return nil, err
	}
	if g.Rank() == t.Odd {
		t.Length++
	}
	buf := make([]float32, t.Length)
	for i := range buf {
		buf[i] = float32(i*8 + g.Rank())
	}
	return buf, operate(ctx, g, t, buf)
}

func operate(ctx context.Context, g *collective.Group, t Task, buf []float32) error {
	switch t.Op {
	case "sum":
		return collective.AllReduce(ctx, g, buf, collective.Sum)
	case "avg":
		return collective.AllReduce(ctx, g, buf, collective.Avg)
	case "broadcast":
		return collective.Broadcast(ctx, g, buf, t.Root)
	case "all-to-all":
		return collective.AllToAll(ctx, g, buf[:len(buf)/g.Size()*g.Size()], make([]float32, len(buf)/g.Size()*g.Size()))
	case "uneven-all-to-all":
		return unevenAllToAll(ctx, g, len(buf))
	case "reduce":
		return collective.Reduce(ctx, g, buf, collective.Max, t.Root)
	case "reduce-scatter":
		return collective.ReduceScatter(ctx, g, make([]float32, g.Size()*len(buf)/8), make([]float32, len(buf)/8), collective.Sum)
	case "all-gather":
		return collective.AllGather(ctx, g, buf, make([]float32, g.Size()*len(buf)))
	case "gather":
		return collective.Gather(ctx, g, buf, make([]float32, g.Size()*len(buf)), t.Root)
	case "scatter":
		return scatter(ctx, g, t.Root, buf)
	case "send": // around in a circle, from rank 0 on
		if g.Rank() == 0 {
			return errors.Join(collective.Send(ctx, g, buf, 1%g.Size(), 3), collective.Recv(ctx, g, buf, g.Size()-1, 3))
		}
		return errors.Join(collective.Recv(ctx, g, buf, g.Rank()-1, 3), collective.Send(ctx, g, buf, (g.Rank()+1)%g.Size(), 3))
	case "sum-shared":
		return into(buf)(collective.AllReduceShared(ctx, g, buf, collective.Sum))
	case "avg-shared":
		return into(buf)(collective.AllReduceShared(ctx, g, buf, collective.Avg))
	case "broadcast-shared":
		return into(buf)(collective.BroadcastShared(ctx, g, buf, t.Root))
	case "all-gather-shared":
		return into(buf)(collective.AllGatherShared(ctx, g, buf))
	case "ring":
		return collective.SendRecv(ctx, g, buf, (g.Rank()+1)%g.Size(), make([]float32, len(buf)), (g.Rank()+g.Size()-1)%g.Size(), 0)
	default:
		return collective.Barrier(ctx, g)
	}
}

// unevenAllToAll exchanges blocks of which some are empty, others short, and some long enough to be read where they are.
func unevenAllToAll(ctx context.Context, g *collective.Group, length int) error {
	counts, total := make([]int, g.Size()), 0
	for other := range counts {
		counts[other] = []int{0, 3, length, 100}[(g.Rank()+other)%4]
		total += counts[other]
	}
	in, out := make([]float32, total), make([]float32, total)
	for i := range in {
		in[i] = float32(g.Rank())
	}
	err := collective.AllToAllV(ctx, g, in, counts, out, counts)
	at := 0
	for other, n := range counts {
		for i, v := range out[at:][:n] {
			if err == nil && v != float32(other) {
				return fmt.Errorf("element %d from rank %d at rank %d is %v", i, other, g.Rank(), v)
			}
		}
		at += n
	}
	return err
}

// scatter numbers all elements of all blocks, and compares what came.
func scatter(ctx context.Context, g *collective.Group, root int, buf []float32) error {
	all := make([]float32, g.Size()*len(buf))
	for i := range all {
		all[i] = float32(i)
	}
	err := collective.Scatter(ctx, g, all, buf, root)
	for i, v := range buf {
		if want := float32(g.Rank()*len(buf) + i); err == nil && v != want {
			return fmt.Errorf("element %d at rank %d is %v, want %v", i, g.Rank(), v, want)
		}
	}
	return err
}

// into copies what a view shows into a buffer.
func into(buf []float32) func(v *arrowstore.View[float32], err error) error {
	return func(v *arrowstore.View[float32], err error) error {
		if v != nil {
			copy(buf, v.Slice())
			v.Release()
		}
		return err
	}
}

// Report is how an operation ended for a member, in a form that crosses the link between nodes.
type Report struct {
	Rank    int
	Seq     uint64
	Took    time.Duration // from the first call to the error
	Failed  []int
	Aborted bool
	Lost    bool
	Late    bool
	Text    string
}

// Loop runs an operation until it fails.
func (m *member) Loop(ctx context.Context, t Task) (Report, error) {
	g, err := collective.FromContext(ctx, t.Group)
	if err != nil {
		return Report{}, err
	}
	start := time.Now()
	for err == nil {
		err = operate(ctx, g, t, make([]float32, t.Length))
	}
	r := Report{
		Rank: g.Rank(), Took: time.Since(start), Text: err.Error(),
		Aborted: errors.Is(err, collective.ErrAborted),
		Lost:    errors.Is(err, collective.ErrMemberLost),
		Late:    errors.Is(err, context.DeadlineExceeded),
	}
	if e, ok := errors.AsType[*collective.Error](err); ok {
		r.Failed, r.Seq = e.Failed, e.Seq
	}
	return r, nil
}

func (m *member) Size(ctx context.Context, name string) (int, error) {
	g, err := collective.FromContext(ctx, name)
	if err != nil {
		return 0, err
	}
	return g.Size(), nil
}

var members = core.Register("collective-member", newMember,
	core.Method((*member).Run), core.Method((*member).Loop), core.Method((*member).Size), core.Method((*member).Survive),
	core.Method((*member).Connections), core.Method((*member).Fall))

func spawn(tb testing.TB, sys *core.System, n int) []*core.Handle[*member] {
	tb.Helper()
	actors, err := members.Spawn(tb.Context(), sys, n, core.Void{})
	require.NoError(tb, err)
	return actors
}

func run(tb testing.TB, actors []*core.Handle[*member], t Task) ([][]float32, error) {
	tb.Helper()
	refs, err := batch.Call(tb.Context(), batch.New(actors), (*member).Run, t)
	require.NoError(tb, err)
	return refs.Get(tb.Context())
}

// systems are the two ways in which nodes run.
func systems(nodes int) map[string]core.Option {
	return map[string]core.Option{"in process": core.InProcess(nodes), "processes": core.LocalNodes(nodes)}
}

func TestActorsReduceAcrossNodes(t *testing.T) {
	for name, nodes := range systems(3) {
		t.Run(name, func(t *testing.T) {
			sys := coretest.Start(t, nodes)
			for _, n := range []int{1, 2, 7, 13} {
				actors := spawn(t, sys, n)
				g, err := collective.NewGroup(t.Context(), "dp", actors)
				require.NoError(t, err)
				require.Equal(t, -1, g.Rank())
				require.Equal(t, n, g.Size())
				for _, length := range []int{0, 1, n, 1000, 100003} {
					for _, op := range []string{"sum", "avg", "broadcast", "barrier"} {
						results, err := run(t, actors, Task{Group: "dp", Op: op, Length: length, Root: n - 1, Odd: -1})
						require.NoError(t, err)
						for rank, got := range results {
							require.Len(t, got, length)
							for i, v := range got {
								if want := expected(op, i, rank, n); v != want {
									require.Failf(t, "wrong element", "%s: element %d at rank %d of %d is %v, want %v", op, i, rank, n, v, want)
								}
							}
						}
					}
				}
				require.NoError(t, g.Close(t.Context()))
				_, err = run(t, actors, Task{Group: "dp"})
				require.ErrorContains(t, err, "group closed")
			}
		})
	}
}

// Members on several hosts reach each other as on one.
func TestActorsReduceAcrossHosts(t *testing.T) {
	const n, length = 7, 100003
	for name, nodes := range systems(6) {
		t.Run(name, func(t *testing.T) {
			sys := coretest.Start(t, nodes, core.SimulatedHosts(3), core.FanOut(2))
			actors := spawn(t, sys, n)
			g, err := collective.NewGroup(t.Context(), "dp", actors)
			require.NoError(t, err)
			text, err := g.Explain(schedule.AllReduce, 1<<20)
			require.NoError(t, err)
			require.Contains(t, text, "in a host of 3:")
			for _, op := range []string{"sum", "avg", "broadcast", "sum-shared", "avg-shared", "broadcast-shared"} {
				results, err := run(t, actors, Task{Group: "dp", Op: op, Length: length, Root: n - 1, Odd: -1})
				require.NoError(t, err)
				for rank, got := range results {
					require.Len(t, got, length)
					for _, i := range []int{0, 1, length / 2, length - 1} {
						want := expected(op, i, rank, n)
						require.InDelta(t, want, got[i], 0, "%s: element %d at rank %d", op, i, rank)
					}
				}
			}
		})
	}
}

func expected(op string, i, rank, n int) float32 {
	sum := float32(n*i*8) + float32(n*(n-1)/2)
	switch strings.TrimSuffix(op, "-shared") {
	case "sum":
		return sum
	case "avg":
		return sum / float32(n)
	case "broadcast":
		return float32(i*8 + n - 1)
	default:
		return float32(i*8 + rank)
	}
}

func TestAMismatchReachesTheCallersOfAllActors(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	actors := spawn(t, sys, 6)
	_, err := collective.NewGroup(t.Context(), "g", actors)
	require.NoError(t, err)
	_, err = run(t, actors, Task{Group: "g", Op: "sum", Length: 10, Odd: 4})
	var failed *batch.Error
	require.ErrorAs(t, err, &failed)
	require.ErrorContains(t, err, "float32 x 10")
	require.ErrorContains(t, err, "float32 x 11")
}

// lossReports makes all actors loop, calls harm amid that, and returns how it ended for each actor.
func lossReports(t *testing.T, actors []*core.Handle[*member], op string, harm func()) []core.Result[Report] {
	t.Helper()
	task := Task{Group: "g", Op: op, Length: 20000}
	refs, err := batch.Call(t.Context(), batch.New(actors, batch.BestEffort), (*member).Loop, task)
	require.NoError(t, err)
	timer := time.NewTimer(50 * time.Millisecond) // amid the loops, at whatever step
	<-timer.C
	harm()
	reports := make([]core.Result[Report], len(actors))
	for i, r := range refs.Stream(t.Context()) {
		require.GreaterOrEqual(t, i, 0)
		reports[i] = r
	}
	return reports
}

func TestAKilledNodeIsAnErrorForAllSurvivors(t *testing.T) {
	for _, op := range []string{"sum", "broadcast", "barrier", "all-to-all", "uneven-all-to-all", "scatter", "ring", "sum-shared", "all-gather-shared"} {
		for _, victim := range []uint32{1, 3} { // rank 0, which is the root of the broadcast, lives on node 1
			t.Run(fmt.Sprintf("%s/node=%d", op, victim), func(t *testing.T) { killNode(t, op, victim) })
		}
	}
}

func killNode(t *testing.T, op string, victim uint32) {
	sys := coretest.Start(t, core.LocalNodes(4))
	actors := spawn(t, sys, 16)
	_, err := collective.NewGroup(t.Context(), "g", actors)
	require.NoError(t, err)
	var failed []int
	for rank, a := range actors {
		if a.Node() == victim {
			failed = append(failed, rank)
		}
	}
	var killed time.Time
	reports := lossReports(t, actors, op, func() {
		killed = time.Now()
		coretest.KillNode(t, sys, victim)
	})
	assert.Less(t, time.Since(killed), 5*time.Second)
	t.Logf("all survivors had their error %v after the kill", time.Since(killed))
	var alive []*core.Handle[*member]
	for rank, r := range reports {
		if actors[rank].Node() == victim {
			require.ErrorIs(t, r.Err, core.ErrNodeLost)
			continue
		}
		alive = append(alive, actors[rank])
		require.NoError(t, r.Err)
		assert.True(t, r.Value.Aborted && r.Value.Lost, r.Value.Text)
		assert.Equal(t, failed, r.Value.Failed, r.Value.Text)
	}
	// Those who are left make a group of the same name and go on.
	g, err := collective.NewGroup(t.Context(), "g", alive)
	require.NoError(t, err)
	require.Equal(t, uint32(2), g.Epoch())
	_, err = run(t, alive, Task{Group: "g", Op: "sum", Length: 1000, Odd: -1})
	require.NoError(t, err)
}

func TestAKilledActorIsAnErrorForAllOthers(t *testing.T) {
	const victim = 5
	for name, nodes := range systems(3) {
		t.Run(name, func(t *testing.T) {
			sys := coretest.Start(t, nodes)
			actors := spawn(t, sys, 9)
			_, err := collective.NewGroup(t.Context(), "g", actors)
			require.NoError(t, err)
			reports := lossReports(t, actors, "sum", func() { require.NoError(t, actors[victim].Kill(t.Context())) })
			for rank, r := range reports {
				if rank == victim {
					continue
				}
				require.NoError(t, r.Err)
				assert.True(t, r.Value.Aborted && r.Value.Lost, r.Value.Text)
				assert.Equal(t, []int{victim}, r.Value.Failed, r.Value.Text)
			}
		})
	}
}

func TestNewGroupRefusesWhatCannotBeAGroup(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	actors := spawn(t, sys, 3)
	ctx := t.Context()
	_, err := collective.NewGroup(ctx, "", actors)
	require.ErrorIs(t, err, collective.ErrArgument)
	_, err = collective.NewGroup(ctx, "g", actors[:0])
	require.ErrorIs(t, err, collective.ErrArgument)
	_, err = collective.NewGroup(ctx, "g", append(actors[:2:2], nil))
	require.ErrorIs(t, err, collective.ErrArgument)
	_, err = collective.NewGroup(ctx, "g", append(actors[:2:2], actors[0]))
	require.ErrorIs(t, err, collective.ErrArgument)
	_, err = collective.NewGroup(ctx, "g", actors, nil)
	require.ErrorIs(t, err, collective.ErrArgument)

	require.NoError(t, actors[2].Kill(ctx))
	_, err = collective.NewGroup(ctx, "g", actors)
	require.ErrorIs(t, err, core.ErrActorDead)
	refs, err := batch.Call(ctx, batch.New(actors[1:2]), (*member).Size, "g")
	require.NoError(t, err)
	_, err = refs.Get(ctx)
	require.Error(t, err, "there is no group after a failed creation")

	_, err = collective.FromContext(ctx, "g")
	require.ErrorIs(t, err, collective.ErrOutside)
}

func TestTheCreatorClosesAGroupWhoseMembersAreGone(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(1))
	actors := spawn(t, sys, 2)
	g, err := collective.NewGroup(t.Context(), "g", actors)
	require.NoError(t, err)
	coretest.KillNode(t, sys, 1)
	require.NoError(t, g.Close(t.Context()))
}

// A group of 400 actors on 8 node processes.
func TestALargeGroup(t *testing.T) {
	const n = 400
	sys := coretest.Start(t, core.LocalNodes(8))
	actors := spawn(t, sys, n)
	start := time.Now()
	_, err := collective.NewGroup(t.Context(), "g", actors)
	require.NoError(t, err)
	t.Logf("group of %d made in %v", n, time.Since(start))
	for _, length := range []int{1, 10000} {
		results, err := run(t, actors, Task{Group: "g", Op: "sum", Length: length, Odd: -1})
		require.NoError(t, err)
		for _, got := range results {
			require.InDelta(t, n*(n-1)/2, got[0], 0.5)
		}
	}
}

// Steps runs an operation many times.
func BenchmarkProcesses(b *testing.B) {
	for _, n := range []int{8, 64, 400} {
		for _, op := range []string{"barrier", "sum"} {
			b.Run(fmt.Sprintf("members=%d/op=%s", n, op), func(b *testing.B) {
				sys := coretest.Start(b, core.LocalNodes(8))
				actors := spawn(b, sys, n)
				_, err := collective.NewGroup(b.Context(), "g", actors)
				require.NoError(b, err)
				b.ReportAllocs()
				for b.Loop() {
					_, err := run(b, actors, Task{Group: "g", Op: op, Length: 10, Odd: -1})
					require.NoError(b, err)
				}
			})
		}
	}
}
