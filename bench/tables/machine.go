// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// printHead says what was measured on, so that figures are never without it.
func printHead(ctx context.Context, w io.Writer, nodes int) error {
	command := append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...)
	_, err := fmt.Fprintf(w, "# %s, %s, %d cores, %d nodes\n# %s, %s, commit %s\n# %s\n",
		time.Now().UTC().Format(time.DateOnly), processor(), runtime.NumCPU(), nodes,
		kernel(), runtime.Version(), commit(ctx), strings.Join(command, " "))
	return err
}

// processor returns the name of the processor, where the system tells.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer func() { _ = f.Close() }() // it was read only
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, found := strings.Cut(lines.Text(), ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return runtime.GOOS
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

// commit returns the revision that the program was built from, or the one that is checked out if the build did not note it.
func commit(ctx context.Context) string {
	var revision, modified string
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value[:min(len(s.Value), 12)]
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = " and changes"
			}
		}
	}
	if revision != "" {
		return revision + modified
	}
	head, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(head))
}
