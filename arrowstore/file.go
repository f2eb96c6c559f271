// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

var errNoPunch = errors.New("file system cannot punch holes")

// writeZeros allocates a range by writing it, for systems and file systems without fallocate. The range must hold
// nothing yet.
func writeZeros(f *os.File, off, n int64) error {
	zeros := make([]byte, min(n, 1<<20))
	for n > 0 {
		k, err := f.WriteAt(zeros[:min(n, int64(len(zeros)))], off)
		if err != nil {
			return err
		}
		off, n = off+int64(k), n-int64(k)
	}
	return nil
}

// noSpace turns the system's ways of saying that a file system is full into ErrNoSpace.
func noSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// mapFile maps the first size bytes of a file, shared with all who map it.
func mapFile(f *os.File, size int64, prot int) ([]byte, error) { return mapRange(f, 0, size, prot) }

// mapRange maps bytes of a file from off on, which is a multiple of the system's page size.
func mapRange(f *os.File, off, size int64, prot int) ([]byte, error) {
	return mapDescriptor(int(f.Fd()), f.Name(), off, size, prot)
}

func mapDescriptor(fd int, name string, off, size int64, prot int) ([]byte, error) {
	if size <= 0 || int64(int(size)) != size {
		return nil, fmt.Errorf("map %d bytes of %s: %w", size, name, ErrTooLarge)
	}
	b, err := unix.Mmap(fd, off, int(size), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of %s: %w", size, name, err)
	}
	return b, nil
}

func unmap(b []byte) error {
	if b == nil {
		return nil
	}
	if err := unix.Munmap(b); err != nil {
		return fmt.Errorf("unmap: %w", err)
	}
	return nil
}

func roundUp[T int | int64 | uint64](n, to T) T { return (n + to - 1) / to * to }
