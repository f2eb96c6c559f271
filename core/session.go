// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/tutti-go/tutti/internal/rundir"
)

// A system has a directory on this machine, which holds its sockets and the object store's segments. The driver and its nodes all hold it;
// see package rundir.

func socketPath(dir string, node uint32) string {
	return filepath.Join(dir, fmt.Sprintf("n%d.sock", node))
}

// EnvRunDir names the environment variable that overrides where systems keep their sockets and shared memory on this machine. The
// default is a directory of the user's own in /dev/shm, or among the temporary files where there is none. The path
// should be short, because that of a socket is limited to about 100 bytes.
const EnvRunDir = rundir.EnvBase

// joinedDir is the directory of a system on a machine that its driver is not on; all its nodes there share it. Below it the hosts that
// exist in name only have stores of their own, but not directories: name is empty for the machine's own host.
func joinedDir(system uint64, name string) string {
	dir := fmt.Sprintf("j%016x", system)
	if name != "" {
		dir += "-" + name
	}
	return filepath.Join(rundir.Base(), dir)
}

// newRunDir makes the directory of a new system, and removes those of dead ones.
func newRunDir(log *slog.Logger) (*rundir.Dir, error) {
	d, err := rundir.New(rundir.Base(), log)
	if errors.Is(err, rundir.ErrUnsafe) {
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return d, err
}
