// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tutti-go/tutti/internal/cluster"
	"github.com/tutti-go/tutti/internal/wire"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

var errBuild = errors.New("another build")

func TestNodesJoinAndAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, cluster.Heartbeat{})
		n := f.join(3, nil, echo)
		s, err := f.server.Wait(t.Context(), 3)
		require.NoError(t, err)
		require.Equal(t, uint32(3), s.Node)
		require.Equal(t, uint64(9), s.Incarnation)
		require.Equal(t, 1003, s.PID)
		require.NoError(t, s.Err())
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				reply, err := s.Do(t.Context(), kill(i))
				if assert.NoError(t, err) {
					assert.Equal(t, []byte{byte(i)}, reply.GetFault(), "each gets its own answer")
				}
			})
		}
		wg.Wait()
		require.NoError(t, s.Tell(&controlpb.ToNode{Kind: &controlpb.ToNode_NodeLost{NodeLost: &controlpb.NodeLost{Node: 8}}}))
		require.Equal(t, uint32(8), <-n.lost)
		n.cancel()
		<-n.ended
		require.NoError(t, n.err, "it was asked to end")
		<-s.Done()
		require.ErrorIs(t, s.Err(), cluster.ErrSessionEnded)
	})
}

func TestAnsweringNodesLiveForEver(t *testing.T) {
	for _, beat := range []cluster.Heartbeat{{}, {Interval: time.Second, Timeout: time.Second}, {Interval: time.Minute, Timeout: time.Hour}} {
		bubble(t, func(t *testing.T) {
			f := newFixture(t, beat)
			f.join(1, nil, echo)
			s, err := f.server.Wait(t.Context(), 1)
			require.NoError(t, err)
			time.Sleep(20 * time.Minute)
			require.NoError(t, s.Err())
		})
	}
}

func TestASilentNodeIsLostAfterTheTimeout(t *testing.T) {
	for _, tt := range []struct {
		beat     cluster.Heartbeat
		from, to time.Duration
	}{
		{cluster.Heartbeat{Interval: time.Second, Timeout: 10 * time.Second}, 10 * time.Second, 11 * time.Second},
		{cluster.Heartbeat{Interval: 10 * time.Millisecond, Timeout: 25 * time.Millisecond}, 25 * time.Millisecond, 40 * time.Millisecond},
		{cluster.Heartbeat{}, 30 * time.Second, 31 * time.Second},
	} {
		bubble(t, func(t *testing.T) {
			f := newFixture(t, tt.beat)
			f.silent(5)
			s, err := f.server.Wait(t.Context(), 5)
			require.NoError(t, err)
			began := time.Now()
			pending := make(chan error, 1)
			go func() {
				_, err := s.Do(t.Context(), kill(1))
				pending <- err
			}()
			<-s.Done()
			require.GreaterOrEqual(t, time.Since(began), tt.from)
			require.LessOrEqual(t, time.Since(began), tt.to)
			require.ErrorIs(t, s.Err(), cluster.ErrSessionEnded)
			require.ErrorContains(t, s.Err(), "node 5 is silent for ")
			require.ErrorIs(t, <-pending, cluster.ErrSessionEnded)
		})
	}
}

func TestASilentNodeThatIsFloodedWithRequestsIsLostToo(t *testing.T) {
	for _, requests := range []int{1, 2, 3, 10} {
		bubble(t, func(t *testing.T) {
			f := newFixture(t, cluster.Heartbeat{Interval: time.Second, Timeout: 10 * time.Second})
			f.silent(5)
			s, err := f.server.Wait(t.Context(), 5)
			require.NoError(t, err)
			var wg sync.WaitGroup
			for range requests {
				wg.Go(func() {
					_, err := s.Do(t.Context(), kill(80<<10))
					assert.ErrorIs(t, err, cluster.ErrSessionEnded)
				})
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					_, err := s.Do(ctx, kill(80<<10))
					assert.ErrorIs(t, err, context.DeadlineExceeded)
				})
			}
			wg.Wait()
		})
	}
}

func TestRefusedNodesAreToldWhyAndFailTheWait(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*cluster.JoinConfig)
		say    string
	}{
		"another build":        {func(c *cluster.JoinConfig) { c.Join.Build = "other" }, "another build"},
		"another wire version": {func(c *cluster.JoinConfig) { c.Join.WireVersion = 1000 }, "version 255, this build speaks"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFixture(t, cluster.Heartbeat{})
				n := f.join(3, tt.change, echo)
				<-n.ended
				refused, ok := errors.AsType[*cluster.RefusedError](n.err)
				require.True(t, ok, "%v", n.err)
				require.Equal(t, wire.FaultBuild, refused.Fault.Code)
				require.ErrorContains(t, n.err, tt.say)
				_, err := f.server.Wait(t.Context(), 3)
				require.ErrorContains(t, err, tt.say)
			})
		})
	}
}

func TestWhoDoesNotBelongIsTurnedAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, cluster.Heartbeat{})
		stream := f.stream()
		require.NoError(t, stream.Send(&controlpb.FromNode{Kind: &controlpb.FromNode_Pong{Pong: &controlpb.Pong{}}}))
		_, err := stream.Recv()
		require.Equal(t, codes.InvalidArgument, status.Code(err))
		require.ErrorContains(t, err, "a session starts with Join")

		f.join(3, nil, echo)
		first, err := f.server.Wait(t.Context(), 3)
		require.NoError(t, err)
		n := f.join(3, nil, echo)
		<-n.ended
		require.ErrorContains(t, n.err, "node 3 has joined already")
		require.NoError(t, first.Err(), "the first is not harmed")
		reply, err := first.Do(t.Context(), kill(1))
		require.NoError(t, err)
		require.Equal(t, []byte{1}, reply.GetFault())
	})
}

func TestNodesGetANumberAndLearnWhereOthersAre(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, cluster.Heartbeat{})
		n := f.join(wire.NoNode, func(c *cluster.JoinConfig) { c.Join.Address = "10.0.0.1:7" }, echo)
		s := <-f.joined
		require.EqualValues(t, 40, s.Node)
		require.Equal(t, "here", s.Host)
		require.Equal(t, "10.0.0.1:7", s.Address)
		require.EqualValues(t, 77, n.welcome.GetStoreLimit())
		members := &controlpb.Members{Members: []*controlpb.Member{{Node: 3, Host: "there", Address: "10.0.0.3:9"}}}
		require.NoError(t, s.Tell(&controlpb.ToNode{Kind: &controlpb.ToNode_Members{Members: members}}))
		require.Equal(t, "10.0.0.3:9", (<-n.members)[0].GetAddress())
		s.End(cluster.ErrSessionEnded)
		<-n.ended
		require.ErrorIs(t, n.err, cluster.ErrSessionEnded)
	})
}

func TestANodeThatCannotBeSetUpDoesNotJoin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, cluster.Heartbeat{})
		n := f.join(3, func(c *cluster.JoinConfig) {
			c.Setup = func(*controlpb.Welcome) (*controlpb.Ready, error) { return nil, errors.New("no room") }
		}, echo)
		<-n.ended
		require.EqualError(t, n.err, "join: no room")
		synctest.Wait()
		require.Empty(t, f.joined)
	})
}

func TestANodeThatIsNeverReadyIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, cluster.Heartbeat{})
		stream := f.stream()
		join := &controlpb.Join{Node: 4, WireVersion: wire.Version}
		require.NoError(t, stream.Send(&controlpb.FromNode{Kind: &controlpb.FromNode_Join{Join: join}}))
		began := time.Now()
		_, err := stream.Recv() // welcome
		require.NoError(t, err)
		_, err = stream.Recv()
		require.Equal(t, codes.DeadlineExceeded, status.Code(err))
		require.Equal(t, time.Minute, time.Since(began))
	})
}

// A driver whose machine is cut off says nothing, and ends nothing.
func TestASilentDriverIsLostAfterTheTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, cluster.Heartbeat{Interval: time.Hour, Timeout: 2 * time.Hour}) // it does not ping
		n := f.join(wire.NoNode, nil, echo)
		<-f.joined
		began := time.Now()
		<-n.ended
		require.Equal(t, 5*time.Second, time.Since(began))
		require.ErrorIs(t, n.err, cluster.ErrSessionEnded)
		require.ErrorContains(t, n.err, "the driver is silent for 5s")
	})
	bubble(t, func(t *testing.T) {
		f := newFixture(t, cluster.Heartbeat{Interval: time.Second, Timeout: 2 * time.Hour})
		n := f.join(wire.NoNode, nil, echo)
		<-f.joined
		time.Sleep(time.Hour)
		synctest.Wait()
		select {
		case <-n.ended:
			t.Fatal(n.err)
		default:
		}
	})
}

func TestRequestsEndWithTheirContextOrTheSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, cluster.Heartbeat{})
		n := f.join(2, nil, hold)
		s, err := f.server.Wait(t.Context(), 2)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = s.Do(ctx, kill(1))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "node 2: no answer")
		pending := make(chan error, 1)
		go func() {
			_, err := s.Do(t.Context(), kill(1))
			pending <- err
		}()
		synctest.Wait()
		n.cancel()
		require.ErrorIs(t, <-pending, cluster.ErrSessionEnded)
		_, err = s.Do(t.Context(), kill(1))
		require.ErrorIs(t, err, cluster.ErrSessionEnded)
		require.ErrorIs(t, s.Tell(&controlpb.ToNode{}), cluster.ErrSessionEnded)
	})
}

func TestWaitEndsWithEverythingThatCanEndIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, cluster.Heartbeat{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := f.server.Wait(ctx, 4)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "node 4 has not joined")
		gone := errors.New("gone")
		waiting := make(chan error, 1)
		go func() {
			_, err := f.server.Wait(t.Context(), 4)
			waiting <- err
		}()
		synctest.Wait()
		f.server.Fail(5, errors.New("another"))
		f.server.Fail(4, gone)
		f.server.Fail(4, errors.New("too late"))
		require.ErrorIs(t, <-waiting, gone)
		go func() {
			_, err := f.server.Wait(t.Context(), 6)
			waiting <- err
		}()
		synctest.Wait()
		f.server.Close()
		require.ErrorIs(t, <-waiting, cluster.ErrSessionEnded)
	})
}

func TestCloseEndsSessionsOnBothSides(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, cluster.Heartbeat{})
		var nodes []*node
		var sessions []*cluster.Session
		for i := range uint32(5) {
			nodes = append(nodes, f.join(i, nil, hold))
			s, err := f.server.Wait(t.Context(), i)
			require.NoError(t, err)
			sessions = append(sessions, s)
		}
		pending := make(chan error, 1)
		go func() {
			_, err := sessions[0].Do(t.Context(), kill(1))
			pending <- err
		}()
		synctest.Wait()
		f.server.Close()
		require.ErrorIs(t, <-pending, cluster.ErrSessionEnded)
		for i, n := range nodes {
			<-n.ended
			require.ErrorIs(t, n.err, cluster.ErrSessionEnded)
			require.ErrorIs(t, sessions[i].Err(), cluster.ErrSessionEnded)
		}
		f.server.Close() // again
	})
}

func TestAStubbornRequestIsAbandonedAfterTheGrace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, cluster.Heartbeat{})
		release := make(chan struct{})
		n := f.join(1, nil, func(context.Context, *controlpb.Request) *controlpb.Reply {
			<-release
			return &controlpb.Reply{}
		})
		s, err := f.server.Wait(t.Context(), 1)
		require.NoError(t, err)
		go func() { _, _ = s.Do(t.Context(), kill(1)) }() // it is the other side that counts
		synctest.Wait()
		began := time.Now()
		f.server.Close()
		<-n.ended
		require.Equal(t, time.Second, time.Since(began))
		require.ErrorContains(t, n.err, "requests of the driver still run after 1s")
		close(release)
	})
}

func TestJoinFailsWhereNobodyListens(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, cluster.Heartbeat{})
		f.server.Close()
		n := f.join(1, nil, echo)
		<-n.ended
		require.ErrorContains(t, n.err, "join: ")
	})
}

func TestLaunchStartsWatchesAndKillsProcesses(t *testing.T) {
	type exit struct {
		node uint32
		err  error
	}
	exits := make(chan exit, 4) // all of them
	p, err := cluster.Launch(cluster.LaunchConfig{
		First: 7, Count: 4, Dir: t.TempDir(), Secret: "let me in", Stderr: os.Stderr,
		Exited: func(node uint32, err error) { exits <- exit{node, err} },
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, p.KillAll()) })
	got := map[uint32]error{}
	for range 2 {
		e := <-exits
		got[e.node] = e.err
	}
	require.NoError(t, got[7])
	require.EqualError(t, got[8], "exit status 3")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, p.Wait(ctx), context.DeadlineExceeded)
	require.NoError(t, p.Kill(7), "it has ended")
	require.NoError(t, p.Kill(9))
	require.Equal(t, uint32(9), (<-exits).node)
	require.NoError(t, p.KillAll())
	require.Equal(t, uint32(10), (<-exits).node)
	require.NoError(t, p.Wait(t.Context()))
	require.NoError(t, p.KillAll(), "again")
}
