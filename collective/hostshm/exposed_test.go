// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package hostshm_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/hostshm"
)

// foldExposedOnce exposes n bytes, and folds them from the middle on, in a round each.
func foldExposedOnce(p *hostshm.Port, rank, n int) error {
	own := make([]byte, n)
	for at := 0; at+8 <= n; at += 8 {
		binary.LittleEndian.PutUint32(own[at:], uint32(rank))
		binary.LittleEndian.PutUint32(own[at+4:], uint32(rank))
	}
	if err := p.Enter(patient); err != nil {
		return err
	}
	p.Expose(own)
	p.Arrive()
	if err := p.Await(patient); err != nil {
		return err
	}
	for _, offset := range []int{n / 2 &^ 7, 0} {
		length := n - offset
		if room, err := p.RoomWide(length, patient); err != nil || room != length {
			return fmt.Errorf("room is %d: %w", room, err)
		}
		if err := p.Enter(patient); err != nil {
			return err
		}
		if err := p.FoldExposed(own, offset, length, join); err != nil {
			return err
		}
		p.Arrive()
		if err := p.Await(patient); err != nil {
			return err
		}
		result := p.Wide(length)
		for at := 0; at+8 <= length; at += 8 {
			first, last := binary.LittleEndian.Uint32(result[at:]), binary.LittleEndian.Uint32(result[at+4:])
			if first != 0 || int(last) != p.Members()-1 {
				return fmt.Errorf("at %d of %d from %d on: ranks %d to %d", at, length, offset, first, last)
			}
		}
	}
	return nil
}

func TestExposedContributionsAreFoldedInTheOrderOfRanks(t *testing.T) {
	for _, n := range []int{2, 5, 8, 9, 70} {
		ports := share(t, n)
		tryDirect(t, ports)
		for _, length := range []int{8, 40_000, 8, 300_000} {
			require.NoError(t, all(ports, func(rank int, p *hostshm.Port) error { return foldExposedOnce(p, rank, length) }))
		}
	}
}

func TestNothingIsFoldedThatIsNotThere(t *testing.T) {
	ports := share(t, 2)
	tryDirect(t, ports)
	own := [][]byte{make([]byte, 4096), make([]byte, 1000)}
	require.NoError(t, all(ports, func(rank int, p *hostshm.Port) error {
		if err := p.Enter(patient); err != nil {
			return err
		}
		p.Expose(own[rank])
		p.Arrive()
		return p.Await(patient)
	}))
	require.NoError(t, ports[0].Enter(patient))
	require.ErrorContains(t, ports[0].FoldExposed(own[0], 0, 4096, join), "that rank 1 has")
}
