// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// sessionDir is the directory of one system on this machine. It holds the sockets and the object store's segments. The driver
// and its nodes each hold a shared lock on it, which the kernel releases when they die: a directory that
// can be locked exclusively belongs to nobody, and whoever finds it removes it.
type sessionDir struct {
	path string
	lock *os.File
}

const lockName = "lock"

func controlPath(dir string) string { return filepath.Join(dir, "control.sock") }
func socketPath(dir string, node uint32) string {
	return filepath.Join(dir, fmt.Sprintf("n%d.sock", node))
}
func storePath(dir string) string { return filepath.Join(dir, "store") }

// EnvRunDir names the environment variable that overrides where systems keep their sockets and shared memory on this machine. The
// default is a directory of the user's own in /dev/shm, or among the temporary files where there is none. The path
// should be short, because that of a socket is limited to about 100 bytes.
const EnvRunDir = "TUTTI_RUNDIR"

// baseDir is where the sessions of this user live.
func baseDir() string {
	if dir := os.Getenv(EnvRunDir); dir != "" {
		return dir
	}
	name := "tutti-" + strconv.Itoa(os.Getuid())
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() && unix.Access("/dev/shm", unix.W_OK) == nil {
		return filepath.Join("/dev/shm", name)
	}
	return filepath.Join(os.TempDir(), name)
}

// newSessionDir removes what dead sessions left and makes a directory for a new one.
func newSessionDir(log *slog.Logger) (*sessionDir, error) {
	base := baseDir()
	if err := privateDir(base); err != nil {
		return nil, err
	}
	sweepSessions(base, log)
	for range 10 {
		path, err := os.MkdirTemp(base, "s")
		if err != nil {
			return nil, fmt.Errorf("session directory: %w", err)
		}
		d, err := joinSessionDir(path)
		if err == nil {
			return d, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, errors.Join(err, os.RemoveAll(path))
		}
		// Somebody who swept took the directory, not yet locked, for a leftover.
	}
	return nil, fmt.Errorf("session directory: cannot keep one in %s", base)
}

// privateDir makes sure that path is a directory of this user that nobody else can enter.
func privateDir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("session directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fmt.Errorf("session directory %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Getuid() || st.Mode&0o077 != 0 {
		return fmt.Errorf("session directory %s: %w: must be a directory of user %d with mode 0700", path, ErrInvalid, os.Getuid())
	}
	return nil
}

// joinSessionDir takes a shared lock on a session's directory. The error matches os.ErrNotExist if the directory was
// removed before it was locked.
func joinSessionDir(path string) (*sessionDir, error) {
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("session directory: %w", err)
	}
	d := &sessionDir{path, f}
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH)
	if err == nil {
		err = d.check()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock session directory %s: %w", path, err), f.Close())
	}
	return d, nil
}

// check makes sure that the locked file is the one in the directory.
func (d *sessionDir) check() error {
	locked, err := d.lock.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(d.lock.Name())
	if err != nil {
		return err
	}
	if !os.SameFile(locked, there) {
		return os.ErrNotExist
	}
	return nil
}

// close gives the directory up. The last one to do so removes it.
func (d *sessionDir) close() error {
	var err error
	if unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		err = os.RemoveAll(d.path)
	}
	return errors.Join(err, d.lock.Close())
}

// sweepSessions removes the directories that no live process has locked. One that cannot be removed is reported and
// left for the next time.
func sweepSessions(base string, log *slog.Logger) {
	entries, err := os.ReadDir(base)
	if err != nil {
		log.Warn("cannot look for leftovers of earlier sessions", "dir", base, "err", err)
		return
	}
	for _, e := range entries {
		path := filepath.Join(base, e.Name())
		if err := sweepSession(path); err != nil {
			log.Warn("cannot remove the leftovers of an earlier session", "dir", path, "err", err)
		}
	}
}

func sweepSession(path string) error {
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		_ = os.Remove(path) // succeeds if it is empty: its maker died, or will make another
		return nil
	}
	if err != nil {
		return err
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		err = os.RemoveAll(path)
	}
	return errors.Join(err, f.Close())
}
