// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package hostshm

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reader is what a read takes, made once.
type reader struct {
	local  [2]unix.Iovec
	remote [2]unix.RemoteIovec
	found  [tokenBytes]byte
}

// readBytes is how much is read at once. The scheduler of Go is not told of a read, as it is not of a copy, so that it does not hand the member's place to
// another thread in the middle; so a read must be over about as soon as a copy is.
const readBytes = 512 << 10

// read reads memory of a rank's process, and behind it the token: the process was there to the end.
func (p *Port) read(rank int, dst []byte, at uint64) error {
	o, r := &p.line(rank).origin, &p.reader
	defer func() { r.local = [2]unix.Iovec{} }()
	for {
		part := dst[:min(len(dst), readBytes)]
		dst = dst[len(part):]
		last := len(dst) == 0
		if err := p.readOnce(o, part, at, last); err != nil || last {
			return err
		}
		at += uint64(len(part))
	}
}

// readOnce reads as much as is read at once, with the token if it is the last.
func (p *Port) readOnce(o *origin, part []byte, at uint64, last bool) error {
	r, process, want, vectors := &p.reader, o.process.Load(), len(part), uintptr(1)
	r.local = [2]unix.Iovec{{Base: unsafe.SliceData(part)}, {Base: &r.found[0]}}
	r.local[0].SetLen(len(part))
	r.local[1].SetLen(tokenBytes)
	r.remote = [2]unix.RemoteIovec{{Base: uintptr(at), Len: len(part)}, {Base: uintptr(o.at.Load()), Len: tokenBytes}}
	if last {
		want, vectors = want+tokenBytes, 2
	}
	n, errno := uintptr(0), unix.EINTR
	for errno == unix.EINTR {
		n, _, errno = unix.RawSyscall6(unix.SYS_PROCESS_VM_READV, uintptr(process), uintptr(unsafe.Pointer(&r.local)), vectors,
			uintptr(unsafe.Pointer(&r.remote)), vectors, 0)
	}
	switch {
	case errno == unix.ESRCH:
		return fmt.Errorf("process %d: %w", process, ErrGone)
	case errno == unix.EFAULT:
		return fmt.Errorf("process %d: its memory cannot be read, or the caller's not written: %w", process, errno)
	case errno != 0:
		return fmt.Errorf("process %d: %w", process, errno)
	case int(n) != want:
		return fmt.Errorf("process %d: %d of %d bytes", process, n, want)
	}
	for i := range o.token {
		if last && binary.NativeEndian.Uint64(r.found[8*i:]) != o.token[i].Load() {
			return fmt.Errorf("process %d, which is another now: %w", process, ErrGone)
		}
	}
	return nil
}

func processID() uint64 { return uint64(os.Getpid()) }
