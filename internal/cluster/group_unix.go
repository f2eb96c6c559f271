// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cluster

import "syscall"

// ownGroup keeps a terminal's Ctrl-C away from the nodes: the driver ends them in order.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
