// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/internal/wire"
)

// In a world of eight nodes on a host each and a fan-out of 2, node 2 relays for nodes 3 and 4.

// on returns the actors of one node.
func on(actors []*core.Handle[*probe], node uint32) []*core.Handle[*probe] {
	return slices.DeleteFunc(slices.Clone(actors), func(a *core.Handle[*probe]) bool { return a.Node() != node })
}

// makeDifferent asks all actors for answers of about n bytes, no two of which are equal.
func makeDifferent(t *testing.T, actors []*core.Handle[*probe], n int) *core.Slots {
	t.Helper()
	ins := make([]int, len(actors))
	for i := range ins {
		ins[i] = n + i
	}
	s, err := core.SubmitEach(t.Context(), mustTargets(t, actors...), (*probe).Make, ins)
	require.NoError(t, err)
	return s
}

// A node keeps 16 MiB of the answers that it has sent to a relay. What it does not keep, and the relay dies with, fails by name; what the
// relay has passed on stays.
func TestAnswersThatDieWithARelayAndAreNotKeptFailByName(t *testing.T) {
	const n, late, size = 183, 3, 90 << 10 // the late answers exceed what is kept
	sys := coretest.Start(t, farWorld(8, 8)...)
	all := spawn(t, sys, 8*n, core.Mailbox(10))
	mustTargets(t, all...) // hosts stand in trees in the order in which they were first called
	there := on(all, 3)
	actors := slices.Clone(there)
	for node := uint32(2); node <= 8; node++ {
		if node != 3 {
			actors = append(actors, on(all, node)[0])
		}
	}
	ctx, release := context.WithCancelCause(t.Context())
	defer release(nil)
	blocked := submit(ctx, t, there[n-late:], (*probe).Block, core.Void{})
	for _, a := range there[n-late:] {
		eventually(t, "they are busy", func() bool { return core.Running(a) })
	}
	s := makeDifferent(t, actors, size)
	require.Positive(t, s.Stats().Relays)
	require.NoError(t, s.Wait(bounded(t), s.Len()-late))
	require.Greater(t, core.KeptBytes(sys, 3), (n-late)*size)

	lost := core.Swallow(sys, 2, wire.KindReply)
	release(errors.New("go on"))
	wait(t, blocked)
	eventually(t, "the answers have gone to the relay", func() bool { return core.KeptBytes(sys, 3) <= late*size && lost.Load() > 0 })
	core.LoseNode(sys, 2)
	wait(t, s)
	failed := 0
	for i := range s.Len() {
		switch err := s.Err(i); {
		case s.Actor(i).Node() == 2 || err == nil:
		default:
			failed++
			require.ErrorIs(t, err, core.ErrNodeLost)
			require.ErrorContains(t, err, "which node 3 keeps no longer")
			require.GreaterOrEqual(t, i, n-late, "it had been answered")
		}
	}
	require.Positive(t, failed)
	get(t, core.Call(t.Context(), there[0], (*probe).Ping, core.Void{}))
}

// A relay holds 16 MiB of calls for a peer that does not read. The caller is told of those that have no room, and sends them itself.
func TestWhatARelayHasNoRoomForTheCallerSendsItself(t *testing.T) {
	sys := coretest.Start(t, farWorld(8, 8)...)
	unleaked(t, sys)
	actors := spawn(t, sys, 8, core.Mailbox(1000))
	release := core.Block(sys, 3, wire.KindRelay)
	t.Cleanup(release)
	const size = 96 << 10
	var batches []*core.Slots
	most := 0
	for more := 20; more > 0; { // the links hold some, too
		if len(batches) > 3000 {
			t.Fatalf("%d bytes wait at the relay", most)
		}
		s := submit(t.Context(), t, actors, (*probe).Length, make([]byte, size))
		require.NoError(t, s.Wait(bounded(t), s.Len()-1), "the others are not held up")
		batches = append(batches, s)
		if most = max(most, core.Forwarding(sys, 2, 3)); most > core.RelayRoom-2*size {
			more--
		}
	}
	require.LessOrEqual(t, most, core.RelayRoom)
	release()
	for _, s := range batches {
		succeeded(t, s)
	}
	require.LessOrEqual(t, core.Forwarding(sys, 2, 3), core.RelayRoom)
}

// When what an object comes from dies amid it, the rest comes from its own host.
func TestAFetchGoesOnElsewhereWhereItsSourceHasLeftOff(t *testing.T) {
	const size, before = 8 << 20, 5 // chunks
	sys := coretest.Start(t, farWorld(8, 8)...)
	unleaked(t, sys)
	actors := spawn(t, sys, 8)
	core.CutOffAfter(sys, 3, 2, before)
	in := make([]float32, size/4)
	sum := 0.0
	for i := range in {
		in[i] = float32(i % 1000)
		sum += float64(in[i])
	}
	s := submit(t.Context(), t, actors, (*probe).Sum, in)
	require.Equal(t, 2, s.Stats().Relays)
	succeeded(t, s)
	for i := range s.Len() {
		got, err := core.ValueAt[float64](t.Context(), s, i)
		require.NoError(t, err)
		require.InDelta(t, sum, got, 0)
	}
	rest := sys.Stats().Served - 2*size
	assert.LessOrEqual(t, rest, int64(size-before*core.ChunkBytes+64), "what has come is not sent again")
	assert.GreaterOrEqual(t, rest, int64(size/2))
}

// The same with processes that end, whenever it be.
func TestARelayThatIsKilledAmidAnObjectIsReplaced(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(4), core.SimulatedHosts(4), core.FanOut(2))
	actors := spawn(t, sys, 4)
	in := ones(8 << 20)
	const relay = 3 // for node 4
	s, err := core.Submit(t.Context(), mustTargets(t, actors...), (*probe).Sum, in, core.BestEffort)
	require.NoError(t, err)
	coretest.KillNode(t, sys, relay)
	wait(t, s)
	for i := range s.Len() {
		if s.Actor(i).Node() == relay {
			continue
		}
		require.NoError(t, s.Err(i))
		got, err := core.ValueAt[float64](t.Context(), s, i)
		require.NoError(t, err)
		require.InDelta(t, float64(len(in)), got, 0)
	}
}

// A relay that cannot pass answers on takes no more than a window and a frame from each of those who send to it.
func TestARelayWhoseWayUpIsStoppedHoldsABoundedNumberOfAnswers(t *testing.T) {
	const size, each, frame = 90 << 10, 60, 1<<20 + 100<<10
	sys := coretest.Start(t, core.InProcess(16), core.SimulatedHosts(16), core.FanOut(2))
	unleaked(t, sys)
	actors := spawn(t, sys, 16*each) // node 2 relays for node 3, and that for nodes 4 and 5
	release := core.Block(sys, 2, wire.KindReply)
	t.Cleanup(release)
	s := makeDifferent(t, actors, size)
	behind := 0 // node 2: itself and six others
	for i := range s.Len() {
		if n := s.Actor(i).Node(); n >= 2 && n <= 8 {
			behind++
		}
	}
	require.NoError(t, s.Wait(bounded(t), s.Len()-behind))
	most := 0
	eventually(t, "those below wait", func() bool {
		most = max(most, core.Relaying(sys, 3))
		for _, n := range []uint32{3, 4, 5} {
			under := core.UnderWay(sys, n, 3)
			require.LessOrEqual(t, under, core.AnswerWindow+frame)
			if under < core.AnswerWindow || core.Busy(sys, n) {
				return false
			}
		}
		return true
	})
	require.LessOrEqual(t, max(most, core.Relaying(sys, 3)), 3*(core.AnswerWindow+frame), "of the 16 MB that there are")
	release()
	succeeded(t, s)
	s.Release()
}

// The same with a process that is stopped: when it goes on, or is lost, all others have their answers.
func TestAnswersBehindAStoppedRelayWait(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(8), core.SimulatedHosts(8), core.FanOut(2))
	actors := spawn(t, sys, 8*30)
	coretest.StopNode(t, sys, 2)
	s := makeDifferent(t, actors, 90<<10)
	require.NoError(t, s.Wait(bounded(t), 5*30)) // nodes 1, 5 to 8
	coretest.KillNode(t, sys, 2)
	wait(t, s)
	for i := range s.Len() {
		if s.Actor(i).Node() != 2 {
			require.NoError(t, s.Err(i))
		}
	}
}

// Equal answers of 400 hosts cost the driver bits.
func TestEqualAnswersOf400HostsCostBits(t *testing.T) {
	const hosts, perHost = 400, 25
	sys := coretest.Start(t, core.InProcess(hosts), core.SimulatedHosts(hosts), core.StoreLimit(64<<20))
	actors := spawn(t, sys, hosts*perHost)
	targets := mustTargets(t, actors...)
	count := core.CountReplies(sys)
	for range 3 {
		frames, bytes := count()
		s, err := core.Submit(t.Context(), targets, (*probe).Ping, core.Void{})
		require.NoError(t, err)
		succeeded(t, s)
		moreFrames, moreBytes := count()
		t.Logf("%d actors on %d hosts: %d frames, %d bytes", len(actors), hosts, moreFrames-frames, moreBytes-bytes)
		assert.LessOrEqual(t, moreFrames-frames, int64(hosts), "about 60 on a machine with nothing else to do")
		assert.LessOrEqual(t, moreBytes-bytes, int64(hosts*16))
	}
}

// A relay dies with the answers to calls that have run: the calls are sent again, and do not run again.
func TestCallsWhoseAnswersDieWithARelayRunOnce(t *testing.T) {
	sys := coretest.Start(t, farWorld(8, 8)...)
	actors := spawn(t, sys, 8)
	lost := core.Swallow(sys, 2, wire.KindReply)
	s := submit(t.Context(), t, actors, (*probe).Append, 7)
	for _, node := range []uint32{3, 4} {
		a := on(actors, node)[0]
		eventually(t, "it has run", func() bool { return len(get(t, core.Call(t.Context(), a, (*probe).Log, core.Void{}))) == 1 })
	}
	eventually(t, "an answer has gone to the relay", func() bool { return lost.Load() > 0 })
	core.LoseNode(sys, 2)
	wait(t, s)
	for i, a := range actors {
		if a.Node() == 2 {
			continue
		}
		require.NoError(t, s.Err(i))
		require.Equal(t, 1, get(t, core.RefAt[int](s, i)), "the answer of the one time that it ran")
		require.Equal(t, []int{7}, get(t, core.Call(t.Context(), a, (*probe).Log, core.Void{})))
	}
}
