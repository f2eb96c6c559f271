// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package leakcheck

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

const fdDir = "/proc/self/fd"

// descriptors returns the open descriptors of this process. One that was closed and opened again under the same number is a
// new one if its target differs; sockets and pipes differ by their inode.
func descriptors() (map[string]string, error) {
	if err := startPoller(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(fdDir)
	if err != nil {
		return nil, err
	}
	own := profiles()
	found := make(map[string]string, len(entries))
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(fdDir, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the descriptor ReadDir itself used, or one closed since
		}
		if err != nil {
			return nil, err
		}
		if !slices.Contains(own, target) {
			description := entry.Name() + " -> " + target
			found[description] = description
		}
	}
	return found, nil
}

// startPoller makes the runtime open the epoll and event descriptors that it keeps until the process ends, so that they are
// in the first snapshot and every later descriptor of these kinds counts.
func startPoller() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	return errors.Join(r.Close(), w.Close())
}

// profiles returns the files that the testing package opens on request during a run and does not close.
func profiles() []string {
	var paths []string
	for _, name := range []string{"test.cpuprofile", "test.trace"} {
		f := flag.Lookup(name)
		if f == nil || f.Value.String() == "" {
			continue
		}
		path := f.Value.String()
		if dir := flag.Lookup("test.outputdir"); dir != nil && !filepath.IsAbs(path) {
			path = filepath.Join(dir.Value.String(), path)
		}
		if abs, err := filepath.Abs(path); err == nil {
			paths = append(paths, abs)
		}
	}
	return paths
}
