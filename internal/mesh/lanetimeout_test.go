// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
)

func TestASilentAcceptorFailsALaneAfterTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster{transport: new(link.Memory)}
		c.host(t, 1, drain)
		m := c.node(t, 0)
		start := time.Now()
		err := mesh.OpenLane(m, 1)
		require.ErrorContains(t, err, "no handshake within 10s")
		require.NotErrorIs(t, err, context.DeadlineExceeded, "no deadline of a caller's has passed")
		assert.Equal(t, handshakeTimeout, time.Since(start))
		require.NoError(t, m.Close())
	})
}
