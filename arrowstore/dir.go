// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// dir is an open directory. All names are resolved below its descriptor and never through a symbolic link, so that
// nobody can redirect the store by swapping a path.
type dir struct {
	fd   int
	euid int // this user
	path string
}

// openDir opens path, made with mode 0700 if missing, and refuses what other users could have put there or could change.
func openDir(path string) (*dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("store directory: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("store directory: %w", err)
	}
	return openExistingDir(path)
}

func openExistingDir(path string) (*dir, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("store directory %s is a symbolic link or a file: %w", path, ErrUnsafe)
	}
	if err != nil {
		return nil, fmt.Errorf("open store directory %s: %w", path, err)
	}
	d := &dir{fd: fd, euid: os.Geteuid(), path: path}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errors.Join(fmt.Errorf("stat store directory %s: %w", path, err), d.close())
	}
	if int(st.Uid) != d.euid || st.Mode&0o077 != 0 {
		return nil, errors.Join(fmt.Errorf("store directory %s has owner %d and mode %#o, want owner %d and 0700: %w",
			path, st.Uid, st.Mode&0o777, d.euid, ErrUnsafe), d.close())
	}
	return d, nil
}

func (d *dir) close() error {
	if err := unix.Close(d.fd); err != nil {
		return fmt.Errorf("close store directory: %w", err)
	}
	return nil
}

// open opens a regular file of this user's below d. A missing file is an error that matches os.ErrNotExist.
func (d *dir) open(name string, flags int) (*os.File, error) {
	fd, _, err := d.openRaw(name, flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openRaw is open for those who need the descriptor for a moment only: an os.File costs system calls of its own. It also
// returns the size of the file.
func (d *dir) openRaw(name string, flags int) (fd int, size int64, err error) {
	fd, err = d.openAny(name, flags)
	if err != nil {
		return -1, 0, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, 0, errors.Join(&os.PathError{Op: "stat", Path: filepath.Join(d.path, name), Err: err}, unix.Close(fd))
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != d.euid || st.Mode&0o077 != 0 {
		return -1, 0, errors.Join(fmt.Errorf("%s has owner %d and mode %#o: %w",
			filepath.Join(d.path, name), st.Uid, st.Mode, ErrUnsafe), unix.Close(fd))
	}
	return fd, st.Size, nil
}

// openAny opens what is there, unless it is a symbolic link.
func (d *dir) openAny(name string, flags int) (int, error) {
	if flags&unix.O_RDWR == 0 {
		flags |= unix.O_NONBLOCK // a pipe in place of the file must not block; to write, opening one does not
	}
	for {
		fd, err := unix.Openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		switch {
		case err == nil:
			return fd, nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ELOOP):
			return -1, fmt.Errorf("%s is a symbolic link: %w", filepath.Join(d.path, name), ErrUnsafe)
		}
		return -1, &os.PathError{Op: "open", Path: filepath.Join(d.path, name), Err: err}
	}
}

// mapExisting maps a file whole, if its size is one that valid accepts.
func (d *dir) mapExisting(name string, flags, prot int, valid func(size int64) bool) ([]byte, error) {
	fd, size, err := d.openRaw(name, flags)
	if err != nil {
		return nil, err
	}
	var b []byte
	if valid(size) {
		b, err = mapDescriptor(fd, name, 0, size, prot)
	} else {
		err = fmt.Errorf("%s of %d bytes: %w", name, size, ErrCorrupt)
	}
	return b, errors.Join(err, unix.Close(fd))
}

// create makes a new file; one that exists already is an error that matches os.ErrExist.
func (d *dir) create(name string) (*os.File, error) {
	return d.open(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
}

func (d *dir) exists(name string) (bool, error) {
	err := unix.Faccessat(d.fd, name, unix.F_OK, 0)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "access", Path: filepath.Join(d.path, name), Err: err}
	}
	return true, nil
}

// remove unlinks a file; one that is gone already is no error.
func (d *dir) remove(name string) error {
	if err := unix.Unlinkat(d.fd, name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "remove", Path: filepath.Join(d.path, name), Err: err}
	}
	return nil
}

func (d *dir) names() ([]string, error) {
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("list store directory %s: %w", d.path, err)
	}
	f := os.NewFile(uintptr(fd), d.path)
	names, err := f.Readdirnames(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("list store directory %s: %w", d.path, err)
	}
	return names, nil
}

// explain says of a full file system how small it is: a container's /dev/shm has often no more than 64 MiB.
func (d *dir) explain(err error) error {
	if !errors.Is(err, ErrNoSpace) {
		return err
	}
	capacity, statErr := d.capacity()
	switch {
	case statErr != nil:
		return err
	case capacity <= containerShm:
		return fmt.Errorf("file system of %s has %d bytes in all (a container gets a larger /dev/shm with --shm-size or a volume of memory): %w",
			d.path, capacity, err)
	}
	return fmt.Errorf("file system of %s has %d bytes in all: %w", d.path, capacity, err)
}

// containerShm is the size of /dev/shm in a container that was not given another.
const containerShm = 64 << 20

// capacity returns the size in bytes of the file system that holds d.
func (d *dir) capacity() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &st); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", d.path, err)
	}
	return int64(st.Blocks * uint64(st.Bsize)), nil
}
