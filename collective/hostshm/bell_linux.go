// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package hostshm

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bell is what a member waits by: a pipe with a name, which all members open and the runtime's poller watches. Whoever rings writes a byte, and the
// kernel tells every process that watches, as a futex would tell every thread. But who sleeps by a futex holds a thread and, on waking, has to find
// a processor of the Go scheduler again, which wakes further threads. On 2 cores a barrier of 128 processes took 3.1 ms so, and takes 1.1 ms with the
// pipe; of 32, 193 us and 84 (collectives -way processes -members 32,128 -operations barrier -modes reused, one run after the other).
type bell struct {
	file  *os.File
	raw   syscall.RawConn
	word  *atomic.Uint32
	value uint32
	rung  func(uintptr) bool // made once
	until time.Time          // the deadline of file
}

// bellSuffix is what the name of the pipe ends with, behind the name of the segment.
const bellSuffix = ".bell"

// openPipe makes or opens the pipe, and returns its inode.
func openPipe(path string) (fd int, inode uint64, err error) {
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, 0, err
	}
	fd, err = unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, 0, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && (st.Mode&unix.S_IFMT != unix.S_IFIFO || int(st.Uid) != os.Getuid() || st.Mode&0o077 != 0) {
		err = fmt.Errorf("%s is no pipe of this user's alone", path)
	}
	if err != nil {
		return -1, 0, errors.Join(err, unix.Close(fd))
	}
	return fd, st.Ino, nil
}

// hear makes b ring for one member. It goes with the mapping.
func (m *mapping) hear(b *bell, word *atomic.Uint32) error {
	fd, err := unix.FcntlInt(uintptr(m.pipe), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	b.file, b.word = os.NewFile(uintptr(fd), "bell"), word
	if b.raw, err = b.file.SyscallConn(); err == nil {
		err = b.file.SetReadDeadline(time.Time{}) // which it has if the poller watches it
	}
	if err != nil {
		return errors.Join(err, b.file.Close())
	}
	b.rung = func(uintptr) bool { return b.word.Load() != b.value }
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bells = append(m.bells, b.file)
	return nil
}

// await waits while the word has the value, at most until a time. It may return early: the deadline of a wait before is left in place where it is
// earlier, for with a new one the runtime wakes a thread to look after it.
func (b *bell) await(value uint32, until time.Time) {
	b.value = value
	if b.until.After(until) || !b.until.After(time.Now()) {
		b.until = until
		_ = b.file.SetReadDeadline(until) // it could, once
	}
	_ = b.raw.Read(b.rung) // at worst it returns early
}

// strike tells those who wait. It first takes out what was written before, so that there is room; a process that is told in between
// finds the pipe empty, but is told again.
func (m *mapping) strike() {
	var old [64]byte
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(m.pipe), uintptr(unsafe.Pointer(&old)), uintptr(len(old)))
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(m.pipe), uintptr(unsafe.Pointer(&old)), 1)
}
