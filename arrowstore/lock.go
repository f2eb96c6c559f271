// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Names in a store directory. Every one starts with the number of the store that owns the file.
func lockName(store uint64) string { return fmt.Sprintf("%016x.lock", store) }
func metaName(store uint64) string { return fmt.Sprintf("%016x.meta", store) }
func segmentName(store uint64, seg uint32) string {
	return fmt.Sprintf("%016x-%08x.seg", store, seg)
}

// ledgerName names the file in which a store records which objects of others it holds.
func ledgerName(pinner uint64) string { return fmt.Sprintf("%016x.pins", pinner) }

// claim takes a new store number by making its lock file and locking it. The kernel drops the lock when the process
// ends, however it ends, which is how others learn that a store is dead. The lock file is the first file of a store to
// appear and the last to go.
func claim(d *dir) (uint64, *os.File, error) {
	for range 100 {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return 0, nil, fmt.Errorf("draw a store number: %w", err)
		}
		num := binary.LittleEndian.Uint64(b[:])
		if num == 0 {
			continue
		}
		f, err := tryClaim(d, num)
		if err != nil {
			return 0, nil, fmt.Errorf("claim a store number: %w", err)
		}
		if f != nil {
			return num, f, nil
		}
	}
	return 0, nil, errors.New("claim a store number: every attempt met a concurrent sweep")
}

// claimNumber claims a number that was drawn for another directory. A sweep that gets in between removes the lock file at
// once, so trying again succeeds.
func claimNumber(d *dir, num uint64) (*os.File, error) {
	for range 10_000 {
		f, err := tryClaim(d, num)
		if f != nil || err != nil {
			return f, err
		}
		runtime.Gosched()
	}
	return nil, fmt.Errorf("claim store number %016x: it is in use", num)
}

// tryClaim makes and locks the lock file of a number. It returns nil when the number is in use, or when a sweep looked at
// the file before it was locked and takes it for dead.
func tryClaim(d *dir, num uint64) (*os.File, error) {
	f, err := d.create(lockName(num))
	if errors.Is(err, os.ErrExist) {
		return nil, nil
	}
	if err != nil {
		return nil, noSpace(err)
	}
	ok, st, err := tryLock(f)
	switch {
	case err != nil:
		return nil, errors.Join(err, f.Close(), d.remove(lockName(num)))
	case !ok || st.Nlink == 0:
		return nil, f.Close()
	case st.Size == deadSize: // the sweep leaves it to whoever has the lock
		return nil, errors.Join(d.remove(lockName(num)), f.Close())
	}
	return f, nil
}

// deadSize is how long the lock file of a store is that a sweep has found dead: whoever has the lock then is not the store. It is 0 before.
// A file gets longer without room in the file system, which may be full.
const deadSize = 1

// condemn finds out whether the store of a lock file is dead. If so, it says that in the file, and takes the lock, unless another sweep
// has it or has removed the file.
func condemn(f *os.File) (bool, error) {
	err := flock(f, unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err == nil {
		err = unix.Ftruncate(int(f.Fd()), deadSize)
	}
	if err != nil {
		return false, fmt.Errorf("condemn %s: %w", f.Name(), err)
	}
	ok, st, err := tryLock(f)
	return ok && st.Nlink > 0, err
}

// tryLock takes the exclusive lock on f, unless it is taken, and returns how the file was then.
func tryLock(f *os.File) (ok bool, st unix.Stat_t, err error) {
	err = flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, st, nil
	}
	if err != nil {
		return false, st, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, st, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	return true, st, nil
}

func flock(f *os.File, how int) error { return flockRaw(int(f.Fd()), how) }

func flockRaw(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// alive reports whether the process of a store still holds its lock.
func alive(d *dir, store uint64) (bool, error) {
	fd, err := d.openAny(lockName(store), unix.O_RDWR) // whatever it is, somebody has a lock on it or not
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = flockRaw(fd, unix.LOCK_SH|unix.LOCK_NB)
	live := errors.Is(err, unix.EWOULDBLOCK)
	if live {
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		live = st.Size != deadSize
	}
	return live, errors.Join(err, unix.Close(fd))
}
