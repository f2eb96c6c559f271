// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package rundir

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ErrUnsafe says that a directory is not this user's alone.
var ErrUnsafe = errors.New("unsafe directory")

const lockName = "lock"

// EnvBase names the environment variable that overrides Base.
const EnvBase = "TUTTI_RUNDIR"

// Base is below which this user's directories are: one of its own in /dev/shm, or among the temporary files where there is none.
func Base() string {
	if dir := os.Getenv(EnvBase); dir != "" {
		return dir
	}
	name := "tutti-" + strconv.Itoa(os.Getuid())
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() && unix.Access("/dev/shm", unix.W_OK) == nil {
		return filepath.Join("/dev/shm", name)
	}
	return filepath.Join(os.TempDir(), name)
}

// Dir is a directory in use. Several processes may hold it; the last one to close it removes it.
type Dir struct {
	Path string
	lock *os.File
}

// New makes a directory below base, which is made if it is missing, after removing those below it that nobody holds. The
// error matches ErrUnsafe if others can enter base, or it is no directory.
func New(base string, log *slog.Logger) (*Dir, error) {
	if err := privateDir(base); err != nil {
		return nil, err
	}
	sweep(base, log)
	for range 10 {
		path, err := os.MkdirTemp(base, "s")
		if err != nil {
			return nil, fmt.Errorf("run directory: %w", err)
		}
		d, err := Join(path)
		if err == nil {
			return d, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, errors.Join(err, os.RemoveAll(path))
		}
		// Somebody who swept took the directory, not yet locked, for a leftover.
	}
	return nil, fmt.Errorf("run directory: cannot keep one in %s", base)
}

// Share takes hold of the directory at path, making it if it is missing, after removing those beside it that nobody holds. The directory above
// it is made, too. The error matches ErrUnsafe if others can enter that, or it is no directory.
func Share(path string, log *slog.Logger) (*Dir, error) {
	base := filepath.Dir(path)
	if err := privateDir(base); err != nil {
		return nil, err
	}
	sweep(base, log)
	for range 10 {
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("run directory: %w", err)
		}
		d, err := Join(path)
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return d, err
		}
		// Its last user has removed it meanwhile.
	}
	return nil, fmt.Errorf("run directory: cannot keep %s", path)
}

// privateDir makes sure that path is a directory of this user that nobody else can enter.
func privateDir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("run directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fmt.Errorf("run directory %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Getuid() || st.Mode&0o077 != 0 {
		return fmt.Errorf("run directory %s: %w: must be a directory of user %d with mode 0700", path, ErrUnsafe, os.Getuid())
	}
	return nil
}

// Join takes hold of a directory that another process has made. The error matches os.ErrNotExist if the directory was
// removed meanwhile.
func Join(path string) (*Dir, error) {
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	d := &Dir{path, f}
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH)
	if err == nil {
		err = d.check()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock run directory %s: %w", path, err), f.Close())
	}
	return d, nil
}

// check makes sure that the locked file is the one in the directory.
func (d *Dir) check() error {
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

// Close gives the directory up. The last one to do so removes it.
func (d *Dir) Close() error { return d.CloseWithin(0) }

// CloseWithin is Close for when a process that holds the directory is known to have been killed: the kernel may take a moment longer to let go of its
// lock than of its connections. It waits for that moment, up to a bound, so that what nobody holds any more is removed by who closes it and not by the
// next who comes.
func (d *Dir) CloseWithin(wait time.Duration) error {
	removed, err := removeUnheld(d.Path, d.lock)
	if !removed && err == nil && wait > 0 {
		err = d.removeWithin(wait)
	}
	return errors.Join(err, d.lock.Close())
}

// The pause between two looks at a lock doubles from the one to the other.
const (
	minPause = time.Millisecond
	maxPause = 50 * time.Millisecond
)

func (d *Dir) removeWithin(wait time.Duration) error {
	over := time.NewTimer(wait)
	defer over.Stop()
	look := time.NewTimer(minPause)
	defer look.Stop()
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		if err := unix.Flock(int(d.lock.Fd()), unix.LOCK_UN); err != nil { // or two who wait would wait for each other
			return fmt.Errorf("unlock run directory %s: %w", d.Path, err)
		}
		look.Reset(pause)
		select {
		case <-look.C:
		case <-over.C:
			return nil
		}
		if removed, err := removeUnheld(d.Path, d.lock); removed || err != nil {
			return err
		}
	}
}

// removeUnheld removes the directory whose lock file is open if nobody else holds it. What has been removed already, and may have been made anew since by
// others, is theirs.
func removeUnheld(path string, lock *os.File) (removed bool, err error) {
	switch err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("lock run directory %s: %w", path, err)
	}
	d := Dir{path, lock}
	switch err := d.check(); {
	case err == nil:
		return true, os.RemoveAll(path)
	case !errors.Is(err, os.ErrNotExist):
		return false, err
	}
	return true, nil
}

// sweep removes the directories that no live process has locked. One that cannot be removed is reported and
// left for the next time.
func sweep(base string, log *slog.Logger) {
	entries, err := os.ReadDir(base)
	if err != nil {
		log.Warn("cannot look for leftovers of earlier runs", "dir", base, "err", err)
		return
	}
	for _, e := range entries {
		path := filepath.Join(base, e.Name())
		if err := sweepOne(path); err != nil {
			log.Warn("cannot remove the leftovers of an earlier run", "dir", path, "err", err)
		}
	}
}

func sweepOne(path string) error {
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		_ = os.Remove(path) // succeeds if it is empty: its maker died, or will make another
		return nil
	}
	if err != nil {
		return err
	}
	_, err = removeUnheld(path, f)
	return errors.Join(err, f.Close())
}
