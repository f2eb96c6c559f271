// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxVector is the largest number of buffers that one writev call takes (IOV_MAX).
const maxVector = 1024

// tryWrite writes as much of q as the socket takes at once and returns how much that was.
func tryWrite(raw syscall.RawConn, q net.Buffers) (int, error) {
	if raw == nil {
		return 0, nil
	}
	var n int
	var werr error
	err := raw.Write(func(fd uintptr) bool {
		for {
			if len(q) == 1 {
				n, werr = unix.Write(int(fd), q[0])
			} else {
				n, werr = unix.Writev(int(fd), q[:min(len(q), maxVector)])
			}
			if !errors.Is(werr, unix.EINTR) {
				return true
			}
		}
	})
	if errors.Is(werr, unix.EAGAIN) {
		werr = nil
	}
	return max(n, 0), errors.Join(err, werr)
}
