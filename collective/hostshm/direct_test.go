// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package hostshm_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/hostshm"
)

// tryDirect finds out whether members read each other's memory, without which a test has nothing to do.
func tryDirect(t *testing.T, ports []*hostshm.Port) {
	t.Helper()
	can := make([]bool, len(ports))
	require.NoError(t, all(ports, func(rank int, p *hostshm.Port) error {
		ok, m, err := p.TryDirect(patient)
		assert.Nil(t, m)
		can[rank] = ok
		return err
	}))
	for _, ok := range can {
		require.Equal(t, can[0], ok)
	}
	if !can[0] {
		t.Skip("the system lets no process read another's memory")
	}
}

func TestMembersReadWhatOneExposes(t *testing.T) {
	const n, length, root = 5, 40 << 20, 2 // more than is read at once
	ports := share(t, n)
	tryDirect(t, ports)
	data := bytes.Repeat([]byte("0123456789abcdef-"), length/17)
	require.NoError(t, all(ports, func(rank int, p *hostshm.Port) error {
		if err := p.Enter(patient); err != nil {
			return err
		}
		if rank == root {
			p.Expose(data)
			p.Publish()
			p.Arrive()
			return p.AwaitAll(patient)
		}
		if err := p.Await(patient); err != nil {
			return err
		}
		got := make([]byte, len(data)-rank)
		if err := p.ReadExposed(root, got, rank); err != nil {
			return err
		}
		assert.True(t, bytes.Equal(data[rank:], got))
		require.ErrorContains(t, p.ReadExposed(root, got, rank+1), "that rank 2 has")
		p.Arrive()
		return nil
	}))
}

func TestNothingIsReadFromAnotherProcessOrAfterTheEnd(t *testing.T) {
	ports := share(t, 2)
	tryDirect(t, ports)
	require.NoError(t, ports[0].Enter(patient))
	require.NoError(t, ports[1].Enter(patient))
	ports[0].Expose(make([]byte, 100))
	got := make([]byte, 100)
	require.NoError(t, ports[1].ReadExposed(0, got, 0))
	ports[0].Forge()
	require.ErrorIs(t, ports[1].ReadExposed(0, got, 0), hostshm.ErrGone)
	ports[0].Forge()
	ports[0].End()
	require.ErrorIs(t, ports[1].ReadExposed(0, got, 0), hostshm.ErrEnded)
}
