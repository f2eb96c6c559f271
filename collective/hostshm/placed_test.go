// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package hostshm_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/hostshm"
)

// sumWords adds up sources of 64-bit words.
func sumWords(dst []byte, srcs [][]byte, _ bool) {
	for at := 0; at < len(dst); at += 8 {
		var sum uint64
		for _, s := range srcs {
			sum += binary.LittleEndian.Uint64(s[at:])
		}
		binary.LittleEndian.PutUint64(dst[at:], sum)
	}
}

// Whoever is awake takes parts: all of them are folded once, whatever the number of members and bytes, in one round after the other and
// between rounds of other kinds, which use the same counters. Some leave early, and write into their contributions when nobody needs them.
func TestContributionsInPlaceAreFoldedOnceByWhoeverIsThere(t *testing.T) {
	for _, members := range []int{2, 7, 8, 9, 20} {
		t.Run(strconv.Itoa(members), func(t *testing.T) {
			ports := share(t, members)
			sizes := []int{0, 8, 16 << 10, 16<<10 + 8, 100_000, 260_000}
			results := make([][]byte, len(sizes))
			own := make([][][]byte, len(sizes))
			for i, size := range sizes {
				results[i], own[i] = make([]byte, size), make([][]byte, members)
				for rank := range own[i] {
					own[i][rank] = make([]byte, size)
					for at := 0; at < size; at += 8 {
						binary.LittleEndian.PutUint64(own[i][rank][at:], uint64(at)+uint64(rank)<<32)
					}
				}
			}
			require.NoError(t, all(ports, func(rank int, p *hostshm.Port) error { return foldAll(p, rank, results, own) }))
			for i, size := range sizes {
				for at := 0; at < size; at += 8 {
					want := uint64(members*at) + uint64(members*(members-1)/2)<<32
					require.Equal(t, want, binary.LittleEndian.Uint64(results[i][at:]), "size %d, byte %d", size, at)
				}
			}
		})
	}
}

func foldAll(p *hostshm.Port, rank int, results [][]byte, own [][][]byte) error {
	p.Begin(hostshm.Call{Seq: 1})
	for i, result := range results {
		room, err := p.Room(len(result), patient) // of Fold, below
		if err == nil {
			room, err = p.RoomPlaced(len(result), patient)
		}
		if err != nil {
			return err
		}
		if room < len(result) {
			return fmt.Errorf("room for %d bytes, want %d", room, len(result))
		}
		if err := p.Enter(patient); err != nil {
			return err
		}
		source := func(of int) ([]byte, error) {
			if of == rank || of/8 != rank/8 {
				return nil, fmt.Errorf("rank %d asks for that of %d", rank, of)
			}
			return own[i][of], nil
		}
		early := (rank+i)%3 == 0
		m, err := p.FoldPlaced(own[i][rank], result, source, sumWords, early, patient)
		if m != nil || err != nil {
			return fmt.Errorf("%v, %w", m, err)
		}
		if early {
			clear(own[i][rank])
		}
		if err := p.Enter(patient); err != nil {
			return err
		}
		if m := p.Fold(own[i][rank], sumWords); m != nil {
			return fmt.Errorf("%v", m)
		}
	}
	return p.Await(patient)
}

func TestAContributionThatIsNotThereEndsTheWork(t *testing.T) {
	ports := share(t, 2)
	gone := errors.New("gone")
	errs := make([]error, 2)
	require.Error(t, all(ports, func(rank int, p *hostshm.Port) error {
		p.Begin(hostshm.Call{Seq: 1})
		if errs[rank] = p.Enter(patient); errs[rank] != nil {
			return errs[rank]
		}
		source := func(int) ([]byte, error) { return nil, gone }
		_, errs[rank] = p.FoldPlaced(make([]byte, 64), make([]byte, 64), source, sumWords, rank == 0, patient)
		return errs[rank]
	}))
	require.ErrorIs(t, errors.Join(errs...), gone)
	for _, err := range errs {
		require.Error(t, err)
	}
}
