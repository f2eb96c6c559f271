// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package hostshm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/tutti-go/tutti/collective/hostshm"
	"github.com/tutti-go/tutti/internal/leakcheck"
)

func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

// share opens the segment at one path once for each member, as processes do.
func share(t *testing.T, members int) []*hostshm.Port {
	t.Helper()
	path := filepath.Join(t.TempDir(), "segment")
	ports := make([]*hostshm.Port, members)
	for rank := range ports {
		s, err := hostshm.Open(path, members)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		ports[rank], err = s.Port(rank)
		require.NoError(t, err)
		require.Equal(t, ports[0].File(), s.File())
	}
	require.NoError(t, hostshm.Remove(path))
	require.NoError(t, hostshm.Remove(path), "once more")
	return ports
}

func anyone(int) bool { return true }

func patient() (time.Duration, error) { return 100 * time.Millisecond, nil }

func all(ports []*hostshm.Port, do func(rank int, p *hostshm.Port) error) error {
	var g errgroup.Group
	for rank, p := range ports {
		g.Go(func() error {
			err := do(rank, p)
			if err != nil {
				p.End() // the others would wait in vain
			}
			return err
		})
	}
	return g.Wait()
}

// join is a reduction that is associative but does not commute: each source is a run of 8-byte words that hold the first and the last
// rank below it, and they must follow each other.
func join(dst []byte, srcs [][]byte, _ bool) {
	for at := 0; at+8 <= len(dst); at += 8 {
		first, last := binary.LittleEndian.Uint32(srcs[0][at:]), binary.LittleEndian.Uint32(srcs[0][at+4:])
		for _, s := range srcs[1:] {
			if binary.LittleEndian.Uint32(s[at:]) != last+1 {
				first = 1 << 31
			}
			last = binary.LittleEndian.Uint32(s[at+4:])
		}
		binary.LittleEndian.PutUint32(dst[at:], first)
		binary.LittleEndian.PutUint32(dst[at+4:], last)
	}
}

func foldOnce(p *hostshm.Port, rank, n int) error {
	room, err := p.Room(n, patient)
	if err != nil || room != n {
		return fmt.Errorf("room is %d: %w", room, err)
	}
	own := make([]byte, n)
	for at := 0; at < n; at += 8 {
		binary.LittleEndian.PutUint32(own[at:], uint32(rank))
		binary.LittleEndian.PutUint32(own[at+4:], uint32(rank))
	}
	if err := p.Enter(patient); err != nil {
		return err
	}
	if m := p.Fold(own, join); m != nil {
		return fmt.Errorf("mismatch with rank %d", m.Rank)
	}
	if err := p.Await(patient); err != nil {
		return err
	}
	want := binary.LittleEndian.AppendUint32(make([]byte, 4), uint32(p.Members()-1))
	if got := p.Result(n); !bytes.Equal(got, bytes.Repeat(want, n/8)) {
		return fmt.Errorf("rank %d: %d bytes are not the fold of all ranks in order", rank, n)
	}
	return nil
}

func TestAFoldHasAllContributionsInTheOrderOfRanks(t *testing.T) {
	for _, members := range []int{2, 3, 7, 8, 9, 17, 64, 65} {
		t.Run(strconv.Itoa(members), func(t *testing.T) {
			ports := share(t, members)
			require.NoError(t, all(ports, func(rank int, p *hostshm.Port) error {
				for round, n := range []int{0, 8, 96, 104, 4096, 4104, 65536, 65544, 200000, 8} {
					p.Begin(hostshm.Call{Seq: uint64(round + 1)})
					if err := foldOnce(p, rank, n); err != nil {
						return err
					}
				}
				return nil
			}))
			assert.Equal(t, -1, ports[0].Missing(anyone))
		})
	}
}

// Rounds of both kinds follow each other at random, and members leave those of which they need nothing at once.
func TestRoundsOfAllKindsFollowEachOther(t *testing.T) {
	const rounds = 300
	for _, members := range []int{2, 5, 12} {
		ports := share(t, members)
		require.NoError(t, all(ports, func(rank int, p *hostshm.Port) error {
			plan := rand.New(rand.NewPCG(1, uint64(members))) // the same at all
			for round := range rounds {
				p.Begin(hostshm.Call{Seq: uint64(round + 1)})
				var err error
				switch kind, root, n := plan.IntN(4), plan.IntN(members), 8*(1+plan.IntN(600)); kind {
				case 0:
					err = foldOnce(p, rank, n)
				case 1:
					err = publishOnce(p, rank, root, n, byte(round))
				case 2:
					err = collectOnce(p, rank, root, n, byte(round), rank == root)
				default:
					err = collectOnce(p, rank, root, n, byte(round), true)
				}
				if err != nil {
					return fmt.Errorf("round %d: %w", round, err)
				}
			}
			return nil
		}))
	}
}

func publishOnce(p *hostshm.Port, rank, root, n int, value byte) error {
	n, err := p.Room(n, patient)
	if err != nil {
		return err
	}
	if err := p.Enter(patient); err != nil {
		return err
	}
	if rank == root {
		for r := range p.Members() {
			copy(p.Slot(r, n), bytes.Repeat([]byte{value + byte(r)}, n))
		}
		p.Publish()
	} else {
		if err := p.Await(patient); err != nil {
			return err
		}
		if got := p.Slot(rank, n); !bytes.Equal(got, bytes.Repeat([]byte{value + byte(rank)}, n)) {
			return fmt.Errorf("rank %d did not get what was published", rank)
		}
		if m := p.Check(root); m != nil {
			return fmt.Errorf("rank %d takes rank %d for one in another call", rank, m.Rank)
		}
	}
	if m := p.Arrive(); m != nil {
		return fmt.Errorf("mismatch with rank %d", m.Rank)
	}
	return nil
}

func collectOnce(p *hostshm.Port, rank, _, n int, value byte, waits bool) error {
	n, err := p.Room(n, patient)
	if err != nil {
		return err
	}
	if err := p.Enter(patient); err != nil {
		return err
	}
	copy(p.Slot(rank, n), bytes.Repeat([]byte{value + byte(rank)}, n))
	if m := p.Arrive(); m != nil {
		return fmt.Errorf("mismatch with rank %d", m.Rank)
	}
	if !waits {
		return nil
	}
	if err := p.Await(patient); err != nil {
		return err
	}
	for r := range p.Members() {
		if got := p.Slot(r, n); !bytes.Equal(got, bytes.Repeat([]byte{value + byte(r)}, n)) {
			return fmt.Errorf("rank %d did not get what rank %d gave", rank, r)
		}
	}
	return nil
}

func TestAnotherCallIsNoticedByTheLastToArrive(t *testing.T) {
	const members, odd = 20, 11
	ports := share(t, members)
	stop := errors.New("stopped")
	found := make([]*hostshm.Mismatch, members)
	err := all(ports, func(rank int, p *hostshm.Port) error {
		c := hostshm.Call{Seq: 3, What: [2]uint64{7, 8}}
		if rank == odd {
			c.What[1]++
		}
		p.Begin(c)
		if err := p.Enter(patient); err != nil {
			return err
		}
		if found[rank] = p.Arrive(); found[rank] != nil {
			p.End()
			return nil
		}
		return p.Await(func() (time.Duration, error) { return 0, stop })
	})
	if err != nil && !errors.Is(err, stop) {
		require.ErrorIs(t, err, hostshm.ErrEnded)
	}
	var m *hostshm.Mismatch
	for _, f := range found {
		if f != nil {
			m = f
		}
	}
	require.NotNil(t, m)
	require.Equal(t, odd, ports[0].Differing().Rank)
	require.Nil(t, func() *hostshm.Mismatch { // of a call that nobody else is in
		ports[1].Begin(hostshm.Call{Seq: 4})
		return ports[1].Differing()
	}())
}

func TestOneThatWaitsLooksAroundAndIsFreedByTheEnd(t *testing.T) {
	ports := share(t, 3)
	for _, p := range ports {
		p.Begin(hostshm.Call{Seq: 1})
	}
	gaveUp := errors.New("gave up")
	require.NoError(t, ports[0].Enter(patient))
	require.Nil(t, ports[0].Arrive())
	looked := 0
	err := ports[0].Await(func() (time.Duration, error) {
		assert.Equal(t, 1, ports[0].Missing(anyone))
		if looked++; looked == 3 {
			return 0, gaveUp
		}
		return time.Millisecond, nil
	})
	require.ErrorIs(t, err, gaveUp)
	before := ports[0].Progress()
	require.NoError(t, ports[1].Enter(patient))
	require.Nil(t, ports[1].Arrive())
	assert.NotEqual(t, before, ports[0].Progress())
	assert.Equal(t, 2, ports[0].Missing(anyone))
	ended := make(chan error, 1)
	waits := make(chan struct{}, 10)
	go func() {
		ended <- ports[0].Await(func() (time.Duration, error) {
			select {
			case waits <- struct{}{}:
			default:
			}
			return time.Minute, nil
		})
	}()
	<-waits // it sleeps for a minute next
	ports[2].End()
	require.ErrorIs(t, <-ended, hostshm.ErrEnded)
	assert.True(t, ports[1].Ended())
}

func TestANudgeMakesOneThatWaitsLookAroundAtOnce(t *testing.T) {
	ports := share(t, 2)
	ports[0].Begin(hostshm.Call{Seq: 1})
	require.NoError(t, ports[0].Enter(patient))
	require.Nil(t, ports[0].Arrive())
	looked := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- ports[0].Await(func() (time.Duration, error) {
			looked <- struct{}{}
			return time.Hour, nil // longer than the test may take
		})
	}()
	<-looked
	for range 3 {
		ports[0].Nudge()
		<-looked
	}
	ports[1].End()
	require.ErrorIs(t, <-ended, hostshm.ErrEnded)
}

func TestPatienceGrowsWithTheMembersWithinBounds(t *testing.T) {
	before := time.Duration(0)
	for _, members := range []int{2, 8, 64, 400, hostshm.MaxMembers} {
		s, err := hostshm.Open(filepath.Join(t.TempDir(), "segment"), members)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, s.Patience(), max(before, 200*time.Microsecond))
		assert.LessOrEqual(t, s.Patience(), 50*time.Millisecond)
		before = s.Patience()
		require.NoError(t, s.Close())
	}
}

// Members of one process that all linger must let each other, and the rest of the process, go on.
func TestManyMembersOfOneProcessDoNotKeepEachOtherWaiting(t *testing.T) {
	for _, members := range []int{3, 40} {
		s, err := hostshm.Open(filepath.Join(t.TempDir(), "segment"), members)
		require.NoError(t, err)
		ports := make([]*hostshm.Port, members)
		for rank := range ports {
			ports[rank], err = s.Port(rank)
			require.NoError(t, err)
		}
		require.NoError(t, all(ports, func(rank int, p *hostshm.Port) error {
			for round := range 100 {
				p.Begin(hostshm.Call{Seq: uint64(round + 1)})
				if err := foldOnce(p, rank, 8); err != nil {
					return err
				}
			}
			return nil
		}))
		require.NoError(t, s.Close())
	}
}

func TestOpenRefusesWhatItCannotTrust(t *testing.T) {
	dir := t.TempDir()
	for _, members := range []int{-1, 1, hostshm.MaxMembers + 1} {
		_, err := hostshm.Open(filepath.Join(dir, "s"), members)
		require.ErrorContains(t, err, "want 2 to 2048")
	}
	long := filepath.Join(dir, "long")
	require.NoError(t, os.WriteFile(long, nil, 0o600))
	require.NoError(t, os.Truncate(long, 1<<30))
	_, err := hostshm.Open(long, 2)
	require.ErrorContains(t, err, "it has 1073741824 bytes, want")
	open := filepath.Join(dir, "open")
	require.NoError(t, os.WriteFile(open, nil, 0o600))
	require.NoError(t, os.Chmod(open, 0o644))
	_, err = hostshm.Open(open, 2)
	require.ErrorContains(t, err, "this user's alone")
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(long, link))
	_, err = hostshm.Open(link, 2)
	require.Error(t, err)
	_, err = hostshm.Open(filepath.Join(dir, "none", "s"), 2)
	require.ErrorIs(t, err, os.ErrNotExist)
	a, err := hostshm.Open(filepath.Join(dir, "a"), 2)
	require.NoError(t, err)
	b, err := hostshm.Open(filepath.Join(dir, "b"), 2)
	require.NoError(t, err)
	assert.NotEqual(t, a.File(), b.File())
	require.NoError(t, errors.Join(a.Close(), b.Close()))
}
