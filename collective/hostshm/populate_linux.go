// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package hostshm

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// populatedBytes is how much memory the system is asked for at once, so that it does not hold up the rest of the process.
const populatedBytes = 1 << 20

// Populate makes the system back memory of this process with pages, if the page in its middle was never used; it changes nothing in it. Memory that is
// about to be written would get its pages one by one otherwise, each by a fault: on a virtual machine 1 MiB took 295 us so, and 116 us at once; to ask about the page takes 0.7 us. What the
// system cannot do is left to the faults. It is of use on Linux only.
func Populate(b []byte) {
	if len(b) == 0 {
		return
	}
	page := uintptr(os.Getpagesize())
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	middle, present := (at+uintptr(len(b)/2))&^(page-1), byte(0)
	_, _, errno := unix.RawSyscall(unix.SYS_MINCORE, middle, page, uintptr(unsafe.Pointer(&present)))
	if errno != 0 || present&1 != 0 {
		return
	}
	for from, to := at&^(page-1), at+uintptr(len(b)); from < to; from += populatedBytes {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, min(to-from, populatedBytes), unix.MADV_POPULATE_WRITE); errno != 0 {
			return
		}
	}
}
