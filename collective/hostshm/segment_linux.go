// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package hostshm

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapping is a file that is mapped.
type mapping struct {
	file *os.File
	pipe int // all who wait are told of events through it, see bell
	base unsafe.Pointer
	size int

	mu    sync.Mutex
	bells []*os.File
}

// open maps a file of a size, of which the first bytes are backed with memory. The file is made if it is missing; any number of
// processes may do this at once.
func open(path string, size, backed int) (_ *mapping, id File, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, File{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, File{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Getuid() || st.Mode&0o077 != 0 {
		return nil, File{}, errors.New("it is no file of this user's alone")
	}
	if st.Size > int64(size) {
		return nil, File{}, fmt.Errorf("it has %d bytes, want %d", st.Size, size)
	}
	if err := unix.Ftruncate(int(f.Fd()), int64(size)); err != nil {
		return nil, File{}, err
	}
	m := &mapping{file: f, size: size, pipe: -1}
	if err := m.back(0, backed); err != nil {
		return nil, File{}, err
	}
	var bell uint64
	if m.pipe, bell, err = openPipe(path + bellSuffix); err != nil {
		return nil, File{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Close(m.pipe))
		}
	}()
	m.base, err = unix.MmapPtr(int(f.Fd()), 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, File{}, err
	}
	return m, File{Boot: bootID(), Device: uint64(st.Dev), Inode: st.Ino, Bell: bell}, nil //nolint:unconvert // the type of Dev depends on the system
}

// back makes sure that a range has memory, so that no access to it can fail.
func (m *mapping) back(from, to int) error {
	for {
		err := unix.Fallocate(int(m.file.Fd()), 0, int64(from), int64(to-from))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (m *mapping) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	for _, b := range m.bells {
		err = errors.Join(err, b.Close())
	}
	return errors.Join(err, unix.MunmapPtr(m.base, uintptr(m.size)), unix.Close(m.pipe), m.file.Close())
}

// bootID tells machines, and their starts, apart.
func bootID() uint64 {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return 0
	}
	var id uint64 = 14695981039346656037
	for _, c := range b {
		id = (id ^ uint64(c)) * 1099511628211
	}
	return id
}

// giveWay lets another thread of the machine run, without giving up the processor of the Go scheduler.
func giveWay() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
