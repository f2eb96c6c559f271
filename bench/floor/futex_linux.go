// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func sharedKinds() []kind {
	return []kind{{"futex", "one shared word, one futex wake for all, a shared countdown", openFutex, serveFutex}}
}

// shared lies in memory that all processes map. Each word has a cache line of its own.
type shared struct {
	round   atomic.Uint32 // everybody waits for it to change; stop ends the children
	_       [60]byte
	missing atomic.Int32 // of the answers to this round
	_       [60]byte
	done    atomic.Uint32 // the last round that all have answered
	_       [60]byte
}

const (
	stop = math.MaxUint32

	// The operations of futex(2) that this needs; not the private ones, which are for one process.
	futexWait, futexWake = 0, 1

	// orphanCheck is how often a child that waits looks whether its parent is gone.
	orphanCheck = time.Second
)

func openFutex(n int) (*others, error) {
	s, file, err := newShared()
	if err != nil {
		return nil, err
	}
	var children []*exec.Cmd
	o := &others{round: s.reach(n), close: func() error {
		s.round.Store(stop)
		err := futex(&s.round, futexWake, math.MaxInt32, 0)
		return errors.Join(err, await(children), s.unmap())
	}}
	for range n {
		child, err := spawn("futex", file)
		if err != nil {
			return nil, errors.Join(err, o.close(), file.Close())
		}
		children = append(children, child)
	}
	if err := file.Close(); err != nil {
		return nil, joinClose(err, o)
	}
	return o, nil
}

func newShared() (*shared, *os.File, error) {
	fd, err := unix.MemfdCreate("floor", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, err
	}
	file := os.NewFile(uintptr(fd), "floor")
	if err := file.Truncate(int64(unsafe.Sizeof(shared{}))); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	s, err := mapShared(fd)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return s, file, nil
}

func mapShared(fd int) (*shared, error) {
	p, err := unix.MmapPtr(fd, 0, nil, unsafe.Sizeof(shared{}), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return (*shared)(p), err
}

func (s *shared) unmap() error { return unix.MunmapPtr(unsafe.Pointer(s), unsafe.Sizeof(*s)) }

// reach returns a round that wakes n processes and waits for the last of them.
func (s *shared) reach(n int) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		began := time.Now()
		s.missing.Store(int32(n))
		round := s.round.Add(1)
		if err := futex(&s.round, futexWake, math.MaxInt32, 0); err != nil {
			return 0, err
		}
		submit := time.Since(began)
		for done := s.done.Load(); done != round; done = s.done.Load() {
			if err := futex(&s.done, futexWait, done, patience); err != nil {
				return 0, fmt.Errorf("%d of %d processes did not answer: %w", s.missing.Load(), n, err)
			}
		}
		return submit, nil
	}
}

func serveFutex() error {
	s, err := mapShared(childFD)
	if err != nil {
		return err
	}
	parent := os.Getppid()
	for answered := uint32(0); ; {
		round := s.round.Load()
		if round == stop {
			return s.unmap()
		}
		if round == answered {
			err := futex(&s.round, futexWait, answered, orphanCheck)
			if errors.Is(err, unix.ETIMEDOUT) && os.Getppid() != parent {
				return nil
			}
			if err != nil && !errors.Is(err, unix.ETIMEDOUT) {
				return err
			}
			continue
		}
		answered = round
		if s.missing.Add(-1) > 0 {
			continue
		}
		s.done.Store(round)
		if err := futex(&s.done, futexWake, 1, 0); err != nil {
			return err
		}
	}
}

// futex waits while the word has the value, or wakes as many as the value says. A wait may end without reason, and ends with
// ETIMEDOUT after the time that it is given.
func futex(word *atomic.Uint32, operation int, value uint32, timeout time.Duration) error {
	ts := unix.NsecToTimespec(timeout.Nanoseconds())
	_, _, errno := unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), uintptr(operation), uintptr(value),
		uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno == 0 || errno == unix.EINTR || errno == unix.EAGAIN {
		return nil
	}
	return os.NewSyscallError("futex", errno)
}
