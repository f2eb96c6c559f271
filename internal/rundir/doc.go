// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package rundir keeps directories for sockets and shared memory that vanish with their users, however these end. Everybody
// who uses a directory holds a shared lock on a file in it, which the kernel releases when a process dies: a directory that can be
// locked exclusively belongs to nobody, and whoever finds it removes it.
//
//	d, err := rundir.New("/dev/shm/app-1000", slog.Default()) // removes what dead processes left there
//	defer d.Close()
//	same, err := rundir.Join(d.Path) // in another process
//
// New may be called by many processes at once. A Dir is for one goroutine.
package rundir
