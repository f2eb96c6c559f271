// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package leakcheck

import (
	"runtime"
	"strings"
)

// harmless are functions of the standard library whose goroutines live as long as the process once something started them.
func harmless() []string {
	return []string{
		"os/signal.loop(",        // from the first signal.Notify on
		"os/signal.signal_recv(", // the same goroutine, seen in its system call
		"runtime.ensureSigM",     // its companion inside the runtime
	}
}

// goroutines returns the stacks of all goroutines but the calling one, by their number, which the runtime never reuses.
func goroutines() map[string]string {
	buf := make([]byte, 64<<10)
	n := runtime.Stack(buf, true)
	for n == len(buf) {
		buf = make([]byte, 2*len(buf))
		n = runtime.Stack(buf, true)
	}
	stacks := strings.Split(strings.TrimSpace(string(buf[:n])), "\n\n")
	found := make(map[string]string, len(stacks))
	for _, stack := range stacks[1:] { // the first is this goroutine
		header, _, _ := strings.Cut(stack, "\n")
		id, _, _ := strings.Cut(strings.TrimPrefix(header, "goroutine "), " ")
		if !isHarmless(stack) {
			found[id] = strings.TrimPrefix(stack, "goroutine ")
		}
	}
	return found
}

func isHarmless(stack string) bool {
	for _, function := range harmless() {
		if strings.Contains(stack, "\n"+function) {
			return true
		}
	}
	return false
}
