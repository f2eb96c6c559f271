// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package main

import "golang.org/x/sys/unix"

// sharedKinds returns nothing: other systems have no futex that processes share and programs may call.
func sharedKinds() []kind { return nil }

func read(fd int, b []byte) (int, error) { return unix.Read(fd, b) }

func write(fd int, b []byte) (int, error) { return unix.Write(fd, b) }
