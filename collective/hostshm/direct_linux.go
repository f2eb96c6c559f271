// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package hostshm

import (
	"encoding/binary"
	"errors"
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

// readBytes is how much is read at once, so that a long read does not hold up the end of its process.
const readBytes = 16 << 20

// read reads memory of a rank's process, and behind it the token: the process was there to the end.
func (p *Port) read(rank int, dst []byte, at uint64) error {
	o, r := &p.line(rank).origin, &p.reader
	defer func() { r.local = [2]unix.Iovec{} }()
	for {
		part := dst[:min(len(dst), readBytes)]
		r.local = [2]unix.Iovec{{Base: unsafe.SliceData(part)}, {Base: &r.found[0]}}
		r.local[0].SetLen(len(part))
		r.local[1].SetLen(tokenBytes)
		r.remote = [2]unix.RemoteIovec{{Base: uintptr(at), Len: len(part)}, {Base: uintptr(o.at.Load()), Len: tokenBytes}}
		n, err := unix.ProcessVMReadv(int(o.process.Load()), r.local[:], r.remote[:], 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ESRCH):
			return fmt.Errorf("process %d: %w", o.process.Load(), ErrGone)
		case errors.Is(err, unix.EFAULT):
			return fmt.Errorf("process %d: its memory cannot be read, or the caller's not written: %w", o.process.Load(), err)
		case err != nil:
			return fmt.Errorf("process %d: %w", o.process.Load(), err)
		case n != len(part)+tokenBytes:
			return fmt.Errorf("process %d: %d of %d bytes", o.process.Load(), n, len(part)+tokenBytes)
		}
		for i := range o.token {
			if binary.NativeEndian.Uint64(r.found[8*i:]) != o.token[i].Load() {
				return fmt.Errorf("process %d, which is another now: %w", o.process.Load(), ErrGone)
			}
		}
		dst, at = dst[len(part):], at+uint64(len(part))
		if len(dst) == 0 {
			return nil
		}
	}
}

func processID() uint64 { return uint64(os.Getpid()) }
