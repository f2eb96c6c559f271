// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestASilentMemberMeetsTheDeadline(t *testing.T) {
	const n, silent, tick = 7, 3, 250 * time.Millisecond
	cases := map[string]struct {
		opts  []Option
		bound time.Duration // of the context
		want  time.Duration
	}{
		"default":                             {nil, 0, DefaultStall},
		"stall":                               {[]Option{Stall(3 * time.Second)}, 0, 3 * time.Second},
		"stall, though the caller has longer": {[]Option{Stall(9 * time.Second)}, time.Minute, 9 * time.Second},
		"of the group":                        {[]Option{Timeout(5 * time.Second)}, 0, 5 * time.Second},
		"of one caller":                       {nil, 20 * time.Second, 20 * time.Second},
	}
	for name, tc := range cases {
		for what, operate := range operations() {
			everywhere(t, name+"/"+what, func(t *testing.T, nodes int) {
				t.Helper()
				synctest.Test(t, func(t *testing.T) {
					c := newCluster(t, nodes, inMemory)
					_, groups := c.group("g", n, tc.opts...)
					start := time.Now()
					errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
						if g.Rank() == silent {
							<-g.m.s.ctx.Done()
							return operate(ctx, g)
						}
						if tc.bound > 0 && g.Rank() == 0 {
							var cancel context.CancelFunc
							ctx, cancel = context.WithTimeout(ctx, tc.bound)
							defer cancel()
						}
						if err := operate(ctx, g); err != nil {
							return err
						}
						return Barrier(ctx, g)
					})
					for rank, err := range errs {
						requireAborted(t, err, rank, context.DeadlineExceeded, []int{silent})
						require.ErrorContains(t, err, "waited for rank", "rank %d", rank)
						require.ErrorContains(t, err, "rank 3 has not called it", "rank %d", rank)
					}
					require.InDelta(t, tc.want+tick/2, time.Since(start), float64(tick/2), "but for a tick")
				})
			})
		}
	}
}

// A transfer goes on for ever so long as it moves, also where most members wait for others that wait for it.
func TestASlowTransferOutlastsTheStall(t *testing.T) {
	const n, pieces = 8, 40
	everywhere(t, "", func(t *testing.T, nodes int) {
		t.Helper()
		testASlowTransfer(t, nodes, n, pieces)
	})
}

func testASlowTransfer(t *testing.T, nodes, n, pieces int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, nodes, inMemory)
		_, groups := c.group("g", n, Stall(5*time.Second))
		start := time.Now()
		requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			switch g.Rank() { // between two of them something trickles, for which all others wait
			case 2:
				for range pieces {
					time.Sleep(3 * time.Second)
					if err := Send(ctx, g, []int{1}, 3, 0); err != nil {
						return err
					}
				}
			case 3:
				for range pieces {
					if err := Recv(ctx, g, []int{1}, 2, 0); err != nil {
						return err
					}
				}
			}
			return Barrier(ctx, g)
		}))
		require.Greater(t, time.Since(start), time.Duration(pieces)*3*time.Second-time.Second)
	})
}
