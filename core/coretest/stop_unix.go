// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package coretest

import (
	"errors"
	"syscall"
	"testing"

	"github.com/tutti-go/tutti/core"
)

// StopNode stops the process of a node as SIGSTOP does: it stays connected and does nothing. It is continued
// when the test ends, before the system is shut down if Start was called first.
func StopNode(tb testing.TB, sys *core.System, node uint32) {
	tb.Helper()
	p := process(tb, sys, node)
	if err := errors.Join(p.Signal(syscall.SIGSTOP), awaitStop(p.Pid)); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = p.Signal(syscall.SIGCONT) // it may have ended since
		if err := p.Release(); err != nil {
			tb.Error(err)
		}
	})
}
