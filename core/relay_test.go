// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// farWorld starts nodes on as many hosts as there are nodes, or fewer, in a tree of fan-out 2.
func farWorld(nodes, hosts int) []core.Option {
	return []core.Option{core.InProcess(nodes), core.SimulatedHosts(hosts), core.FanOut(2)}
}

// wait waits for all answers of a submission.
func wait(t testing.TB, s *core.Slots) *core.Slots {
	t.Helper()
	require.NoError(t, s.Wait(bounded(t), s.Len()))
	return s
}

// succeeded fails the test if a slot has an error.
func succeeded(t testing.TB, s *core.Slots) {
	t.Helper()
	wait(t, s)
	for i := range s.Len() {
		require.NoError(t, s.Err(i), "slot %d", i)
	}
}

func TestABatchReachesAllHostsThroughRelays(t *testing.T) {
	for name, where := range map[string]core.Option{"in process": core.InProcess(12), "processes": core.LocalNodes(12)} {
		t.Run(name, func(t *testing.T) {
			sys := coretest.Start(t, where, core.SimulatedHosts(6), core.FanOut(2))
			unleaked(t, sys)
			actors := spawn(t, sys, 24)
			for _, n := range []int{0, small, large, 5 << 20} {
				s := submit(t.Context(), t, actors, (*probe).Sum, ones(n))
				succeeded(t, s)
				for i := range s.Len() {
					sum, err := core.ValueAt[float64](t.Context(), s, i)
					require.NoError(t, err)
					require.InDelta(t, float64(n), sum, 0)
				}
				assert.Equal(t, 2, s.Stats().Relays)
				assert.Equal(t, 4, s.Stats().Messages, "two nodes are on the driver's host")
			}
		})
	}
}

func TestFanOutOfOneCall(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(12), core.SimulatedHosts(12), core.FanOut(2))
	unleaked(t, sys)
	handles := spawn(t, sys, 12)
	actors, err := core.NewTargets(handles)
	require.NoError(t, err)
	for _, k := range []int{0, 5, 3, 3, 0} { // 0 for the system's; plans are cached
		var opts []core.CallOption
		want := 2
		if k > 0 {
			opts, want = []core.CallOption{core.FanOut(k)}, k
		}
		s, err := core.Submit(t.Context(), actors, (*probe).Sum, ones(large), opts...)
		require.NoError(t, err)
		succeeded(t, s)
		assert.Equal(t, want+1, s.Stats().Messages, "one node is on the driver's host")
	}
	_, err = core.Submit(t.Context(), actors, (*probe).Sum, ones(1), core.FanOut(1))
	require.ErrorIs(t, err, core.ErrInvalid)
	require.ErrorContains(t, err, "FanOut(1)")
}

func TestErrorsAndLargeAnswersComeBackThroughRelays(t *testing.T) {
	sys := coretest.Start(t, farWorld(12, 6)...)
	unleaked(t, sys)
	actors := spawn(t, sys, 60)
	s := wait(t, submit(t.Context(), t, actors, (*probe).Panic, "oh"))
	for i := range s.Len() {
		require.ErrorContains(t, s.Err(i), "oh")
	}
	for _, n := range []int{90 << 10, 1 << 20} { // far more than may be under way at once
		s := submit(t.Context(), t, actors, (*probe).Make, n)
		succeeded(t, s)
		for i := range s.Len() {
			b, err := core.ValueAt[[]byte](t.Context(), s, i)
			require.NoError(t, err)
			require.Len(t, b, n)
		}
		s.Release()
	}
}

// With 400 hosts the driver sends no more messages than the fan-out, and the argument no more often.
func TestTheDriverOf400HostsSendsNoMoreThanItsFanOut(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(400), core.SimulatedHosts(400), core.StoreLimit(64<<20))
	actors := spawn(t, sys, 400)
	s := submit(t.Context(), t, actors, (*probe).Ping, core.Void{})
	succeeded(t, s)
	assert.LessOrEqual(t, s.Stats().Messages-1, 16, "one node is on the driver's host")
	assert.LessOrEqual(t, s.Stats().Bytes, int64(400*64), "bytes of messages")

	const size = 1 << 20
	before := sys.Stats().Served
	s = submit(t.Context(), t, actors, (*probe).Length, make([]byte, size))
	succeeded(t, s)
	assert.LessOrEqual(t, s.Stats().Messages-1, 4)
	served := sys.Stats().Served - before
	assert.LessOrEqual(t, served, int64(4*(size+1<<10)))
	assert.GreaterOrEqual(t, served, int64(size))
}

func TestAnObjectCrossesToAHostOnce(t *testing.T) {
	sys := coretest.Start(t, farWorld(8, 2)...)
	unleaked(t, sys)
	actors := spawn(t, sys, 32)
	const size = 3 << 20
	ref, err := core.Put(t.Context(), sys, make([]byte, size))
	require.NoError(t, err)
	for range 3 {
		s, err := core.SubmitRef(t.Context(), mustTargets(t, actors...), (*probe).Length, ref, core.FailFast)
		require.NoError(t, err)
		succeeded(t, s)
		assert.InDelta(t, size, sys.Stats().Served, 1<<10)
	}
	ref.Release()
}

// The argument of a cast is let go when all nodes have had it, wherever they are.
func TestArgumentsOfCastsToOtherHostsAreLetGo(t *testing.T) {
	sys := coretest.Start(t, farWorld(12, 6)...)
	unleaked(t, sys)
	actors := spawn(t, sys, 24)
	s, err := core.Submit(t.Context(), mustTargets(t, actors...), (*probe).Sum, ones(large), core.NoReply())
	require.NoError(t, err)
	succeeded(t, s)
	for _, a := range actors {
		get(t, core.Call(t.Context(), a, (*probe).Ping, core.Void{}))
	}
}

func TestCancellationReachesAllHosts(t *testing.T) {
	sys := coretest.Start(t, farWorld(8, 8)...)
	actors := spawn(t, sys, 16, core.Concurrency(2))
	s := submit(t.Context(), t, actors, (*probe).Block, core.Void{})
	for _, a := range actors {
		eventually(t, "all have started", func() bool { return get(t, core.Call(t.Context(), a, (*probe).Counts, core.Void{})).Started == 1 })
	}
	s.Cancel(assert.AnError)
	for _, a := range actors {
		eventually(t, "all have ended", func() bool { return get(t, core.Call(t.Context(), a, (*probe).Counts, core.Void{})).Ended == 1 })
	}
}

func TestANodeThatIsCutOffFromItsRelayIsReachedAnotherWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := coretest.Start(t, farWorld(9, 3)...)
		actors := spawn(t, sys, 18)
		targets := mustTargets(t, actors...)
		first, err := core.Submit(t.Context(), targets, (*probe).Append, 1, core.FailFast)
		require.NoError(t, err)
		succeeded(t, first)
		core.CutOff(sys, 4, 5) // node 4 is the gateway of nodes 5 and 6
		for i := 2; i < 5; i++ {
			s, err := core.Submit(t.Context(), targets, (*probe).Append, i, core.FailFast)
			require.NoError(t, err)
			succeeded(t, s)
		}
		for _, a := range actors {
			require.Equal(t, []int{1, 2, 3, 4}, get(t, core.Call(t.Context(), a, (*probe).Log, core.Void{})))
		}
	})
}

func TestANodeThatIsCutOffAmidACallStillAnswers(t *testing.T) {
	sys := coretest.Start(t, farWorld(9, 3)...)
	actors := spawn(t, sys, 9)
	s := submit(t.Context(), t, actors, (*probe).Stubborn, 100*time.Millisecond)
	core.CutOff(sys, 4, 5)
	core.CutOff(sys, 7, 9)
	succeeded(t, s)
}

// killed is what a batch to all may have done when a relay died in the middle.
func checkSurvivors(t *testing.T, batches []*core.Slots, actors []*core.Handle[*probe], dead uint32) {
	for k, s := range batches {
		wait(t, s)
		for i := range s.Len() {
			if s.Actor(i).Node() == dead {
				if s.Err(i) != nil {
					require.ErrorIs(t, s.Err(i), core.ErrNodeLost)
				}
				continue
			}
			require.NoError(t, s.Err(i), "batch %d, actor %v", k, s.Actor(i))
		}
	}
	for _, a := range actors {
		if a.Node() == dead {
			continue
		}
		var want []int
		for i := range batches {
			want = append(want, i)
		}
		require.Equal(t, want, get(t, core.Call(t.Context(), a, (*probe).Log, core.Void{})), "each call ran once, in order")
	}
}

// A relay is stopped, so that it has calls which it has not passed on, and killed: while others come, or after the last of all, when nothing that comes
// later tells the nodes what they miss.
func TestARelayThatIsKilledAmidBatchesLosesNothingOfOthers(t *testing.T) {
	stops := []int{10, 20, 36}
	for round := range stops {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			sys := coretest.Start(t, core.LocalNodes(8), core.SimulatedHosts(8), core.FanOut(2))
			actors := spawn(t, sys, 16)
			targets := mustTargets(t, actors...)
			var batches []*core.Slots
			for i := range 40 {
				switch i {
				case stops[round]:
					coretest.StopNode(t, sys, 2) // relays for nodes 3 to 5
				case stops[round] + 5:
					coretest.KillNode(t, sys, 2)
				}
				var s *core.Slots
				var err error
				if i%2 == 0 {
					s, err = core.Submit(t.Context(), targets, (*probe).Append, i, core.BestEffort)
				} else {
					s, err = core.SubmitEach(t.Context(), targets, (*probe).Append, slices.Repeat([]int{i}, len(actors)), core.BestEffort)
				}
				require.NoError(t, err)
				batches = append(batches, s)
			}
			if stops[round]+5 > len(batches) {
				coretest.KillNode(t, sys, 2)
			}
			checkSurvivors(t, batches, actors, 2)
		})
	}
}

func TestARelayThatIsStoppedAmidBatchesLosesNothingOfOthers(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(8), core.SimulatedHosts(8), core.FanOut(2), core.Heartbeat(20*time.Millisecond, 500*time.Millisecond))
	actors := spawn(t, sys, 16)
	targets := mustTargets(t, actors...)
	var batches []*core.Slots
	for i := range 20 {
		if i == 10 {
			coretest.StopNode(t, sys, 2)
		}
		s, err := core.Submit(t.Context(), targets, (*probe).Append, i, core.BestEffort)
		require.NoError(t, err)
		batches = append(batches, s)
	}
	checkSurvivors(t, batches, actors, 2)
}

// With an argument for each actor, too, the driver sends no more messages than the fan-out, as long as each has little to carry.
func TestArgumentsOfOneActorEachRunDownTheTree(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(33), core.SimulatedHosts(11), core.FanOut(2))
	unleaked(t, sys)
	actors := spawn(t, sys, 99)
	for name, c := range map[string]struct {
		length           func(i int) int
		messages, relays int
		bytes            int64
	}{
		"nothing":                {func(int) int { return 0 }, 3 + 2, 2, 4 << 10},
		"small":                  {func(i int) int { return i }, 3 + 2, 2, 99*(50+40) + 4<<10},
		"some in the store":      {func(i int) int { return i % 3 * large }, 3 + 2, 2, 33 * (3*large + 4<<10)},
		"more than a relay gets": {func(int) int { return 99 << 10 }, 3 + 6, 6, 99*(99<<10+40) + 4<<10}, // 45 actors would be behind each of two
	} {
		t.Run(name, func(t *testing.T) {
			ins := make([][]byte, len(actors))
			for i := range ins {
				ins[i] = make([]byte, c.length(i))
			}
			s, err := core.SubmitEach(t.Context(), mustTargets(t, actors...), (*probe).Length, ins)
			require.NoError(t, err)
			succeeded(t, s)
			for i := range ins {
				n, err := core.ValueAt[int](t.Context(), s, i)
				require.NoError(t, err)
				require.Equal(t, len(ins[i]), n)
			}
			assert.Equal(t, c.messages, s.Stats().Messages, "three nodes are on the driver's host")
			assert.Equal(t, c.relays, s.Stats().Relays)
			assert.LessOrEqual(t, s.Stats().Bytes, c.bytes)
		})
	}
}

// What a relay has taken and not passed on goes to the others another way, casts as well.
func TestARelayThatDiesWithCastsLosesNothingOfOthers(t *testing.T) {
	for name, cast := range map[string]func(targets *core.Targets, i int) (*core.Slots, error){
		"one argument": func(targets *core.Targets, i int) (*core.Slots, error) {
			return core.Submit(t.Context(), targets, (*probe).Append, i, core.NoReply(), core.BestEffort)
		},
		"one each": func(targets *core.Targets, i int) (*core.Slots, error) {
			return core.SubmitEach(t.Context(), targets, (*probe).Append, slices.Repeat([]int{i}, targets.Len()), core.NoReply(), core.BestEffort)
		},
	} {
		t.Run(name, func(t *testing.T) {
			sys := coretest.Start(t, core.LocalNodes(8), core.SimulatedHosts(8), core.FanOut(2))
			actors := spawn(t, sys, 16)
			targets := mustTargets(t, actors...)
			var want []int
			for i := range 30 {
				switch i {
				case 10:
					coretest.StopNode(t, sys, 2) // relays for nodes 3 to 5, and passes nothing on from now
				case 20:
					coretest.KillNode(t, sys, 2)
				}
				s, err := cast(targets, i)
				require.NoError(t, err)
				require.NoError(t, s.Wait(t.Context(), s.Len()))
				want = append(want, i)
			}
			for _, a := range actors {
				if a.Node() != 2 {
					require.Equal(t, want, get(t, core.Call(t.Context(), a, (*probe).Log, core.Void{})), "each cast ran once, in order")
				}
			}
			eventually(t, "nothing is kept", func() bool { return core.OpenCalls(sys) == 0 })
		})
	}
}

// Single calls, batches, casts, relays and calls that are sent again because links break: every actor sees the calls in the order in
// which they were made, each once.
func TestOrderHoldsAcrossSingleCallsBatchesRelaysAndResends(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 4))
			sys := coretest.Start(t, farWorld(12, 6)...)
			actors := spawn(t, sys, 24)
			want := make([][]int, len(actors))
			var all []*core.Slots
			for i := range 300 {
				targets := actors
				switch rng.IntN(3) {
				case 0:
					targets = actors[rng.IntN(len(actors)):][:1]
				case 1:
					targets = actors[rng.IntN(len(actors)):]
				}
				for _, a := range targets {
					k := slices.Index(actors, a)
					want[k] = append(want[k], i)
				}
				var opts []core.CallOption
				if rng.IntN(3) == 0 {
					opts = []core.CallOption{core.NoReply()}
				}
				var s *core.Slots
				var err error
				if rng.IntN(3) == 0 {
					s, err = core.SubmitEach(t.Context(), mustTargets(t, targets...), (*probe).Append, slices.Repeat([]int{i}, len(targets)), opts...)
				} else {
					s, err = core.Submit(t.Context(), mustTargets(t, targets...), (*probe).Append, i, opts...)
				}
				require.NoError(t, err)
				all = append(all, s)
				if rng.IntN(40) == 0 {
					a, b := 1+rng.Uint32N(12), 1+rng.Uint32N(12)
					if a != b {
						core.CutOff(sys, a, b)
					}
				}
			}
			for _, s := range all {
				succeeded(t, s)
			}
			for k, a := range actors {
				require.Equal(t, want[k], get(t, core.Call(t.Context(), a, (*probe).Log, core.Void{})))
			}
			eventually(t, "nothing is kept", func() bool { return core.OpenCalls(sys) == 0 })
		})
	}
}

// The figures that count are those of 100,000 actors on 10,000 nodes: grouping them once, planning their way once, and finding the plan again.
func BenchmarkPlan(b *testing.B) {
	sys, err := core.Start(b.Context())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, sys.Shutdown(context.WithoutCancel(b.Context()))) })
	handles := core.FarAway(spawn(b, sys, 1)[0], 10_000, 100_000)
	targets, err := core.NewTargets(handles)
	require.NoError(b, err)
	require.Equal(b, 16, targets.Plan())
	b.Run("group and plan", func(b *testing.B) { // what a batch over new targets pays
		for b.Loop() {
			fresh, err := core.NewTargets(handles)
			require.NoError(b, err)
			fresh.Plan()
		}
	})
	b.Run("group", func(b *testing.B) {
		for b.Loop() {
			_, _ = core.NewTargets(handles)
		}
	})
	b.Run("plan", func(b *testing.B) {
		for b.Loop() {
			targets.Forget()
			targets.Plan()
		}
	})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			targets.Plan()
		}
	})
}
