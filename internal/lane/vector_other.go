// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package lane

import (
	"errors"
	"net"
	"syscall"
)

// rawOf says that everything is copied.
func rawOf(net.Conn) syscall.RawConn { return nil }

func writev(uintptr, [][]byte) (int, error) { return 0, errors.ErrUnsupported }

func readv(uintptr, [][]byte) (int, error) { return 0, errors.ErrUnsupported }

func again(error) bool { return false }
