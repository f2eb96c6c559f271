// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/internal/handshake"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

// dialling is a transport on which every dial has the same end, and which notes when there was one.
type dialling struct {
	link.Memory
	start time.Time
	times []time.Duration
	end   func() (link.Conn, error)
}

func (d *dialling) Dial(context.Context, string) (link.Conn, error) {
	d.times = append(d.times, time.Since(d.start))
	return d.end()
}

func refused() (link.Conn, error) { return nil, fmt.Errorf("dial: %w", syscall.ECONNREFUSED) }

// silent is a connection to somebody who accepts and says nothing.
func silent() (link.Conn, error) {
	c, _ := link.Pipe()
	return c, nil
}

func hungUp() (link.Conn, error) { return nil, handshake.ErrHungUp }

// A node waits for a driver that is not there yet, with pauses that double up to two seconds, and gives up after five minutes.
func TestANodeTriesToReachItsDriverForFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dialling{start: time.Now(), end: refused}
		err := core.Reach(t.Context(), d, 0)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.ErrorContains(t, err, "the driver was not reached in time")
		require.Equal(t, core.JoinPatience, time.Since(d.start))
		require.Equal(t, []time.Duration{0, 50, 150, 350, 750, 1550, 3150, 5150, 7150}, milliseconds(d.times[:9]))
	})
}

func milliseconds(all []time.Duration) []time.Duration {
	for i := range all {
		all[i] /= time.Millisecond
	}
	return all
}

// A driver that accepts and says nothing costs ten seconds for each attempt, of which there are many.
func TestAnAttemptToReachADriverThatIsSilentIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dialling{start: time.Now(), end: silent}
		require.ErrorContains(t, core.Reach(t.Context(), d, 0), "the driver was not reached in time")
		require.Equal(t, core.JoinPatience, time.Since(d.start))
		require.Equal(t, []time.Duration{0, 10_050, 20_150}, milliseconds(d.times[:3]))
	})
}

func TestANodeThatTheDriverAlwaysHangsUpOnGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dialling{start: time.Now(), end: hungUp}
		require.ErrorIs(t, core.Reach(t.Context(), d, 0), handshake.ErrHungUp)
		require.Len(t, d.times, core.MaxHangUps)
	})
}

// A node that has lost its driver tries for as long as the driver would have waited for it, but not where nobody listens any more.
func TestANodeThatJoinsAgainGivesUpSooner(t *testing.T) {
	for _, tt := range []struct {
		name    string
		end     func() (link.Conn, error)
		silence time.Duration
		lasts   time.Duration
	}{
		{"the driver is silent", silent, time.Minute, time.Minute},
		{"its silence is short", silent, time.Second, core.ReachTimeout},
		{"the driver has ended", refused, time.Minute, 0},
		{"there is no way to it", func() (link.Conn, error) { return nil, syscall.EHOSTUNREACH }, time.Minute, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &dialling{start: time.Now(), end: tt.end}
				require.Error(t, core.Reach(t.Context(), d, tt.silence))
				require.Equal(t, tt.lasts, time.Since(d.start))
			})
		})
	}
}

// Main waits ten seconds for an orderly end, whatever methods do.
func TestTheEndOfAProgramIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys, err := core.Start(t.Context(), core.InProcess(1))
		require.NoError(t, err)
		core.Call(t.Context(), spawn(t, sys, 1)[0], (*probe).Stubborn, time.Hour)
		synctest.Wait()
		start := time.Now()
		require.ErrorContains(t, core.EndSystem(t.Context(), sys), "actors still run")
		require.Equal(t, core.ShutdownGrace, time.Since(start))
		time.Sleep(2 * time.Hour) // the method ends with the test
	})
}

// A process that says that its actors have ended and then stays is killed. It is a real one, and the grace a short one.
func TestANodeProcessThatOutstaysTheShutdownIsKilled(t *testing.T) {
	ctx := bounded(t)
	err := core.Outstay(ctx, 50*time.Millisecond, envNode+"=hang")
	require.ErrorContains(t, err, "node processes still run")
	require.NoError(t, ctx.Err(), "the grace is not that of the context")
}

func TestADriverSaysThatItWaitsForNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		err := core.AwaitNodes(ctx, 3, slog.New(slog.NewTextHandler(&log, nil)))
		require.ErrorContains(t, err, "0 of 3 nodes have joined at here")
		require.Equal(t, 3, strings.Count(log.String(), "waiting for nodes"), "every 30 s")
	})
}

// A node asks for a missing message after 250 ms, and then after twice as long each time, up to 8 s.
func TestANodeAsksForWhatIsMissingEverLessOften(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, sys *core.System) {
		h := spawn(t, sys, 1)[0]
		var asked []time.Duration
		start := time.Now()
		restore := core.OnMissing(sys, func() { asked = append(asked, time.Since(start)) })
		core.LoseOrder(sys, h.Node())
		behind := core.Call(t.Context(), h, (*probe).Ping, core.Void{})
		time.Sleep(35 * time.Second)
		synctest.Wait()
		restore()
		require.Equal(t, []time.Duration{250, 750, 1750, 3750, 7750, 15_750, 23_750, 31_750}, milliseconds(asked))
		require.NoError(t, behind.Err(t.Context()))
		require.Equal(t, 39_750*time.Millisecond, time.Since(start), "when the node asks next")
	})
}

// The deadline has travelled: nodes know by themselves when it has passed, also if no cancellation reaches them.
func TestDeadlinesHoldAtTheNode(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, sys *core.System) {
		h := spawn(t, sys, 1)[0]
		core.Swallow(sys, h.Node(), wire.KindCancel)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		runs := core.Call(ctx, h, (*probe).Block, core.Void{})
		waits := core.Call(ctx, h, (*probe).Append, 1)
		for _, err := range []error{runs.Err(t.Context()), waits.Err(t.Context())} {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		require.Equal(t, time.Second, time.Since(start))
		synctest.Wait()
		require.Equal(t, counts{Started: 1, Ended: 1, Cause: "context deadline exceeded"}, get(t, core.Call(t.Context(), h, (*probe).Counts, core.Void{})))
		require.Empty(t, get(t, core.Call(t.Context(), h, (*probe).Log, core.Void{})), "what waited did not run")
		assert.Equal(t, time.Second, time.Since(start))
	})
}
