// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package hostshm_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tutti-go/tutti/collective/hostshm"
)

// mapped returns memory that was never used, by pages.
func mapped(t *testing.T, pages, protection int) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, pages*os.Getpagesize(), protection, unix.MAP_PRIVATE|unix.MAP_ANON)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(b)) })
	return b
}

// present returns how many of the pages of memory have been backed.
func present(t *testing.T, b []byte) int {
	t.Helper()
	vec := make([]byte, len(b)/os.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&vec[0])))
	require.Zero(t, errno)
	return bytes.Count(vec, []byte{1})
}

func TestMemoryThatWasNeverUsedIsBackedAtOnce(t *testing.T) {
	const pages = 600 // more than are asked for at once
	page := os.Getpagesize()
	b := mapped(t, pages, unix.PROT_READ|unix.PROT_WRITE)
	b[0], b[3*page] = 5, 7
	inner := b[page+10 : 500*page+1] // begins and ends within pages
	hostshm.Populate(inner)
	if present(t, b) == 2 {
		t.Skip("this system cannot: it is older than Linux 5.14")
	}
	require.Equal(t, 1+500, present(t, b), "the pages of what was asked for, and the first")
	require.Equal(t, []byte{5, 0, 7}, []byte{b[0], b[page], b[3*page]})
}

func TestMemoryThatIsInUseIsLeftAlone(t *testing.T) {
	const pages = 9
	b := mapped(t, pages, unix.PROT_READ|unix.PROT_WRITE)
	b[pages/2*os.Getpagesize()] = 1
	hostshm.Populate(b)
	require.Equal(t, 1, present(t, b))
}

func TestMemoryThatCannotBeBackedIsLeftAlone(t *testing.T) {
	hostshm.Populate(nil)
	b := mapped(t, 8, unix.PROT_READ)
	hostshm.Populate(b)
	require.Zero(t, b[0])
}

// What one member gives may be longer than a slot, in rounds that others follow at once.
func TestThePublisherMayUseTheSlotsOfAll(t *testing.T) {
	const members, n = 100, 1 << 20
	ports := share(t, members)
	require.NoError(t, all(ports, func(rank int, p *hostshm.Port) error {
		slot, err := p.Room(n, patient)
		if err != nil || slot >= n/2 {
			return fmt.Errorf("a slot has %d bytes: %w", slot, err)
		}
		room, err := p.RoomWide(3*n, patient)
		if err != nil || room != n {
			return fmt.Errorf("all slots have %d bytes: %w", room, err)
		}
		for round := range 4 {
			if err := p.Enter(patient); err != nil {
				return err
			}
			want := bytes.Repeat([]byte{byte(round + 1), 2, 3, byte(round)}, n/4)
			if rank == round {
				copy(p.Wide(n), want)
				p.Publish()
			} else if err := p.Await(patient); err != nil {
				return err
			}
			if !bytes.Equal(p.Wide(n), want) {
				return fmt.Errorf("rank %d reads something else in round %d", rank, round)
			}
			if m := p.Arrive(); m != nil {
				return fmt.Errorf("mismatch with rank %d", m.Rank)
			}
		}
		return nil
	}))
}
