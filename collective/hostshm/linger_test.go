// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package hostshm_test

import (
	"errors"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/hostshm"
)

// A member that waits on the only processor of the Go scheduler lets the rest of its process run meanwhile, long before it sleeps.
func TestAMemberThatGivesWayLetsItsProcessGoOn(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	path := filepath.Join(t.TempDir(), "segment")
	ends := make([]*hostshm.Segment, 2) // of members that are as if in processes of their own
	ports := make([]*hostshm.Port, 2)
	for rank := range ends {
		var err error
		ends[rank], err = hostshm.Open(path, 2)
		require.NoError(t, err)
		ports[rank], err = ends[rank].Port(rank)
		require.NoError(t, err)
	}
	const rounds = 50
	began := time.Now()
	require.NoError(t, all(ports, func(rank int, p *hostshm.Port) error {
		for round := range rounds {
			p.Begin(hostshm.Call{Seq: uint64(round + 1)})
			if err := foldOnce(p, rank, 8); err != nil {
				return err
			}
		}
		return nil
	}))
	assert.Less(t, time.Since(began), rounds*10*time.Millisecond, "less than until the scheduler takes the processor away, each time")
	require.NoError(t, errors.Join(ends[0].Close(), ends[1].Close()))
}
