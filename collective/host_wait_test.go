// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A member that lives, and does not go on after the members have met in the first operation of an epoch, is missed as soon as in any other.
func TestTheFirstOperationInTheMemoryOfAMachineMayStall(t *testing.T) {
	const n, stuck = 3, 2
	c := newHostCluster(t, n+1)
	_, groups := c.group("g", n, optionFunc(func(b *bounds) { b.Stall, b.Timeout = 200*time.Millisecond, 20*time.Second })) // Stall bounds more than the default does
	errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		if g.Rank() != stuck {
			return Barrier(ctx, g)
		}
		m, d := g.m, descriptor{op: opBarrier}
		if _, err := m.take(ctx, &m.line, d); err != nil {
			return err
		}
		defer m.release(&m.line)
		x := &execution{peers: m, head: d.append(nil)}
		if err := x.meet(ctx, g); err != nil {
			return err
		}
		<-g.m.s.ctx.Done()
		return nil
	})
	require.NoError(t, errs[stuck])
	for rank, err := range errs[:stuck] {
		require.NotNil(t, groups[rank].m.host.port.Load(), "there is such memory")
		requireAborted(t, err, rank, context.DeadlineExceeded, []int{stuck})
		require.ErrorContains(t, err, "nothing moved for 200ms")
	}
}
