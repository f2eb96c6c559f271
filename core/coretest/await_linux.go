// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package coretest

import (
	"errors"

	"golang.org/x/sys/unix"
)

// awaitStop waits until all threads of a child have stopped, which a signal does not.
func awaitStop(pid int) error {
	for {
		// WNOWAIT leaves the news to others, and without WEXITED it is not the child's end that is waited for.
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
