// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package lane

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxVector is the largest number of buffers that one call takes (IOV_MAX).
const maxVector = 1024

// rawOf returns the socket of a connection that carries bytes as they are, or nil.
func rawOf(nc net.Conn) syscall.RawConn {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

func writev(fd uintptr, q [][]byte) (int, error) {
	for {
		n, err := unix.Writev(int(fd), q[:min(len(q), maxVector)])
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), err
		}
	}
}

func readv(fd uintptr, q [][]byte) (int, error) {
	for {
		n, err := unix.Readv(int(fd), q[:min(len(q), maxVector)])
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), err
		}
	}
}

// again says that a call would have had to wait.
func again(err error) bool { return errors.Is(err, unix.EAGAIN) }
