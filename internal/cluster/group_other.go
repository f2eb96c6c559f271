// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package cluster

import "syscall"

func ownGroup() *syscall.SysProcAttr { return nil }
